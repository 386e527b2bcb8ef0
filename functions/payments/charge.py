"""Charges the card when an order was placed."""

from __future__ import annotations

from eventing import inbox
from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.events import OrdersPlaced
from functions.payments import payments, settlement
from functions.payments.cards import port

app = operation(__name__)
app.opens("processor", port.chosen)


@app.on(OrdersPlaced)
async def charge(placed: OrdersPlaced, event: Event, database: Database) -> None:
    """Bring the order's payment as far as it gets. The processor's own key keeps a repetition from charging twice."""
    order_id, money = payments.order_of(placed.order_id, placed.amount, placed.currency)
    async with database.transaction() as transaction:
        payment = await payments.begin(transaction, order_id, placed.username, money, placed.payment_token)
    if payment.is_open and payment.undone_reason is None:
        await settlement.pursue(database, app.state.processor, order_id)
    async with database.transaction() as transaction:
        await inbox.first_time(transaction, app.name, event)
