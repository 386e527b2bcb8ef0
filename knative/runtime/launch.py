"""Two ways to start what a revision runs: a fork that inherits a listening socket, or any program that listens itself.

Either way the runtime holds the socket that the gateway connects to, so that a connection made while nothing runs
waits in the kernel instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from knative.runtime import child, supervisor
from knative.runtime.forkserver import Command, ForkServer
from knative.runtime.probes import Probe, until_ready

Ended = Callable[[int], None]
_READY_SECONDS = 120.0


class Running(Protocol):
    """A process that serves a socket."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def drain(self, seconds: float) -> None:
        """Take no new connection, and wait until those there are have ended."""

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""


class Launcher(Protocol):
    """Starts one process on a socket."""

    async def launch(self, listener: socket.socket, log: Path, ended: Ended) -> Running:
        """Start it and return; *ended* is called once with its exit code (minus the signal's number).

        Raises:
            StartFailed: it did not start.
        """


@dataclass(frozen=True)
class Fork:
    """A fork of the fork server; it takes what waits on the socket as soon as it can."""

    pid: int

    async def drain(self, seconds: float) -> None:
        """SIGTERM does: it stops accepting and answers what it has begun."""

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True)
class ForkLauncher:
    """Forks `python -m MODULE …` from the fork server in use."""

    command: Command
    fork_server: Callable[[], ForkServer]

    async def launch(self, listener: socket.socket, log: Path, ended: Ended) -> Fork:
        """See Launcher."""
        return Fork(await self.fork_server().start(self.command, listener, log, ended))


@dataclass(frozen=True)
class ProgramLauncher:
    """Starts any program that listens on $PORT, and carries the socket's connections to it once it is ready."""

    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    probe: Probe

    async def launch(self, listener: socket.socket, log: Path, ended: Ended) -> Program:
        """See Launcher; returns when its readiness probe passed."""
        port = child.free_port()
        process = child.start(
            self.command, log=log, folder=self.folder, environment={**self.environment, "PORT": str(port)}
        )
        waiting = asyncio.create_task(until_ready(self.probe, port, _READY_SECONDS))
        ending = asyncio.create_task(supervisor.ended(process))
        await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not (waiting.done() and waiting.result()):
            waiting.cancel()
            process.kill()
            code = await ending
            raise child.StartFailed(f"{self.command[0]} ended with {code} before it was ready")
        forwarder = Forwarder(port)
        await forwarder.open(listener)
        program = Program(process, forwarder)
        program.ending = asyncio.create_task(program.watch(ending, ended))
        return program


@dataclass
class Program:
    """A program behind its forwarder."""

    process: subprocess.Popen[bytes]
    forwarder: Forwarder
    ending: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def drain(self, seconds: float) -> None:
        """Accept no more; wait for the connections there are."""
        await self.forwarder.close(seconds)

    def signal(self, number: int) -> None:
        """Send its whole process group a signal: `sh -c`, npm and their like do not pass it on."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def watch(self, ending: asyncio.Task[int], ended: Ended) -> None:
        """Tell of its end, once."""
        code = await ending
        # What it started and left behind ends too.
        self.signal(signal.SIGKILL)
        await self.forwarder.close(0)
        ended(code)


@dataclass(frozen=True)
class Sourcing:
    """A ContainerSource's program, which runs all the time."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, command: tuple[str, ...], folder: Path, environment: Mapping[str, str], log: Path) -> Sourcing:
        """Start it.

        Raises:
            StartFailed: there is no such program.
        """
        return cls(child.start(command, log=log, folder=folder, environment=environment))

    def wait_until_ready(self) -> None:
        """A source has no readiness: nobody calls it."""

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after two seconds."""
        child.stop(self.process, patience_seconds=2.0)


class Forwarder:
    """Carries bytes between connections of a socket and a port of loopback."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, listener: socket.socket) -> None:
        """Begin to accept, on a copy of the socket."""
        copy = listener.dup()
        copy.setblocking(False)
        self._server = await asyncio.start_server(self._accepted, sock=copy, limit=64 * 1024)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port, limit=64 * 1024)
        except OSError:
            writer.transport.abort()
            return
        try:
            # Either side may close its half first; when the program's is done, all is.
            sending = asyncio.create_task(_pump(reader, back))
            await _pump(there, writer)
            sending.cancel()
        finally:
            for one in (writer, back):
                one.close()

    async def close(self, seconds: float) -> None:
        """Accept no more, wait for what is open, and end what is left after *seconds*."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._open:
            await asyncio.wait(set(self._open), timeout=seconds or 0.001)
        for task in list(self._open):
            task.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while received := await reader.read(64 * 1024):
            writer.write(received)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
