"""The inbox: which events a consumer has handled, in the same transaction as what they caused."""

from __future__ import annotations

import hashlib
from datetime import datetime

from eventing.event import Event
from eventing.queries import Queries
from eventing.transaction import Pool, Transaction

_queries = Queries.beside(__file__)


class EventReused(Exception):
    """An event came under a source and id that were handled with other content."""


async def first_time(transaction: Transaction, consumer: str, event: Event) -> bool:
    """Whether this consumer has not handled this event yet; from now on (if the transaction commits) it has.

    A second delivery at the same moment waits here until the first one's transaction ends.

    Raises:
        EventReused: the same source and id were handled with another type, subject or data.
    """
    tag = await transaction.execute(_queries["claim"], consumer, event.source, event.id, _content(event))
    return tag == "INSERT 0 1" or not await knows(transaction, consumer, event)


async def knows(transaction: Transaction, consumer: str, event: Event) -> bool:
    """Whether this consumer has handled this event; claims nothing.

    Raises:
        EventReused: the same source and id were handled with another type, subject or data.
    """
    content = await transaction.fetchval(_queries["content"], consumer, event.source, event.id)
    if content not in {None, _content(event)}:
        raise EventReused(f"event {event.id} of {event.source} came again with other content")
    return content is not None


async def sweep(pool: Pool, handled_before: datetime) -> None:
    """Forget ids that were handled before a time; no replay may be older than that."""
    await pool.execute(_queries["sweep"], handled_before)


def _content(event: Event) -> bytes:
    return hashlib.sha256(b"\0".join([event.type.encode(), (event.subject or "").encode(), event.data])).digest()
