"""Deletes what has been kept for long enough: published events, handled ids, answered keys; woken by PingSource."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from eventing import inbox, outbox
from eventing.event import Event
from functions import idempotency
from functions.app import operation
from functions.database import Database, translated
from functions.outbox import outboxes

app = operation(__name__)
app.opens("outboxes", outboxes.opened)

# Long enough to fill a broker again that lost everything, and for anybody to notice that it did.
_EVENTS = timedelta(days=14)
# Longer than anything is replayed: an id that was forgotten would be handled again.
_HANDLED = timedelta(days=30)
# What the README promises to those who repeat a request.
_ANSWERS = timedelta(days=7)


@app.on_any_event
async def sweep(_: Event, __: Database) -> None:
    """In every area's database."""
    opened: outboxes.Outboxes = app.state.outboxes
    now = datetime.now(UTC)

    async def sweep_one(each: Database) -> None:
        with translated():
            await outbox.sweep(each.connections, now - _EVENTS)
            await inbox.sweep(each.connections, now - _HANDLED)
            await idempotency.sweep(each.connections, _ANSWERS)

    await outboxes.in_each(opened.databases, sweep_one)
