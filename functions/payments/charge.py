"""Charges the card when an order was placed.

The processor is called outside any transaction, under the order's id as its idempotency key: however often this runs,
however it ends, the card is charged once. What the processor said, its event and the inbox are one transaction.
"""

from __future__ import annotations

from eventing import inbox, outbox
from eventing.event import Event
from functions.app import operation
from functions.database import Database
from functions.errors import Unavailable
from functions.events import OrdersPlaced, Payload, PaymentsCaptured, PaymentsDeclined
from functions.payments import payments
from functions.payments.cards import port
from functions.payments.cards.port import CardProcessor, Declined, ProcessorSilent
from functions.payments.payment import Payment

app = operation(__name__)
app.opens("processor", port.chosen)


@app.on(OrdersPlaced)
async def charge(placed: OrdersPlaced, event: Event, database: Database) -> None:
    """Settle the order's payment, unless it is settled or the order was cancelled first."""
    order_id, money = payments.order_of(placed.order_id, placed.amount, placed.currency)
    async with database.transaction() as transaction:
        payment = await payments.begin(transaction, order_id, placed.username, money, placed.payment_token)
        if not payment.is_open:
            await inbox.first_time(transaction, app.name, event)
            return
    processor: CardProcessor = app.state.processor
    try:
        answer = await processor.capture(str(order_id), money, placed.payment_token)
    except ProcessorSilent as silence:
        async with database.transaction() as transaction:
            payment = await payments.lock(transaction, order_id)
            if payment.is_open:
                await payments.save(transaction, payment.unknown(str(silence)), "capture")
        raise Unavailable(f"The card processor: {silence}") from silence
    async with database.transaction() as transaction:
        payment = await payments.lock(transaction, order_id)
        # Another delivery of the same event may have been faster: the processor told both the same.
        if await inbox.first_time(transaction, app.name, event) and payment.is_open:
            settled = payment.declined(answer.reason) if isinstance(answer, Declined) else payment.captured()
            await payments.save(transaction, settled, "capture")
            await outbox.add(transaction, _told(settled).to_event())


def _told(payment: Payment) -> Payload:
    if payment.state == "captured":
        return PaymentsCaptured(
            order_id=str(payment.order_id), amount=payment.money.amount, currency=payment.money.currency
        )
    return PaymentsDeclined(order_id=str(payment.order_id), reason=payment.reason or "declined")
