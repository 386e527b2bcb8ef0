"""Outbox and inbox on a real PostgreSQL, with a real sink that can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from eventing import inbox, outbox
from eventing.event import Event, new_id
from eventing.inbox import EventReused
from eventing.publisher import PublishFailed
from eventing.transaction import Transaction

NOW = timedelta(0)


def event(name: str = "1", data: bytes = b"{}") -> Event:
    """An event of this id."""
    return Event(id=name, source="/wake/orders", type="orders.placed.v1", datacontenttype="application/json", data=data)


class Sink:
    """Takes events and remembers them; refuses those it was told to."""

    def __init__(self) -> None:
        self.taken: list[Event] = []
        self.refused: set[str] = set()

    async def publish(self, one: Event) -> None:
        """As a Publisher's."""
        if one.id in self.refused:
            raise PublishFailed("away")
        self.taken.append(one)

    @property
    def ids(self) -> list[str]:
        """What was taken, in its order."""
        return [one.id for one in self.taken]


@pytest.fixture
async def pool(database_url: Callable[[str], str]) -> AsyncIterator[outbox.Pool]:
    """A pool on a database of its own."""
    made = asyncpg.create_pool(database_url("orders"), min_size=1, max_size=5)
    async with made as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without waiting."""
    monkeypatch.setattr(outbox, "_RETRY_DELAYS_SECONDS", (0.0, 0.0))


async def record(pool: outbox.Pool, *events: Event) -> list[Event]:
    """Record events in one committed transaction."""
    async with pool.acquire() as connection, connection.transaction():
        transaction = Transaction(connection)
        for one in events:
            await outbox.add(transaction, one)
    return transaction.events


async def unpublished(pool: outbox.Pool) -> list[str]:
    """Ids that wait."""
    return [row["id"] for row in await pool.fetch("SELECT id FROM outbox WHERE published_at IS NULL ORDER BY seq")]


async def test_what_is_rolled_back_was_never_recorded(pool: outbox.Pool) -> None:
    """The event is part of the transaction."""
    with pytest.raises(ZeroDivisionError):
        async with pool.acquire() as connection, connection.transaction():
            await outbox.add(Transaction(connection), event())
            raise ZeroDivisionError

    assert await unpublished(pool) == []


async def test_published_rows_are_marked_and_kept(pool: outbox.Pool) -> None:
    """In their order, with the bytes that were recorded."""
    sink = Sink()
    recorded = await record(pool, event("1", b'{"a": 1.0}'), event("2"))

    assert await outbox.publish(pool, sink, recorded) == 2
    assert (sink.ids, sink.taken[0].data) == (["1", "2"], b'{"a": 1.0}')
    assert await unpublished(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 2


async def test_what_is_not_taken_waits_with_all_behind_it(pool: outbox.Pool) -> None:
    """The order of a transaction's events is kept; the relay finds the rest."""
    sink = Sink()
    sink.refused = {"2"}
    await outbox.publish(pool, sink, await record(pool, event("1"), event("2"), event("3")))
    waiting = await unpublished(pool)
    sink.refused = set()

    assert waiting == ["2", "3"]
    assert await outbox.drain_once(pool, sink, older_than=NOW) == 2
    assert sink.ids == ["1", "2", "3"]
    assert await outbox.drain_once(pool, sink, older_than=NOW) == 0


async def test_a_failure_in_draining_keeps_what_was_taken(pool: outbox.Pool) -> None:
    """What went out is marked, the reason is kept, and the caller is told."""
    sink = Sink()
    sink.refused = {"2"}
    await record(pool, event("1"), event("2"))
    with pytest.raises(PublishFailed):
        await outbox.drain_once(pool, sink, older_than=NOW)

    assert await unpublished(pool) == ["2"]
    assert await pool.fetchval("SELECT last_error FROM outbox WHERE id = '2'") == "away"


async def test_two_relays_send_no_row_twice(pool: outbox.Pool) -> None:
    """Rows that one has in hand are passed over by the other."""
    sink = Sink()
    await record(pool, *(event(str(number)) for number in range(60)))
    await asyncio.gather(*(outbox.drain_once(pool, sink, limit=20, older_than=NOW) for _ in range(4)))
    await outbox.drain_once(pool, sink, older_than=NOW)

    assert sorted(sink.ids, key=int) == [str(number) for number in range(60)]


async def test_a_row_that_commits_late_is_not_skipped(pool: outbox.Pool) -> None:
    """A lower number that commits after a higher one was published is still found."""
    sink = Sink()
    async with pool.acquire() as slow, slow.transaction():
        await outbox.add(Transaction(slow), event("late"))
        await record(pool, event("early"))
        await outbox.drain_once(pool, sink, older_than=NOW)
    await outbox.drain_once(pool, sink, older_than=NOW)

    assert sink.ids == ["early", "late"]


async def test_the_relay_leaves_what_its_own_process_is_publishing(pool: outbox.Pool) -> None:
    """A row younger than that is not taken."""
    sink = Sink()
    await record(pool, event())

    assert await outbox.drain_once(pool, sink, older_than=timedelta(minutes=1)) == 0


async def test_republishing_sends_the_same_ids_again(pool: outbox.Pool) -> None:
    """All since a time, more than one batch of them; nothing before it."""
    sink, again = Sink(), Sink()
    await outbox.publish(pool, sink, await record(pool, *(event(str(number)) for number in range(150))))
    since = datetime.now(UTC) - timedelta(minutes=1)

    assert await outbox.republish(pool, again, since) == 150
    assert again.taken == sink.taken
    assert await outbox.republish(pool, again, datetime.now(UTC) + timedelta(minutes=1)) == 0


async def test_old_published_rows_are_swept_and_unpublished_ones_never(pool: outbox.Pool) -> None:
    """Only what the Broker took may go."""
    await outbox.publish(pool, Sink(), await record(pool, event("1")))
    await record(pool, event("2"))

    assert await outbox.sweep(pool, datetime.now(UTC) + timedelta(hours=1)) == 1
    assert await unpublished(pool) == ["2"]


async def test_an_event_is_new_once_for_each_consumer(pool: outbox.Pool) -> None:
    """Two consumers know nothing of each other; a rolled-back handling did not happen."""
    one = event(new_id())

    async def first(consumer: str, *, fail: bool = False) -> bool:
        async with pool.acquire() as connection, connection.transaction():
            answer = await inbox.first_time(Transaction(connection), consumer, one)
            if fail:
                raise ZeroDivisionError
            return answer

    with pytest.raises(ZeroDivisionError):
        await first("a", fail=True)

    assert [await first("a"), await first("a"), await first("b")] == [True, False, True]


async def test_only_one_of_many_at_once_is_the_first(pool: outbox.Pool) -> None:
    """The others wait for its transaction, and then know."""

    async def first() -> bool:
        async with pool.acquire() as connection, connection.transaction():
            return await inbox.first_time(Transaction(connection), "a", event())

    assert sorted(await asyncio.gather(*(first() for _ in range(20)))) == [False] * 19 + [True]


async def test_the_same_id_with_other_data_is_an_error(pool: outbox.Pool) -> None:
    """Of another source it is another event."""
    async with pool.acquire() as connection, connection.transaction():
        transaction = Transaction(connection)
        await inbox.first_time(transaction, "a", event("1"))
        with pytest.raises(EventReused):
            await inbox.first_time(transaction, "a", event("1", b'{"other": true}'))
