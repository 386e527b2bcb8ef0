"""Tells whoever watches an order what became of it: one look for all watches of a process, and none without any.

It looks, and is not told: PostgreSQL's NOTIFY takes one lock for the whole server when it commits, so that every order
would wait for every other. What happens between two looks is not missed, since the database keeps each status.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from functions.orders.order import Step

Look: TypeAlias = Callable[[Sequence[tuple[UUID, int]]], Awaitable[list[Step]]]
_SOONEST_SECONDS = 0.025
_LATEST_SECONDS = 1.0
# A watch is told within this part of the time that it has waited.
_SHARE = 0.1


def interval_seconds(waited_seconds: float) -> float:
    """How long after a look the next one is due, for a watch that has waited so long: most are over in a second."""
    return min(max(waited_seconds * _SHARE, _SOONEST_SECONDS), _LATEST_SECONDS)


@dataclass(eq=False)
class _Watch:
    """Somebody who waits for what comes after a place in an order's history."""

    order_id: UUID
    place: int
    since: float
    news: asyncio.Future[list[Step]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Watches:
    """The open watches of a process. *look* answers what came after each of several places (`orders.news`)."""

    def __init__(self, look: Look, now: Callable[[], float] = time.monotonic) -> None:
        self._look, self._now = look, now
        self._open: set[_Watch] = set()
        self._opened = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._looked = 0.0
        self._looks = 0

    async def after(self, order_id: UUID, place: int) -> list[Step]:
        """What the order came to after this place; waits for the first of it.

        Raises:
            Unavailable: the database is away.
        """
        watch = _Watch(order_id, place, self._now())
        self._open.add(watch)
        self._opened.set()
        if self._looking is None:
            # In nobody's name: the call that happens to be the first may have a deadline.
            self._looking = asyncio.create_task(self._look_on(), context=contextvars.Context())
        try:
            return await watch.news
        finally:
            self._open.discard(watch)

    def statistics(self) -> dict[str, int]:
        """How many watches are open, and how often has been looked for them."""
        return {"open": len(self._open), "looks": self._looks}

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look_on(self) -> None:
        """Look for as long as somebody waits: only timing; the work is `look_once`."""
        self._looked = self._now()
        try:
            while self._open:
                if (seconds := self._due_in()) > 0:
                    self._opened.clear()
                    await _wait(self._opened, seconds)
                else:
                    await self.look_once()
        finally:
            self._looking = None

    def _due_in(self) -> float:
        """Seconds until the next look, by whoever has waited the shortest."""
        now = self._now()
        waited = now - max(watch.since for watch in self._open)
        return self._looked + interval_seconds(waited) - now

    async def look_once(self) -> None:
        """One look for all who wait; those for whom there is something wait no more."""
        asked = list(self._open)
        self._looks += 1
        try:
            steps = await self._look([(watch.order_id, watch.place) for watch in asked])
        except Exception as error:  # noqa: BLE001 - it is what each of them is told.
            _tell(asked, error)
            return
        finally:
            self._looked = self._now()
        # Of an order that several watch each step comes several times.
        found: dict[UUID, dict[int, Step]] = {}
        for step in steps:
            found.setdefault(step.order_id, {})[step.place] = step
        for watch in asked:
            news = [step for place, step in sorted(found.get(watch.order_id, {}).items()) if place > watch.place]
            if news and not watch.news.done():
                watch.news.set_result(news)


def _tell(watches: Sequence[_Watch], error: Exception) -> None:
    for watch in watches:
        if not watch.news.done():
            watch.news.set_exception(error)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
