"""The outbox: an event is a row of the transaction that made it true, and is published from there.

The process that commits publishes at once. What it leaves behind (it was killed, the Broker was away) stays
unpublished, and whoever drains the outbox sends it later, under the same id. Rows are kept after they were published,
so that a broker that lost everything can be filled again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import asyncpg

from eventing.event import Event
from eventing.publisher import PublishFailed
from eventing.queries import Queries
from eventing.transaction import Pool, Transaction

_queries = Queries.beside(__file__)
_log = logging.getLogger(__name__)
# A broker that is started again is back within a second or two; beyond that the row waits for the relay.
_RETRY_DELAYS_SECONDS = (0.1, 0.3, 0.9)
_BATCH = 100
# Events that go out side by side: a Broker that waits for its disk takes several in little more than the time of one.
_AT_ONCE = 16
# Whoever commits a row publishes it at once; one this old is nobody's any more.
_FRESH = timedelta(seconds=2)


class Publishes(Protocol):
    """What takes an event and keeps it; `eventing.publisher.Publisher` is one."""

    async def publish(self, event: Event) -> None:
        """Return once the event is stored; raise PublishFailed if it is not known to be."""


async def add(transaction: Transaction, event: Event) -> None:
    """Record an event in the transaction that makes it true; it is published after the commit."""
    await add_all(transaction, [event])


async def add_all(transaction: Transaction, events: Sequence[Event]) -> None:
    """Record several, which are published in this order."""
    await transaction.execute(
        _queries["add"],
        [event.source for event in events],
        [event.id for event in events],
        [json.dumps(event.attributes) for event in events],
        [event.data for event in events],
    )
    transaction.events.extend(events)


async def publish(pool: Pool, publisher: Publishes, events: Sequence[Event]) -> int:
    """Publish what a committed transaction recorded; answers how many were taken.

    Events about the same subject go out one after the other, in their order; several subjects' side by side.
    Never raises for an event that is not taken: its row stays unpublished.
    """
    run = _Run(publisher)
    lines = _by_subject(events)
    if len(lines) == 1:
        await run.publish(lines[0])
    else:
        await asyncio.gather(*map(run.publish, lines))
    if run.published:
        await _mark_published(pool, run.published)
    return len(run.published)


class _Run:
    """One publishing: what was taken so far, and whether the Broker has turned out to be away."""

    def __init__(self, publisher: Publishes) -> None:
        self._publisher = publisher
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._is_away = False
        self.published: list[Event] = []

    async def publish(self, line: Sequence[Event]) -> None:
        """Publish events one after the other, until one is not taken."""
        async with self._at_once:
            for event in line:
                if self._is_away:
                    return
                try:
                    await _publish_patiently(self._publisher, event)
                except PublishFailed as failure:
                    # Those behind it wait too: an order's events keep their order as long as nothing crashes.
                    _log.warning("event_not_published", extra={"event_id": event.id, "reason": str(failure)})
                    self._is_away = True
                    return
                self.published.append(event)


def _by_subject(events: Sequence[Event]) -> list[list[Event]]:
    lines: dict[str | None, list[Event]] = {}
    for event in events:
        lines.setdefault(event.subject, []).append(event)
    return list(lines.values())


async def _publish_patiently(publisher: Publishes, event: Event) -> None:
    for delay in _RETRY_DELAYS_SECONDS:
        try:
            return await publisher.publish(event)
        except PublishFailed:
            await asyncio.sleep(delay)
    return await publisher.publish(event)


async def drain(pool: Pool, publisher: Publishes, *, older_than: timedelta = _FRESH) -> int:
    """Publish every row that was unpublished when this was called; answers how many were taken.

    Rows younger than *older_than* are waited for: whoever committed them publishes them now, or was killed just then.

    Raises:
        PublishFailed: the Broker does not take events; what was taken before is marked.
    """
    fresh = await pool.fetchval(_queries["waits"], older_than)
    count = 0
    while taken := await drain_once(pool, publisher, older_than=older_than):
        count += taken
    if fresh:
        await asyncio.sleep(older_than.total_seconds())
        while taken := await drain_once(pool, publisher, older_than=older_than):
            count += taken
    return count


async def drain_once(pool: Pool, publisher: Publishes, *, limit: int = _BATCH, older_than: timedelta = _FRESH) -> int:
    """Publish the oldest unpublished rows, at most *limit*; answers how many were taken, 0 when nothing is left.

    Rows are locked while they are published, so that several drain side by side without sending the same. *older_than*
    keeps it off rows that the process which committed them is publishing right now.

    Raises:
        PublishFailed: the Broker does not take events; what was taken before is marked.
    """
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(_queries["take_unpublished"], limit, older_than)
        published: list[Event] = []
        failure: PublishFailed | None = None
        for event in map(_event, rows):
            try:
                await publisher.publish(event)
            except PublishFailed as error:
                failure = error
                await connection.execute(_queries["mark_failed"], event.source, event.id, str(error))
                break
            published.append(event)
        await _mark_published(connection, published)
    if failure is not None:
        raise failure
    return len(published)


async def republish(pool: Pool, publisher: Publishes, since: datetime) -> int:
    """Publish again, under the same ids and with the same bytes, all that was published since a time.

    For a broker that lost what it had acknowledged. Safe to run at any time: consumers know the ids they handled.

    Raises:
        PublishFailed: the Broker does not take events; run it again.
    """
    count, last = 0, -1
    while rows := await pool.fetch(_queries["published_since"], since, last, _BATCH):
        for row in rows:
            await publisher.publish(_event(row))
            last = row["seq"]
            count += 1
    return count


async def published(
    pool: Pool, since: datetime, until: datetime, event_type: str | None, subject: str | None, after: int, limit: int
) -> list[tuple[int, Event]]:
    """What was published in a span of time, of one type and about one subject if given, behind a place in the outbox.

    In the order in which it was recorded, each with its own place.
    """
    rows = await pool.fetch(_queries["published"], since, until, event_type, subject, after, limit)
    return [(row["seq"], _event(row)) for row in rows]


async def behind(pool: Pool, older_than: timedelta, most: int) -> bool:
    """Whether more than so many events wait that are older than this; reads no more rows than it takes to know."""
    return bool(await pool.fetchval(_queries["behind"], older_than, most))


async def sweep(pool: Pool, published_before: datetime) -> int:
    """Delete rows published before a time; answers how many."""
    tag = await pool.execute(_queries["sweep"], published_before)
    return int(tag.rpartition(" ")[2])


async def _mark_published(executor: Any, events: Sequence[Event]) -> None:
    await executor.execute(
        _queries["mark_published"], [event.source for event in events], [event.id for event in events]
    )


def _event(row: asyncpg.Record) -> Event:
    return Event.of_attributes(json.loads(row["attributes"]), bytes(row["data"]))
