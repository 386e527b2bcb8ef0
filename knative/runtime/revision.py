"""A revision on this machine: listening sockets that are always there, and processes that are there when needed.

The first replica's socket stays open while nothing runs. The runtime never accepts on it: connections made meanwhile
wait in the kernel's backlog, and the socket becoming readable is the wake-up call. Further replicas have sockets of
their own, which the gateway is told of when they are ready and forgets before they are asked to stop, so that no
request is on its way to a process that goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from knative.runtime import child, probes
from knative.runtime.launch import Launcher, Running
from knative.runtime.probes import Probe

_BACKLOG = 4096
# After this many failed starts in a row, what waits is answered instead of being held for ever.
_FAILED_STARTS_HELD = 3
_BACK_OFF_SECONDS_MAX = 10.0
# A process that lived this long had started; one that ended sooner, with an error, had not.
_STARTED_SECONDS = 5.0
_READY_SECONDS = 60.0


class Phase(Enum):
    """Where a revision is between zero and many."""

    ASLEEP = "asleep"
    AWAKE = "awake"
    STOPPING = "stopping"
    FAILING = "failing"


class Gateway(Protocol):
    """What stands before the revisions and has to know where their replicas are."""

    def route(self, cluster: str, ports: Sequence[int]) -> None:
        """Send this revision's requests to these ports of loopback from now on."""

    async def forgotten(self, cluster: str, port: int) -> None:
        """Wait until it sends nothing more to a port, and has closed its connections to it."""


@dataclass(eq=False)
class Replica:
    """One socket and the process that serves it, if one does."""

    listener: socket.socket
    running: Running | None = None
    started_at: float = 0.0
    starting: bool = False
    ready: bool = False
    stopping: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def new(cls) -> Replica:
        """On a free port of loopback, asleep."""
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(_BACKLOG)
        return cls(listener)

    @property
    def port(self) -> int:
        """Where the gateway reaches it."""
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def busy(self) -> bool:
        """Whether it has a process, or is getting one."""
        return self.running is not None or self.starting


@dataclass
class Revision:
    """One revision of a Service: wakes on its socket, has as many replicas as it is told, starts again what dies."""

    namespace: str
    service: str
    name: str
    launcher: Launcher
    protocol: str
    timeout_seconds: float
    readiness: Probe | None
    liveness: Probe | None
    at_least: int
    # From zero, this many are started at once (activation-scale).
    from_zero: int
    log: Path
    gateway: Gateway
    changed: Callable[[], None]
    tell: Callable[[str], None]
    phase: Phase = field(default=Phase.ASLEEP, init=False)
    starts: int = field(default=0, init=False)
    crashes: int = field(default=0, init=False)
    since: float = field(default_factory=time.time, init=False)
    _replicas: list[Replica] = field(default_factory=list, init=False)
    _leaving: set[Replica] = field(default_factory=set, init=False)
    _failed_starts: int = field(default=0, init=False)
    _closing: bool = field(default=False, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._replicas = [Replica.new()]

    @property
    def cluster(self) -> str:
        """What the gateway calls it."""
        return f"{self.namespace}/{self.name}"

    @property
    def ports(self) -> list[int]:
        """Where requests may go: the first replica always, the others once they are ready."""
        return [one.port for index, one in enumerate(self._replicas) if index == 0 or one.ready]

    @property
    def pids(self) -> list[int]:
        """Every process of it that takes requests."""
        return [one.running.pid for one in self._replicas if one.running is not None]

    @property
    def replicas(self) -> int:
        """How many have a process or are getting one."""
        return sum(one.busy for one in self._replicas)

    def watch(self) -> None:
        """Wake on the next connection (or now, where something should run at all times)."""
        if self._closing:
            return
        front = self._replicas[0]
        if self.at_least > 0:
            self._wake(front)
        elif not front.busy:
            asyncio.get_running_loop().add_reader(front.listener, self._wake, front)

    def start(self, count: int) -> None:
        """Have this many replicas although nobody has called yet (initial-scale)."""
        self._wake(self._replicas[0])
        self.scale(count)

    def _wake(self, front: Replica) -> None:
        asyncio.get_running_loop().remove_reader(front.listener)
        if self._closing or front.busy or front not in self._replicas:
            return
        asleep = self.replicas == 0
        self._become(Phase.AWAKE)
        front.starting = True
        self._later(self._start(front))
        if asleep:
            self.scale(max(self.from_zero, self.at_least))

    async def _start(self, replica: Replica) -> bool:
        """Start a process on a replica's socket; answers whether it did."""
        replica.starting, replica.started_at = True, time.monotonic()
        replica.ended.clear()
        self.starts += 1
        try:
            replica.running = await self.launcher.launch(
                replica.listener, self.log, lambda code: self._exited(replica, code)
            )
        except (child.StartFailed, OSError):
            self._exited(replica, 1)
            return False
        finally:
            replica.starting = False
        if self._closing:
            replica.running.signal(signal.SIGKILL)
        self.changed()
        if self.liveness is not None:
            self._later(self._look_after(replica, replica.running, self.liveness))
        return True

    async def _look_after(self, replica: Replica, running: Running, probe: Probe) -> None:
        """Kill a process whose liveness probe fails too often; the next request starts another."""
        failures = 0
        await asyncio.sleep(probe.initial_delay)
        while True:
            await asyncio.sleep(max(1.0, probe.period))
            if replica.running is not running or replica.stopping:
                return
            failures = 0 if await probes.passes(probe, replica.port) else failures + 1
            if failures >= probe.failure_threshold and replica.running is running and not replica.stopping:
                self.tell(f"{self.name} failed its liveness probe {failures} times: it is killed and starts again")
                running.signal(signal.SIGKILL)
                return

    def _exited(self, replica: Replica, code: int) -> None:
        asked = replica.stopping
        lived = time.monotonic() - replica.started_at
        replica.running, replica.ready, replica.stopping = None, False, False
        replica.ended.set()
        if not (asked or code == 0):
            self.crashes += 1
        if replica in self._leaving:
            return
        if replica is not self._replicas[0]:
            # One of several: the autoscaler will say whether another is needed.
            self._replicas.remove(replica)
            replica.listener.close()
            self.gateway.route(self.cluster, self.ports)
            self.changed()
            return
        if asked or code == 0:
            self._failed_starts = 0
            self._become(Phase.AWAKE if self.replicas else Phase.ASLEEP)
            self.watch()
            return
        # Killed is not failed: whoever killed it may well want it back at once.
        self._failed_starts = 0 if lived > _STARTED_SECONDS or code < 0 else self._failed_starts + 1
        left = Phase.AWAKE if self.replicas else Phase.ASLEEP
        self._become(Phase.FAILING if self._failed_starts else left)
        self._later(self._back_off())

    async def _back_off(self) -> None:
        """Wait before the next start, longer each time; a start that keeps failing answers those who wait."""
        if self._failed_starts >= _FAILED_STARTS_HELD:
            await self._refuse_waiting()
        if self._failed_starts:
            await asyncio.sleep(min(_BACK_OFF_SECONDS_MAX, 0.1 * 2 ** (self._failed_starts - 1)))
        self.watch()

    async def _refuse_waiting(self) -> None:
        listener = self._replicas[0].listener
        answer = _refusal(self.service, child.last_line(self.log))
        # Blocking or not is a property that all copies of the socket share: the next process may expect it to block.
        listener.setblocking(False)
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                listener.setblocking(True)
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

    def scale(self, count: int) -> None:
        """Have this many replicas from now on; returns at once."""
        if self._closing or self.phase is Phase.FAILING:
            return
        count = max(count, self.at_least)
        while count > len(self._replicas):
            replica = Replica.new()
            replica.starting = True
            self._replicas.append(replica)
            self._later(self._join(replica))
        while len(self._replicas) > max(1, count):
            self._leave(self._replicas.pop())
        if count == 0:
            self._later(self.sleep())

    async def _join(self, replica: Replica) -> None:
        """Start one more, and send it requests once it is ready."""
        if not await self._start(replica) or not await self._is_ready(replica):
            return
        if replica in self._replicas:
            replica.ready = True
            self.gateway.route(self.cluster, self.ports)
            self.changed()

    async def _is_ready(self, replica: Replica) -> bool:
        return self.readiness is None or await probes.until_ready(self.readiness, replica.port, _READY_SECONDS)

    def _leave(self, replica: Replica) -> None:
        """Take a replica out of the gateway's sight, let it finish, end it."""
        self._leaving.add(replica)
        self.gateway.route(self.cluster, self.ports)
        self._later(self._end(replica))

    async def _end(self, replica: Replica) -> None:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.gateway.forgotten(self.cluster, replica.port)
        except TimeoutError:
            self.tell(f"{self.name} was still answering after its timeoutSeconds: what is left is cut off")
        await self._stop(replica, self.timeout_seconds)
        replica.listener.close()
        self._leaving.discard(replica)
        self.changed()

    async def replace(self) -> bool:
        """Put new processes in the place of those that run (their code has changed), without losing a request.

        Answers whether the new ones came up; if not, the old ones stay.
        """
        old = [one for one in self._replicas if one.busy]
        if not old or self._closing:
            return True
        new = [Replica.new() for _ in old]
        # They do not count as ours yet, so that an end of theirs changes nothing.
        self._leaving.update(new)
        came_up = [await self._start(one) and await self._is_ready(one) for one in new]
        if not all(came_up) or self._closing or [one for one in self._replicas if one.busy] != old:
            for one in new:
                await self._stop(one, 1.0)
                one.listener.close()
                self._leaving.discard(one)
            return all(came_up)
        asyncio.get_running_loop().remove_reader(self._replicas[0].listener)
        gone, self._replicas = self._replicas, new
        for one in new:
            self._leaving.discard(one)
            one.ready = True
        for one in gone:
            self._leave(one)
        self._become(Phase.AWAKE)
        return True

    async def sleep(self) -> None:
        """Stop the last process gracefully; its socket stays, and wakes the next."""
        front = self._replicas[0]
        if self.phase is not Phase.AWAKE or front.running is None or front.stopping:
            return
        self._become(Phase.STOPPING)
        await self._stop(front, self.timeout_seconds)

    async def _stop(self, replica: Replica, patience_seconds: float) -> None:
        """SIGTERM, and SIGKILL when it takes longer than its requests may."""
        if replica.running is None:
            return
        replica.stopping = True
        running = replica.running
        try:
            async with asyncio.timeout(patience_seconds):
                await running.drain(patience_seconds)
                running.signal(signal.SIGTERM)
                await replica.ended.wait()
        except TimeoutError:
            running.signal(signal.SIGKILL)
            await replica.ended.wait()

    async def close(self, patience_seconds: float) -> None:
        """Stop for good; once more changes nothing."""
        if self._closing:
            return
        self._closing = True
        asyncio.get_running_loop().remove_reader(self._replicas[0].listener)
        everything = [*self._replicas, *self._leaving]
        await asyncio.gather(*(self._stop(one, patience_seconds) for one in everything))
        for task in self._tasks:
            task.cancel()
        for one in everything:
            one.listener.close()

    def _become(self, phase: Phase) -> None:
        self.phase, self.since = phase, time.time()
        self.changed()

    def _later(self, work: Coroutine[None, None, None] | Coroutine[None, None, bool]) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refusal(service: str, reason: str) -> bytes:
    """An HTTP answer for those who waited for something that does not start."""
    reason = reason.replace("\\", "\\\\").replace('"', '\\"')[:300]
    body = (
        f'{{"type":"about:blank","title":"Service Unavailable","status":503,'
        f'"detail":"{service} does not start. Its log, `wake logs {service}`, ends: {reason}"}}'
    ).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 5\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
