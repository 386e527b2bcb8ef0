"""Ends orders that were not paid in time; woken by PingSource, so that no timer has to wait."""

from __future__ import annotations

import os
from datetime import timedelta

from eventing import outbox
from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.events import OrdersExpired
from functions.orders import orders

app = operation(__name__)
_BATCH = 50


@app.on_any_event
async def expire(_: Event, database: Database) -> None:
    """Expire all that are due; replicas side by side take different ones. What is captured later is refunded."""
    age = timedelta(seconds=float(os.environ.get("ORDER_EXPIRES_AFTER_SECONDS", "900")))
    more = True
    while more:
        async with database.transaction() as transaction:
            due = await orders.overdue(transaction, age, _BATCH)
            for one in due:
                order = await orders.save(transaction, one.move("expired"))
                expired = OrdersExpired(
                    order_id=str(order.id),
                    username=order.username,
                    amount=order.money.amount,
                    currency=order.money.currency,
                    version=order.version,
                )
                await outbox.add(transaction, expired.to_event())
        more = len(due) == _BATCH
