"""Keeps the platform's parts running: a part that dies is started again, on the same port, over the same files."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Protocol

from knative.runtime import child

_BACK_OFF_SECONDS_MAX = 5.0


class Server(Protocol):
    """A started part."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Its process, a child of ours."""

    def wait_until_ready(self) -> None:
        """Block until it serves; raises StartFailed."""

    def stop(self) -> None:
        """Stop it in its own best way, and wait for that."""


class Supervisor:
    """Starts parts, watches them, and starts again those that end unasked."""

    def __init__(
        self, tell: Callable[[str], None], changed: Callable[[], None], restarted: Callable[[str], None]
    ) -> None:
        """*restarted* is told the name of a part that ended and serves again."""
        self._tell = tell
        self._changed = changed
        self._restarted = restarted
        self._servers: dict[str, Server] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The process of each part."""
        return {name: server.process.pid for name, server in self._servers.items()}

    async def start(self, name: str, start: Callable[[], Server]) -> None:
        """Start a part, wait until it serves, and watch it from then on.

        Raises:
            StartFailed: the first start failed; later ones are tried for ever.
        """
        # Not in a thread: a child dies with the thread that started it (see child.py).
        self._servers[name] = server = start()
        await asyncio.to_thread(server.wait_until_ready)
        if name not in self._servers:
            # Another part's start failed meanwhile, and this one was stopped with the rest.
            return
        self._changed()
        self._watches[name] = asyncio.create_task(self._watch(name, start))

    def replace(self, name: str, server: Server, start: Callable[[], Server]) -> Server:
        """Watch this one from now on in the place of another, which is answered and runs on."""
        self._watches[name].cancel()
        before, self._servers[name] = self._servers[name], server
        self._watches[name] = asyncio.create_task(self._watch(name, start))
        self._changed()
        return before

    async def _watch(self, name: str, start: Callable[[], Server]) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            await ended(self._servers[name].process)
            failures = 0 if time.monotonic() - began > _BACK_OFF_SECONDS_MAX else failures + 1
            self._tell(f"{name} ended (exit {self._servers[name].process.returncode}) and is started again")
            await asyncio.sleep(min(_BACK_OFF_SECONDS_MAX, 0.05 * 2**failures) if failures > 1 else 0)
            try:
                self._servers[name] = server = start()
                await asyncio.to_thread(server.wait_until_ready)
                self._restarted(name)
            except child.StartFailed as error:
                self._tell(str(error))
            self._changed()

    async def restart(self, name: str) -> None:
        """End a part, which is then started again like one that ended by itself; one that never started is not."""
        if name in self._servers:
            await asyncio.to_thread(self._servers[name].stop)

    async def stop(self, *names: str) -> None:
        """Stop these parts side by side; those that never started are passed over."""
        servers = []
        for name in names:
            if (watch := self._watches.pop(name, None)) is not None:
                watch.cancel()
            if (server := self._servers.pop(name, None)) is not None:
                servers.append(server)
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child's end and answer its exit code, without polling where the kernel can tell (Linux, pidfd)."""
    if sys.platform == "linux" and process.poll() is None:
        descriptor = os.pidfd_open(process.pid)
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, end.set)
        try:
            await end.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    # Without a pidfd (macOS) there is nothing to wait on.
    while (code := process.poll()) is None:
        await asyncio.sleep(0.05)
    return code
