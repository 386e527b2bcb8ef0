"""Rejects an order when its payment was declined."""

from __future__ import annotations

from eventing import inbox, outbox
from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.events import OrdersRejected, PaymentsDeclined
from functions.orders import orders

app = operation(__name__)


@app.on(PaymentsDeclined)
async def reject(declined: PaymentsDeclined, event: Event, database: Database) -> None:
    """An order that was cancelled meanwhile stays so."""
    async with database.transaction() as transaction:
        if not await inbox.first_time(transaction, app.name, event):
            return
        order = await orders.lock(transaction, declined.order_id)
        if not order.can("rejected"):
            return
        order = await orders.save(transaction, order.move("rejected"))
        rejected = OrdersRejected(
            order_id=str(order.id), username=order.username, reason=declined.reason, version=order.version
        )
        await outbox.add(transaction, rejected.to_event())
