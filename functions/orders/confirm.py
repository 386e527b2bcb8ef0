"""Confirms an order when its payment was captured."""

from __future__ import annotations

from eventing import inbox, outbox
from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.events import OrdersConfirmed, PaymentsCaptured
from functions.orders import orders

app = operation(__name__)


@app.on(PaymentsCaptured)
async def confirm(captured: PaymentsCaptured, event: Event, database: Database) -> None:
    """An order that was cancelled meanwhile stays so: its cancelling asks for the refund."""
    async with database.transaction() as transaction:
        if not await inbox.first_time(transaction, app.name, event):
            return
        order = await orders.lock(transaction, captured.order_id)
        if not order.can("confirmed"):
            return
        order = await orders.save(transaction, order.move("confirmed"))
        confirmed = OrdersConfirmed(order_id=str(order.id), username=order.username, version=order.version)
        await outbox.add(transaction, confirmed.to_event())
