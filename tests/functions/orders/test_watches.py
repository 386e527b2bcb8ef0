"""How often is looked for open watches, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.errors import Unavailable
from functions.orders import messages
from functions.orders.order import Step
from functions.orders.watches import Watches, interval_seconds

ONE, OTHER = UUID(int=1), UUID(int=2)


class History:
    """Orders' statuses, and who asked for which."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.asked: list[list[tuple[UUID, int]]] = []
        self.away = False

    def add(self, order_id: UUID, place: int) -> None:
        """A status more."""
        self.steps.append(Step(order_id, place, "confirmed", datetime.now(UTC)))

    async def look(self, seen: Sequence[tuple[UUID, int]]) -> list[Step]:
        """As the database answers it: a row for each who asked."""
        self.asked.append(list(seen))
        if self.away:
            raise Unavailable
        return [
            step for order_id, place in seen for step in self.steps if step.order_id == order_id and step.place > place
        ]


@given(st.floats(0, 1e6))
def test_a_watch_is_looked_for_quickly_at_first(waited: float) -> None:
    """Within 25 ms, later within a tenth of what it has waited, and at least once a second."""
    assert 0.025 <= interval_seconds(waited) <= 1.0
    assert interval_seconds(waited) <= max(0.025, waited * 0.1)


@given(st.uuids(), st.integers(0, 2**31))
def test_a_token_stands_for_its_place(order_id: UUID, place: int) -> None:
    """And for nothing else."""
    assert messages.place_of(messages.resume_token(order_id, place), order_id) == place


async def test_one_look_is_for_all(watches: Watches, history: History) -> None:
    """Each is told what comes after its own place, once, in order; and nobody looks when nobody waits."""
    waiting = [asyncio.create_task(watches.after(*one)) for one in ((ONE, 1), (ONE, 1), (ONE, 2), (OTHER, 1))]
    await asyncio.sleep(0)
    for place in (3, 2):
        history.add(ONE, place)
    history.add(OTHER, 2)
    told = [[step.place for step in await one] for one in waiting]
    looks = watches.statistics()["looks"]
    await asyncio.sleep(0.1)

    assert told == [[2, 3], [2, 3], [3], [2]]
    assert len(history.asked[0]) == 4
    assert watches.statistics() == {"open": 0, "looks": looks}


async def test_whoever_comes_late_does_not_wait_for_the_others_pace(watches: Watches, history: History) -> None:
    """A watch that was opened long ago is looked for once a second; a new one is told at once."""
    old = asyncio.create_task(watches.after(ONE, 1))
    await asyncio.sleep(0)
    next(iter(watches._open)).since -= 3600
    await asyncio.sleep(0.05)
    history.add(OTHER, 2)
    async with asyncio.timeout(0.5):
        assert [step.place for step in await watches.after(OTHER, 1)] == [2]
    old.cancel()


async def test_while_the_database_is_away_watches_end(watches: Watches, history: History) -> None:
    """All of them, with Unavailable; the next ones look again."""
    history.away = True
    told = await asyncio.gather(watches.after(ONE, 1), watches.after(OTHER, 1), return_exceptions=True)
    history.away = False
    history.add(ONE, 2)

    assert [type(one) for one in told] == [Unavailable, Unavailable]
    assert [step.place for step in await watches.after(ONE, 1)] == [2]


async def test_a_watch_that_is_given_up_is_looked_for_no_more(watches: Watches, history: History) -> None:
    """And the looking ends with the last."""
    waiting = asyncio.create_task(watches.after(ONE, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(5):
        while watches._looking is not None:
            await asyncio.sleep(0.01)

    assert watches.statistics()["open"] == 0


@pytest.fixture
def history() -> History:
    """Empty."""
    return History()


@pytest.fixture
def watches(history: History) -> Watches:
    """Of that history."""
    return Watches(history.look)
