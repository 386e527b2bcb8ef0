"""Refunds what was captured when an order was cancelled, or sees to it that nothing ever is."""

from __future__ import annotations

from eventing import inbox, outbox
from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.errors import Unavailable
from functions.events import OrdersCancelled, PaymentsRefunded
from functions.payments import payments
from functions.payments.cards import port
from functions.payments.cards.port import CardProcessor, ProcessorSilent

app = operation(__name__)
app.opens("processor", port.chosen)

_REASON = "the order was cancelled"


@app.on(OrdersCancelled)
async def refund(cancelled: OrdersCancelled, event: Event, database: Database) -> None:
    """Give everything back once. While a charge is under way the event is delivered again until that is settled."""
    order_id, money = payments.order_of(cancelled.order_id, cancelled.amount, cancelled.currency)
    async with database.transaction() as transaction:
        # Where nothing was begun this leaves a voided payment behind, which a late charge finds and stops at.
        payment = await payments.begin(transaction, order_id, cancelled.username, money, None)
        if payment.is_open:
            raise Unavailable("The charge is still under way: what it captures is refunded when it is settled.")
        if payment.state != "captured":
            await inbox.first_time(transaction, app.name, event)
            return
    processor: CardProcessor = app.state.processor
    try:
        await processor.refund(f"refund:{order_id}", str(order_id), payment.money)
    except ProcessorSilent as silence:
        raise Unavailable(f"The card processor: {silence}") from silence
    async with database.transaction() as transaction:
        payment = await payments.lock(transaction, order_id)
        if await inbox.first_time(transaction, app.name, event) and payment.state == "captured":
            await payments.save(transaction, payment.refunded(_REASON), "refund")
            await outbox.add(
                transaction,
                PaymentsRefunded(
                    order_id=str(order_id), amount=money.amount, currency=money.currency, reason=_REASON
                ).to_event(),
            )
