"""A revision on this machine: a listening socket that is always there, and a process that is there when it is needed.

The runtime opens the socket and never accepts on it. Connections made while no process runs wait in the kernel's
backlog; the socket becoming readable is the wake-up call. The process inherits the socket and accepts on it itself, so
no byte of a request passes through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from knative.runtime import child
from knative.runtime.autoscaler import Observed, Scale
from knative.runtime.forkserver import Command, ForkServer

_BACKLOG = 4096
# After this many failed starts in a row, what waits is answered instead of being held for ever.
_FAILED_STARTS_HELD = 3
_BACK_OFF_SECONDS_MAX = 10.0
# A process that lived this long had started; one that ended sooner, with an error, had not.
_STARTED_SECONDS = 5.0


class Phase(Enum):
    """Where a revision is between zero and one."""

    ASLEEP = "asleep"
    AWAKE = "awake"
    STOPPING = "stopping"
    FAILING = "failing"


@dataclass
class Revision:
    """One Service's revision: wakes on its socket, sleeps when told, starts again when its process dies."""

    namespace: str
    name: str
    command: Command
    scale: Scale
    protocol: str
    timeout_seconds: int
    log: Path
    fork_server: Callable[[], ForkServer]
    changed: Callable[[], None]
    listener: socket.socket = field(init=False)
    phase: Phase = field(default=Phase.ASLEEP, init=False)
    pid: int | None = field(default=None, init=False)
    starts: int = field(default=0, init=False)
    crashes: int = field(default=0, init=False)
    requests_active: int = field(default=0, init=False)
    requests_total: int = field(default=0, init=False)
    last_busy: float = field(default=0.0, init=False)
    since: float = field(default_factory=time.time, init=False)
    _started_at: float = field(default=0.0, init=False)
    _failed_starts: int = field(default=0, init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _closing: bool = field(default=False, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(_BACKLOG)

    @property
    def port(self) -> int:
        """Where the gateway reaches this revision, asleep or awake."""
        port: int = self.listener.getsockname()[1]
        return port

    def watch(self) -> None:
        """Wake on the next connection (or now, where min-scale asks for a process at all times)."""
        if self._closing:
            return
        if self.scale.min_scale > 0:
            self._wake()
        else:
            asyncio.get_running_loop().add_reader(self.listener, self._wake)

    def _wake(self) -> None:
        asyncio.get_running_loop().remove_reader(self.listener)
        if self.phase in {Phase.ASLEEP, Phase.FAILING} and not self._closing:
            self._become(Phase.AWAKE)
            self._later(self._start())

    async def _start(self) -> None:
        self.starts += 1
        self._started_at = self.last_busy = time.monotonic()
        self._ended.clear()
        try:
            self.pid = await self.fork_server().start(self.command, self.listener, self.log, self._exited)
        except (child.StartFailed, OSError):
            self._exited(1)
        self.changed()

    def _exited(self, code: int) -> None:
        asked = self.phase is Phase.STOPPING
        lived = time.monotonic() - self._started_at
        self.pid = None
        self.requests_active = 0
        self._ended.set()
        if asked or code == 0:
            self._failed_starts = 0
            self._become(Phase.ASLEEP)
            self.watch()
            return
        self.crashes += 1
        # Killed is not failed: whoever killed it may well want it back at once.
        self._failed_starts = 0 if lived > _STARTED_SECONDS or code < 0 else self._failed_starts + 1
        self._become(Phase.FAILING if self._failed_starts else Phase.ASLEEP)
        self._later(self._back_off())

    async def _back_off(self) -> None:
        """Wait before the next start, longer each time; a start that keeps failing answers those who wait."""
        if self._failed_starts >= _FAILED_STARTS_HELD:
            await self._refuse_waiting()
        if self._failed_starts:
            await asyncio.sleep(min(_BACK_OFF_SECONDS_MAX, 0.1 * 2 ** (self._failed_starts - 1)))
        self.watch()

    async def _refuse_waiting(self) -> None:
        reason = child.last_line(self.log).replace("\\", "\\\\").replace('"', '\\"')
        body = (
            f'{{"type":"about:blank","title":"Service Unavailable","status":503,'
            f'"detail":"{self.name} does not start. Its log, `wake logs {self.name}`, ends: {reason[:300]}"}}'
        ).encode()
        answer = (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 5\r\n"
            b"connection: close\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        # Blocking or not is a property that all copies of the socket share: the next process may expect it to block.
        self.listener.setblocking(False)
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                self.listener.setblocking(True)
                return
            with connection, contextlib.suppress(OSError):
                connection.setblocking(False)
                # Unread bytes would turn the close into a reset, and the answer would be lost with it.
                with contextlib.suppress(BlockingIOError):
                    connection.recv(65536)
                if self.protocol == "http1":
                    connection.send(answer)
                    connection.shutdown(socket.SHUT_WR)
                    await asyncio.sleep(0)

    def observe(self, active: int, total: int, now: float) -> Observed:
        """Take what the gateway counted."""
        if active > 0 or total != self.requests_total:
            self.last_busy = now
        self.requests_active, self.requests_total = active, total
        return Observed(active, self.last_busy)

    async def sleep(self) -> None:
        """Stop the process gracefully, and kill it when it takes longer than its requests may."""
        if self.phase is not Phase.AWAKE or self.pid is None:
            return
        self._become(Phase.STOPPING)
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended.wait(), self.timeout_seconds)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    async def close(self, patience_seconds: float) -> None:
        """Stop for good; once more changes nothing."""
        if self._closing:
            return
        self._closing = True
        asyncio.get_running_loop().remove_reader(self.listener)
        if self.pid is not None:
            if self.phase is Phase.AWAKE:
                self._become(Phase.STOPPING)
                self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._ended.wait(), patience_seconds)
            except TimeoutError:
                self._signal(signal.SIGKILL)
                await self._ended.wait()
        self.listener.close()

    def _signal(self, number: int) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _become(self, phase: Phase) -> None:
        self.phase, self.since = phase, time.time()
        self.changed()

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
