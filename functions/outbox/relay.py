"""Publishes what a crash left in the outboxes; woken by PingSource.

Nothing here is always on: the process that commits publishes at once, and only what it left behind (it was killed, the
Broker was away for long) waits for this.
"""

from __future__ import annotations

from eventing import outbox
from eventing.event import Event
from eventing.publisher import PublishFailed
from functions.app import operation
from functions.database import Database, translated
from functions.errors import Unavailable
from functions.outbox import outboxes

app = operation(__name__)
app.opens("outboxes", outboxes.opened)


@app.on_any_event
async def relay(_: Event, __: Database) -> None:
    """Drain every outbox; several that do so side by side take different rows."""
    opened: outboxes.Outboxes = app.state.outboxes

    async def drain(each: Database) -> None:
        try:
            with translated():
                await outbox.drain(each.connections, opened.publisher)
        except PublishFailed as error:
            raise Unavailable(f"The Broker takes no events: {error}") from error

    await outboxes.in_each(opened.databases, drain)
