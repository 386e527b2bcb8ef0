"""Asks the processor about payments and refunds that have been open for too long; woken by PingSource."""

from __future__ import annotations

import logging

from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.errors import Unavailable
from functions.payments import payments, settlement
from functions.payments.cards import port

_log = logging.getLogger("functions")
app = operation(__name__)
app.opens("processor", port.chosen)


@app.on_any_event
async def settle(_: Event, database: Database) -> None:
    """Bring each that is due as far as it gets. Replicas side by side take different ones; each has its next turn."""
    while order_ids := await payments.due(database):
        for order_id in order_ids:
            try:
                await settlement.pursue(database, app.state.processor, order_id)
            except Unavailable as error:
                _log.warning("still_open", extra={"subject": str(order_id), "reason": str(error)})
