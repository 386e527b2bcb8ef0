"""A revision's life on a real socket, with real processes forked by a real fork server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from knative.runtime.environment import of_machine
from knative.runtime.forkserver import Command, ForkServer
from knative.runtime.gateway import connections
from knative.runtime.launch import ForkLauncher
from knative.runtime.probes import Probe
from knative.runtime.revision import Phase, Revision

# Answers each connection with its pid. On SIGTERM it ends as a function does, after what it has accepted; also where
# the signal comes just before it waits.
SERVER = """
import os, select, signal, socket, sys
listener = socket.socket(fileno=3)
stopped, stop = socket.socketpair()
stop.setblocking(False)
signal.set_wakeup_fd(stop.fileno())
signal.signal(signal.SIGTERM, lambda *_: None)
while stopped not in select.select([listener, stopped], [], [])[0]:
    connection, _ = listener.accept()
    request = connection.recv(65536).decode()
    if "crash" in request:
        os.kill(os.getpid(), signal.SIGKILL)
    body = f"{os.getpid()} {os.environ['GREETING']} {' '.join(sys.argv[1:])}"
    connection.sendall(f"HTTP/1.1 200 OK\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n{body}".encode())
    connection.close()
"""
BROKEN = "raise RuntimeError('the setting COLOUR is missing')"
Make = Callable[..., Revision]


class Direct:
    """No gateway: these tests connect to the replicas themselves."""

    def route(self, cluster: str, ports: Sequence[int]) -> None:
        """Nobody to tell."""

    async def forgotten(self, cluster: str, port: int) -> None:
        """Nobody to wait for but those who are connected."""
        while connections(port):
            await asyncio.sleep(0.005)


def pid_of(revision: Revision) -> int | None:
    """The process of its first replica."""
    return next(iter(revision.pids), None)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes revisions of a package with a working and a broken module, and closes them afterwards."""
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "preload.py").write_text("import json")
    (package / "server.py").write_text(SERVER)
    (package / "broken.py").write_text(BROKEN)
    fork_server = ForkServer.launch(["sample"], tmp_path, tmp_path / "forkserver.log", of_machine())
    made: list[Revision] = []

    def revision(module: str = "sample.server", min_scale: int = 0) -> Revision:
        command = Command(module, ("one", "two"), tmp_path, {**os.environ, "GREETING": "hello"})
        made.append(
            Revision(
                namespace="shop",
                service="sample",
                name="sample-00001",
                launcher=ForkLauncher(command, lambda: fork_server),
                protocol="http1",
                timeout_seconds=5,
                readiness=None,
                liveness=None,
                at_least=min_scale,
                from_zero=1,
                log=tmp_path / "sample.log",
                gateway=Direct(),
                changed=lambda: None,
                tell=lambda _: None,
            )
        )
        made[-1].watch()
        return made[-1]

    yield revision
    for one in made:
        await one.close(1.0)
    fork_server.close()
    fork_server.stop()


async def call(revision: Revision, path: str = "/") -> str:
    """One request; answers the whole response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", revision.ports[0])
    writer.write(f"GET {path} HTTP/1.1\r\nhost: sample\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), 20)).decode()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


async def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll a condition with a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_revision_sleeps_until_somebody_connects(make: Make) -> None:
    """No process runs before the first connection, which is held while one starts."""
    revision = make()

    assert (revision.phase, pid_of(revision)) == (Phase.ASLEEP, None)

    answer = await call(revision)
    await wait_until(lambda: pid_of(revision) is not None)

    assert f"{pid_of(revision)} hello one two" in answer
    assert revision.phase is Phase.AWAKE


async def test_it_wakes_again_after_sleep_in_a_new_process(make: Make) -> None:
    """Sleeping ends the process; the socket stays, and the next connection starts another."""
    revision = make()
    first = await call(revision)
    await wait_until(lambda: pid_of(revision) is not None)
    await revision.sleep()

    assert (revision.phase, pid_of(revision)) == (Phase.ASLEEP, None)

    second = await call(revision)

    assert first != second
    assert revision.starts == 2


async def test_a_connection_made_while_it_stops_is_served_by_the_next_process(make: Make) -> None:
    """What arrives between the decision to sleep and the end of the process waits in the backlog."""
    revision = make()
    await call(revision)
    await wait_until(lambda: pid_of(revision) is not None)
    sleeping = asyncio.create_task(revision.sleep())
    answers = await asyncio.gather(*(call(revision) for _ in range(20)))
    await sleeping

    assert all("200 OK" in answer for answer in answers)


async def test_two_hundred_connections_at_once_wake_one_process(make: Make) -> None:
    """All of them wait in the kernel for the one process that is started."""
    revision = make()
    answers = await asyncio.gather(*(call(revision) for _ in range(200)))
    await wait_until(lambda: pid_of(revision) is not None)

    assert {answer.rpartition("\r\n")[2] for answer in answers} == {f"{pid_of(revision)} hello one two"}
    assert revision.starts == 1


async def test_a_killed_process_is_replaced_at_the_next_call(make: Make) -> None:
    """A crash is counted, and costs only the request that was in it."""
    revision = make()

    assert await call(revision) != ""
    with contextlib.suppress(ConnectionError):
        assert await call(revision, "/crash") == ""
    assert "200 OK" in await call(revision)
    assert revision.crashes == 1


async def test_a_function_that_cannot_start_answers_why(make: Make) -> None:
    """After three failed starts in a row the caller is told, with the last line of the log, instead of held."""
    revision = make("sample.broken")
    answer = await call(revision)

    assert "503 Service Unavailable" in answer
    assert "the setting COLOUR is missing" in answer
    assert revision.phase is Phase.FAILING
    assert revision.starts == 3


async def test_min_scale_keeps_one_awake(make: Make) -> None:
    """With min-scale 1 a process runs before anybody calls, and again after it died."""
    revision = make(min_scale=1)
    await wait_until(lambda: pid_of(revision) is not None)
    first = pid_of(revision)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await wait_until(lambda: pid_of(revision) not in {None, first})

    assert revision.phase is Phase.AWAKE


async def test_closing_ends_the_process_and_the_socket(make: Make) -> None:
    """After close nothing listens and nothing runs."""
    revision = make()
    port = revision.ports[0]
    await call(revision)
    await wait_until(lambda: pid_of(revision) is not None)
    pid = pid_of(revision)
    await revision.close(2.0)

    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_replicas_have_sockets_of_their_own(make: Make) -> None:
    """Three processes on three ports; told to be one again, one is left, and the others' ports are closed."""
    revision = make()
    await call(revision)
    revision.scale(3)
    await wait_until(lambda: len(revision.ports) == 3)
    ports = revision.ports
    assert len(set(revision.pids)) == 3

    revision.scale(1)
    await wait_until(lambda: len(revision.pids) == 1 and not revision._leaving)
    assert revision.ports == ports[:1]
    for port in ports[1:]:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_new_code_takes_the_place_of_the_old(make: Make) -> None:
    """Other processes on other ports; a call that began before is answered by the old one."""
    revision = make()
    before = await call(revision)
    old = revision.ports
    assert await revision.replace()
    after = await call(revision)

    assert before != after
    assert old != revision.ports
    await wait_until(lambda: not revision._leaving)
    assert len(revision.pids) == 1


async def test_code_that_does_not_come_up_leaves_the_old(make: Make) -> None:
    """The process that ran goes on."""
    revision = make()
    before = await call(revision)
    launcher = revision.launcher
    assert isinstance(launcher, ForkLauncher)
    revision.readiness = Probe("httpGet", path="/", timeout=0.2)
    revision.launcher = ForkLauncher(
        Command("sample.broken", (), launcher.command.folder, launcher.command.environment), launcher.fork_server
    )
    replacing = asyncio.create_task(revision.replace())
    assert await call(revision) == before
    replacing.cancel()


async def test_a_start_that_was_called_off_leaves_no_process_and_holds_up_no_other(make: Make) -> None:
    """Its process is ended by the fork server's side: whoever asked for it has gone."""
    revision = make()
    launcher = revision.launcher
    assert isinstance(launcher, ForkLauncher)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(5):
            start = asyncio.create_task(launcher.launch(listener, revision.log, lambda _: None))
            await asyncio.sleep(0)
            start.cancel()

        assert "200 OK" in await call(revision)
        await wait_until(lambda: pid_of(revision) is not None)
        parent = launcher.fork_server().process.pid
        await wait_until(lambda: children(parent) == {pid_of(revision)})


def children(parent: int) -> set[int]:
    """The processes that a process has started and that still run (proc(5), stat: the parent follows the state)."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(parent):
                found.add(int(stat.parent.name))
    return found
