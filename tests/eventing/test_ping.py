"""`python -m eventing.ping` as a CronJob runs it."""

from __future__ import annotations

import asyncio
import os
import sys

from tests.servers import quiet


async def ping(status: int | None, *words: str) -> tuple[int | None, str, str]:
    """Run it against a sink that answers so, or none: its exit code, its words, the request."""
    requests: list[str] = []

    @quiet
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode() + (await reader.read(2)).decode())
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        sink = {"K_SINK": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"} if status else {}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "eventing.ping",
            *words,
            env={**{name: value for name, value in os.environ.items() if name != "K_SINK"}, **sink},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, said.decode().strip(), "".join(requests)


async def test_a_ping_is_the_event_that_knatives_ping_source_sends() -> None:
    """Type, source and data; each under an id of its own."""
    source = "/apis/v1/namespaces/shop/pingsources/outbox-relay"
    code, said, request = await ping(204, f"--source={source}", "--data={}")

    assert (code, said) == (0, "")
    assert "ce-type: dev.knative.sources.ping\r\n" in request
    assert f"ce-source: {source}\r\n" in request
    assert "ce-id: " in request
    assert request.endswith("\r\n\r\n{}")


async def test_a_sink_that_fails_fails_the_job() -> None:
    """Its own retries are the retries."""
    code, said, _ = await ping(503, "--source=/x", "--data={}")

    assert code == 1
    assert "answered 503" in said


async def test_without_a_sink_a_ping_says_so() -> None:
    """In one sentence."""
    assert await ping(None, "--source=/x") == (1, "K_SINK is not set: name the URL that the event goes to.", "")
