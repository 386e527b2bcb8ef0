"""`python -m functions NAME` as a process: on a port, on an inherited socket, and at its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent
Start = Callable[..., subprocess.Popen[bytes]]


def environment(**variables: str) -> dict[str, str]:
    """What a function of this test finds."""
    return {**os.environ, "TOKEN_KEYS": '{"keys": []}', "PYTHONPATH": str(ROOT), **variables}


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts functions on a socket that this test holds too; ended afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def launch(listener: socket.socket, name: str = "users-keys", **variables: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "functions", name],
            pass_fds=[3],
            # Where systemd would put it.
            preexec_fn=lambda: os.dup2(listener.fileno(), 3),  # noqa: PLW1509 - one call, no lock taken
            env=environment(LISTEN_FDS="1", **variables),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on a free port."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as made:
        yield made


def url(listener: socket.socket, path: str = "/.well-known/jwks.json") -> str:
    """Where it is."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}{path}"


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code."""
    return await asyncio.wait_for(asyncio.to_thread(process.wait), 15)


async def test_a_request_that_was_there_first_is_answered_and_marked_cold(
    start: Start, listener: socket.socket
) -> None:
    """It waited in the backlog for the process; the next one finds it warm."""
    async with httpx.AsyncClient(timeout=20) as client:
        waiting = asyncio.create_task(client.get(url(listener)))
        await asyncio.sleep(0)
        process = start(listener)
        first, second = await waiting, await client.get(url(listener))

    assert first.headers["server-timing"].startswith("start;desc=cold;dur=")
    assert second.headers["server-timing"] == "start;desc=warm"
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 0


async def test_sigterm_answers_what_was_begun_and_leaves_the_rest_to_the_next(
    start: Start, listener: socket.socket, database_url: Callable[[str], str]
) -> None:
    """A request that takes a second is answered after SIGTERM; one that comes meanwhile waits for the next process."""
    cards = database_url("cards")
    slow = {"amount": "1.00", "currency": "EUR", "token": "tok_slow_1"}
    async with httpx.AsyncClient(timeout=20) as client:
        process = start(listener, "payments-simulate", DATABASE_URL=cards)
        await client.get(url(listener, "/health/readiness"))
        await client.post(url(listener, "/charges"), json=slow, headers={"idempotency-key": "a"})
        begun = asyncio.create_task(client.post(url(listener, "/charges/a/capture")))
        async with asyncio.timeout(10):
            while (await client.get(url(listener, "/charges/a"))).json()["outcome"] != "captured":
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        answered = await begun
        code = await ended(process)
        late = asyncio.create_task(client.get(url(listener, "/charges/a")))
        await asyncio.sleep(0)
        again = start(listener, "payments-simulate", DATABASE_URL=cards)

        assert (answered.status_code, code) == (200, 0)
        assert (await late).json()["outcome"] == "captured"
        again.send_signal(signal.SIGTERM)
        assert await ended(again) == 0


async def test_without_an_inherited_socket_it_listens_on_port() -> None:
    """$PORT, as Knative's runtime contract has it; stopped by SIGINT it exits with 0 too."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "functions",
        "users-keys",
        env=environment(PORT=str(port)),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    async with httpx.AsyncClient() as client, asyncio.timeout(20):
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/health/liveness")
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)

    assert answer.status_code == 200
    assert await asyncio.wait_for(process.wait(), 15) == 0


@pytest.mark.parametrize("arguments", [[], ["orders-plcae"], ["orders-place", "x"]])
def test_an_unknown_name_is_answered_with_the_known_ones(arguments: list[str]) -> None:
    """Exit code 2, at once."""
    result = subprocess.run(
        [sys.executable, "-m", "functions", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.returncode == 2
    assert "orders-place" in result.stderr


def test_nothing_happens_at_import() -> None:
    """Every function can be imported with an empty environment: no connection, no thread, no setting read."""
    script = (
        "import importlib, threading, functions.operations as operations\n"
        "for name in operations.known():\n"
        "    area, _, verb = name.partition('-')\n"
        "    importlib.import_module(f'functions.{area}.{verb.replace(chr(45), chr(95))}')\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, env={"PATH": os.environ["PATH"]}, check=True
    )


async def test_a_function_that_cannot_start_says_why_in_its_last_line(start: Start) -> None:
    """That line is what callers are shown while it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start(listener, "orders-get", CACHE_URL="nonsense")
        output, _ = await asyncio.to_thread(process.communicate, timeout=30)
    last = json.loads(output.decode().splitlines()[-1])

    assert last["event"] == "start_failed"
    assert last["reason"].startswith("ValueError: CACHE_URL is no redis://")
    assert process.returncode != 0
