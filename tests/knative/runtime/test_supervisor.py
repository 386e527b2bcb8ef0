"""The platform's parts: what ends unasked is started again, and whoever waited for it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from knative.runtime.supervisor import Supervisor


@dataclass
class Sleeper:
    """A part that does nothing."""

    process: subprocess.Popen[bytes]

    def wait_until_ready(self) -> None:
        """It is."""

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


async def test_a_part_that_ended_is_started_again_and_its_return_is_told_once() -> None:
    """What could not be had while it was away can be had now; its first start is nobody's return."""
    back: asyncio.Queue[str] = asyncio.Queue()
    said: list[str] = []
    supervisor = Supervisor(said.append, _nothing, back.put_nowait)
    start: Callable[[], Sleeper] = lambda: Sleeper(subprocess.Popen(["sleep", "60"]))  # noqa: E731
    await supervisor.start("sleeper", start)
    first = supervisor.pids["sleeper"]
    try:
        assert back.empty()

        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            told = await back.get()

        assert told == "sleeper"
        assert supervisor.pids["sleeper"] != first
        assert said == ["sleeper ended (exit -9) and is started again"]

        await supervisor.restart("sleeper")
        async with asyncio.timeout(10):
            assert await back.get() == "sleeper"
    finally:
        await supervisor.stop("sleeper")


def _nothing() -> None:
    """For what nobody looks at here."""
