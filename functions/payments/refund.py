"""Undoes a payment when its order was cancelled or has expired: voided, or given back."""

from __future__ import annotations

from eventing import inbox
from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.events import OrdersCancelled, OrdersExpired
from functions.payments import payments, settlement
from functions.payments.cards import port

app = operation(__name__)
app.opens("processor", port.chosen)


@app.on(OrdersCancelled, OrdersExpired)
async def refund(ended: OrdersCancelled | OrdersExpired, event: Event, database: Database) -> None:
    """Remember that the order is not wanted any more, and see to it that no money of it is kept."""
    order_id, money = payments.order_of(ended.order_id, ended.amount, ended.currency)
    reason = "the order was cancelled" if isinstance(ended, OrdersCancelled) else "the order expired"
    async with database.transaction() as transaction:
        # Where nothing was begun this leaves a payment behind that is undone, at which a late charge stops.
        payment = await payments.begin(transaction, order_id, ended.username, money, None)
        await payments.undo(transaction, payment, reason)
        if payment.refundable_minor > 0:
            await payments.ask_refund(transaction, payment, f"refund:{payment.key}", payment.refundable_minor, reason)
    await settlement.pursue(database, app.state.processor, order_id)
    async with database.transaction() as transaction:
        await inbox.first_time(transaction, app.name, event)
