"""Keeps a process from doing something more often than so many times a second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator


class Pace:
    """Hands out turns, one after the other."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for a turn; whoever comes at the same time gets the ones behind it."""
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._interval
        await asyncio.sleep(turn - now)


@contextlib.asynccontextmanager
async def of_redelivery() -> AsyncIterator[Pace]:
    """REDELIVERIES_PER_SECOND: redriven and replayed events (20)."""
    yield Pace(float(os.environ.get("REDELIVERIES_PER_SECOND", "20")))
