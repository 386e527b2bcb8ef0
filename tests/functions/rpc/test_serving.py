"""A gRPC function as a process: on an inherited socket, at its end, and how much memory it takes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpclib.client import Channel as GrpclibChannel
from grpclib.client import StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest

from functions.rpc import frames
from functions.rpc.channel import Channel
from tests.conftest import ROOT
from tests.functions.conftest import KEY, bearer
from tests.functions.rpc.conftest import ServeEcho
from tests.functions.rpc.raw import raw

GRACE_SECONDS = 0.5


class Process:
    """The echo service on a socket that this test holds too; its log is a file."""

    def __init__(self, folder: Path) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self.listener.getsockname()[1])
        self.log = folder / "log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """As the platform does."""
        variables = {
            "TOKEN_KEYS": json.dumps({"keys": [KEY.as_dict(private=False)]}),
            "DRAIN_SECONDS": str(GRACE_SECONDS),
            "PYTHONPATH": str(ROOT),
            "LISTEN_FDS": "1",
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.functions.rpc.echo"],
                pass_fds=[3],
                # Where systemd would put it.
                preexec_fn=lambda: os.dup2(self.listener.fileno(), 3),  # noqa: PLW1509 - one call, no lock taken.
                env={**os.environ, **variables},
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
        return self.process

    def memory(self) -> float:
        """The most that it has ever taken, in MiB."""
        match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert match is not None
        return int(match[1]) / 1024

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    async def ended(self) -> int:
        """Its exit code."""
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), 15)

    def close(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.listener.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """One that is started."""
    made = Process(tmp_path)
    yield made
    made.close()


def unary(channel: Any, name: str) -> Any:
    """A unary method of the echo."""
    return UnaryUnaryMethod(channel, f"/test.Echo/{name}", StringValue, StringValue)


async def test_sigterm_lets_calls_end_tells_streams_and_leaves_the_rest_to_the_next(process: Process) -> None:
    """A unary call is answered, a stream hears that it is UNAVAILABLE, a new connection waits for the next process."""
    async with Channel(f"http://127.0.0.1:{process.port}") as channel:
        each = StreamStreamMethod(channel, "/test.Echo/Each", StringValue, StringValue)
        with pytest.raises(GRPCError) as told:
            async with each.open(metadata=bearer("ada")) as stream:
                await stream.send_message(StringValue(value="a"))
                await stream.recv_message()
                slow = unary(channel, "Slow")(StringValue(value="0.3"), metadata=bearer("ada"))
                call = asyncio.create_task(slow)
                await asyncio.sleep(0.05)
                process.process.send_signal(signal.SIGTERM)
                assert (await call).value == "0.3"
                await stream.recv_message()
        code = await process.ended()
        late = asyncio.create_task(unary(channel, "Once")(StringValue(value="late"), metadata=bearer("ada")))
        await asyncio.sleep(0)
        process.start()

        assert (await late).value == "late"
    assert (told.value.status, code) == (Status.UNAVAILABLE, 0)
    process.process.send_signal(signal.SIGTERM)
    assert await process.ended() == 0


async def test_each_call_is_a_line_of_log(process: Process) -> None:
    """Method, status, time, cold or warm, whose it was and what it is part of; probes are none."""
    async with Channel(f"http://127.0.0.1:{process.port}") as channel:
        await HealthStub(channel).Check(HealthCheckRequest())
        for user in ("ada", "ada"):
            metadata = {**bearer(user), "x-request-id": "req-1"}
            await unary(channel, "Once")(StringValue(value="x"), metadata=metadata)
        with pytest.raises(GRPCError):
            await unary(channel, "Once")(StringValue(value="x"))
    first, second, third = process.lines()

    assert (
        first.items()
        >= {
            "event": "request",
            "function": "test-echo",
            "method": "/test.Echo/Once",
            "grpc_status": "OK",
            "start": "cold",
            "caller": "ada",
            "request_id": "req-1",
            "correlation_id": "req-1",
        }.items()
    )
    assert second["start"] == "warm"
    assert second["duration_ms"] < 1000
    assert third["grpc_status"] == "UNAUTHENTICATED"
    assert "caller" not in third


async def test_a_gibibyte_takes_no_memory(process: Process) -> None:
    """Neither from somebody who waits for windows nor from one who does not, nor as many messages at once."""
    async with Channel(f"http://127.0.0.1:{process.port}") as channel:
        await unary(channel, "Once")(StringValue(value="x" * 4_000_000), metadata=bearer("ada"))
    before = process.memory()
    polite = StringValue(value="x" * (24 * 1024 * 1024))
    async with GrpclibChannel("127.0.0.1", process.port) as theirs:
        with pytest.raises(GRPCError) as refused:
            await unary(theirs, "Once")(polite, metadata=bearer("ada"))
    await _pour(process.port, bearer("ada"))
    await _pour(process.port, {})

    assert refused.value.status is Status.RESOURCE_EXHAUSTED
    assert process.memory() - before < 16


async def _pour(port: int, metadata: dict[str, str]) -> None:
    """Send a gibibyte, a frame after the other, until somebody objects."""
    async with raw(port) as peer:
        part = b"x" * 16_000
        for stream in range(1, 201, 2):
            peer.call(stream, metadata)
            peer.send(frames.frame(frames.DATA, 0, stream, b"\0" + (1 << 30).to_bytes(4) + part))
        for _ in range(65_536):
            if peer.reader.at_eof() or peer.writer.is_closing():
                break
            peer.send(frames.frame(frames.DATA, 0, 1, part))
            try:
                await peer.writer.drain()
            except ConnectionError:
                break
            while peer.reader._buffer:  # type: ignore[attr-defined]
                await peer.frame()


async def test_health_is_open_to_all_and_ends_before_the_server_does(serve_echo: ServeEcho) -> None:
    """SERVING, then NOT_SERVING to whoever watches; unknown services are NOT_FOUND."""
    served = await serve_echo()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        health = HealthStub(channel)
        for name in ("", "test.Echo"):
            assert (await health.Check(HealthCheckRequest(service=name))).status == HealthCheckResponse.SERVING
        with pytest.raises(GRPCError) as unknown:
            await health.Check(HealthCheckRequest(service="test.Nothing"))
        async with health.Watch.open() as stream:
            await stream.send_message(HealthCheckRequest(), end=True)
            first = await stream.recv_message()
            stopping = asyncio.create_task(served.server.stop(seconds=5))
            second = await stream.recv_message()
            assert await stream.recv_message() is None
        await stopping

    assert unknown.value.status is Status.NOT_FOUND
    assert (first.status, second.status) == (HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING)


async def test_reflection_tells_what_there_is(serve_echo: ServeEcho) -> None:
    """Where it is turned on; as grpcurl asks."""
    served = await serve_echo()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        asked = [ServerReflectionRequest(list_services="*")]
        (answer,) = await ServerReflectionStub(channel).ServerReflectionInfo(asked)

    names = [one.name for one in answer.list_services_response.service]
    assert names == ["grpc.health.v1.Health", "test.Echo"]


async def test_prometheus_reads_the_counters_over_http_1(process: Process) -> None:
    """On the one port that there is; calls over HTTP/2 go on, and who comes through a gateway is told nothing."""
    url = f"http://127.0.0.1:{process.port}/metrics"
    async with Channel(f"http://127.0.0.1:{process.port}") as channel, httpx.AsyncClient() as client:
        await unary(channel, "Once")(StringValue(value="x"), metadata=bearer("ada"))
        with pytest.raises(GRPCError):
            await unary(channel, "Once")(StringValue(value="x"))
        told = await client.get(url)
        outside = await client.get(url, headers={"x-forwarded-for": "192.0.2.1"})
        await unary(channel, "Once")(StringValue(value="x"), metadata=bearer("ada"))

    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'method="GRPC",status="OK"} 1\n' in told.text
    assert 'method="GRPC",status="UNAUTHENTICATED"} 1\n' in told.text
    assert outside.status_code == 404


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"host: x\r\n", b"\r\n"), b"200 OK"),
        ((b"a: " + b"x" * 4096 + b"\r\n", b"x-forwarded-for: 192.0.2.1\r\n\r\n"), b"404 Not Found"),
        ((b"a: ", *[b"x" * 4096] * 17), b"431 Request Header Fields Too Large"),
    ],
)
async def test_a_scrape_that_comes_in_pieces_is_read_to_its_end(
    process: Process, pieces: tuple[bytes, ...], status: bytes
) -> None:
    """A proxy writes long headers in several parts, and that somebody is from outside may stand in the last."""
    async with Channel(f"http://127.0.0.1:{process.port}") as channel:
        # It listens by now, and finds the pieces one by one.
        await HealthStub(channel).Check(HealthCheckRequest())
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        for piece in pieces:
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(piece)
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()

    assert answer.partition(b"\r\n")[0] == b"HTTP/1.1 " + status
