"""Keeps what could not be delivered: the dead letter sink of every Trigger, and the reader of refused events."""

from __future__ import annotations

from eventing.event import Event
from functions.app import EVENT_BYTES_MAX, operation
from functions.database import Database
from functions.deadletters import deadletters, failure

app = operation(__name__, body_bytes_max=EVENT_BYTES_MAX)


@app.on_any_event
async def keep(event: Event, database: Database) -> None:
    """Keep it once, as it was before it failed, with every attempt that is told of."""
    async with database.transaction() as transaction:
        await deadletters.keep(transaction, failure.of(event))
