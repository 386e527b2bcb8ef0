"""Order by subject: events of one subject one after the other, in the order they came, while others pass.

It stands between a channel and a `take`, and needs only that the channel delivers in the order of publishing and
delivers an event that is to come again before it forgets it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from eventing.channels.channel import Again, Delivery, Done, Take

# An event that is to come again may come to another copy of the Broker: its subject is not held up for ever.
_GRACE_SECONDS = 15.0


class NotTaken(Exception):
    """The event was waiting for its turn when the subscription was closed: it is to be delivered again."""


@dataclass
class _Lane:
    """One subject: who has the turn, who is to come again, and who waits."""

    busy: bool = False
    held: tuple[str, str] | None = None
    held_until: float = 0.0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Lanes:
    """A `take` that gives events of one subject their turns, at most so many subjects at once."""

    def __init__(self, take: Take, concurrency: int) -> None:
        self._take = take
        self._slots = asyncio.Semaphore(concurrency)
        self._lanes: dict[str, _Lane] = {}

    async def __call__(self, delivery: Delivery) -> Done | Again:
        """Wait for this event's turn, and take it; an event without subject need not wait.

        Raises:
            NotTaken: the subscription was closed first.
        """
        subject = delivery.event.subject
        if subject is None:
            async with self._slots:
                return await self._take(delivery)
        lane = self._lanes.setdefault(subject, _Lane())
        await self._turn(lane, delivery)
        answer: Done | Again = Done()
        try:
            async with self._slots:
                answer = await self._take(delivery)
        finally:
            self._leave(subject, lane, delivery, answer)
        return answer

    def close(self) -> None:
        """Give no more turns; those that wait for one raise NotTaken."""
        for lane in self._lanes.values():
            while lane.waiting:
                turn = lane.waiting.popleft()
                if not turn.done():
                    turn.set_exception(NotTaken())

    async def _turn(self, lane: _Lane, delivery: Delivery) -> None:
        comes_again = lane.held == _identity(delivery)
        if not lane.busy and (comes_again or (lane.held is None and not lane.waiting)):
            lane.busy, lane.held = True, None
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append(turn)
        await turn

    def _leave(self, subject: str, lane: _Lane, delivery: Delivery, answer: Done | Again) -> None:
        if isinstance(answer, Again):
            lane.busy, lane.held = False, _identity(delivery)
            wait = answer.seconds + _GRACE_SECONDS
            lane.held_until = time.monotonic() + wait
            asyncio.get_running_loop().call_later(wait, self._release, subject, lane)
        else:
            self._next(lane)
        self._forget(subject, lane)

    def _next(self, lane: _Lane) -> None:
        lane.busy = False
        while lane.waiting:
            turn = lane.waiting.popleft()
            if not turn.done():
                lane.busy = True
                turn.set_result(None)
                return

    def _release(self, subject: str, lane: _Lane) -> None:
        """Hold the subject up no longer: the event went elsewhere."""
        if lane.held is not None and not lane.busy and time.monotonic() >= lane.held_until - 0.001:
            lane.held = None
            self._next(lane)
            self._forget(subject, lane)

    def _forget(self, subject: str, lane: _Lane) -> None:
        if not lane.busy and lane.held is None and not lane.waiting and self._lanes.get(subject) is lane:
            del self._lanes[subject]


def _identity(delivery: Delivery) -> tuple[str, str]:
    return delivery.event.source, delivery.event.id
