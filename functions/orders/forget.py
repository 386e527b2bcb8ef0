"""Forgets the cached copy of an order that moved.

Whoever moved it has forgotten it already, before it answered; this is for the process that was killed between the two,
and for the cache that did not answer just then.
"""

from __future__ import annotations

from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.events import Change, OrdersCancelled, OrdersConfirmed, OrdersExpired, OrdersRejected

app = operation(__name__)


@app.on(OrdersConfirmed, OrdersRejected, OrdersCancelled, OrdersExpired)
async def forget(_: Change, event: Event, __: Database) -> None:
    """As often as it comes; a copy of a later version stays. A cache that is away is tried again while it matters."""
    await app.state.cache.forget_again(event)
