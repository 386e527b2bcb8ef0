"""Brings a payment to its end: asks the processor, and records what it says, once. Whoever learns something comes here.

The processor is asked outside any transaction, under the order's id as its key. What it said is recorded in one
transaction: the payment's state, the ledger, the event, and, where the order is not wanted any more, the refund.
"""

from __future__ import annotations

from uuid import UUID

from eventing import outbox
from eventing.transaction import Transaction
from functions.database import Database
from functions.errors import Unavailable
from functions.events import PaymentsCaptured, PaymentsDeclined, PaymentsRefunded
from functions.money import Money
from functions.payload import Payload
from functions.payments import payments
from functions.payments.cards.port import (
    Answer,
    Authorised,
    Captured,
    CardProcessor,
    Declined,
    Expired,
    Nothing,
    Pending,
    ProcessorSilent,
    Voided,
)
from functions.payments.payment import CAPTURED, DECLINED, MOVES, NOT_WANTED, Payment

_STATES: dict[type, str] = {
    Authorised: "authorised",
    Pending: "pending",
    Captured: "captured",
    Declined: "declined",
    Expired: "expired",
    Voided: "voided",
}


async def settle(transaction: Transaction, payment: Payment, answer: Answer, what: str) -> Payment:
    """Record what the processor says of a locked payment. What is known, or would be a step back, changes nothing."""
    state = _STATES[type(answer)]
    if not payment.may(state):
        return payment
    reason = answer.reason if isinstance(answer, Declined) else None
    settled = payment.move(state, reason)
    await payments.save(transaction, settled, what)
    if state == "captured":
        await payments.book(transaction, payment, "capture", payment.key, payment.money.minor)
        not_wanted = payment.undone_reason or NOT_WANTED.get(payment.state)
        if not_wanted is not None:
            await payments.ask_refund(transaction, payment, f"refund:{payment.key}", payment.money.minor, not_wanted)
    event = MOVES[payment.state][state]
    if event is not None:
        await outbox.add(transaction, _told(event, settled).to_event())
    return settled


async def pursue(database: Database, processor: CardProcessor, order_id: UUID) -> Payment:
    """Charge, or undo, as far as it can be done now; nothing is done twice, however often this is called.

    Raises:
        Unavailable: the processor did not say; call again.
    """
    async with database.transaction() as transaction:
        payment = await payments.lock(transaction, order_id)
    try:
        if payment.is_open:
            payment = await (_undo if payment.undone_reason else _charge)(database, processor, payment)
        await _give_back(database, processor, payment)
    except ProcessorSilent as silence:
        await _silent(database, payment, str(silence))
        raise Unavailable(f"The card processor: {silence}") from silence
    return payment


async def _charge(database: Database, processor: CardProcessor, payment: Payment) -> Payment:
    if payment.state == "pending":
        found = await processor.look_up(payment.key)
        return payment if isinstance(found, Nothing | Pending) else await _record(database, payment, found, "look-up")
    if payment.payment_token is None:
        return payment
    answer = await processor.authorise(payment.key, payment.money, payment.payment_token)
    payment = await _record(database, payment, answer, "authorise")
    if payment.state != "authorised":
        return payment
    if payment.undone_reason is not None:
        # The order was cancelled while the processor thought.
        return await _undo(database, processor, payment)
    return await _record(database, payment, await processor.capture(payment.key, payment.money), "capture")


async def _undo(database: Database, processor: CardProcessor, payment: Payment) -> Payment:
    return await _record(database, payment, await processor.void(payment.key, payment.money), "void")


async def _record(database: Database, payment: Payment, answer: Answer, what: str) -> Payment:
    async with database.transaction() as transaction:
        locked = await payments.lock(transaction, payment.order_id)
        return await settle(transaction, locked, answer, what)


async def _silent(database: Database, payment: Payment, reason: str) -> None:
    async with database.transaction() as transaction:
        locked = await payments.lock(transaction, payment.order_id)
        if locked.may("unknown"):
            await payments.save(transaction, locked.move("unknown", reason), "ask")


async def _give_back(database: Database, processor: CardProcessor, payment: Payment) -> None:
    """Give back what is to be given back of this order."""
    for refund in await payments.refunds(database, payment.order_id):
        if not refund.done:
            await processor.refund(refund.key, payment.key, Money(refund.minor, payment.money.currency))
            await _given_back(database, payment.order_id, refund)


async def _given_back(database: Database, order_id: UUID, refund: payments.Refund) -> None:
    async with database.transaction() as transaction:
        payment = await payments.lock(transaction, order_id)
        if not await payments.refund_is_done(transaction, refund.key):
            return
        await payments.book(transaction, payment, "refund", refund.key, refund.minor, refund.reason)
        rest = payment.captured_minor - payment.refunded_minor - refund.minor
        await payments.save(
            transaction, payment.move("partly-refunded" if rest else "refunded", refund.reason), "refund"
        )
        money = Money(refund.minor, payment.money.currency)
        told = PaymentsRefunded(
            order_id=str(order_id), amount=money.amount, currency=money.currency, reason=refund.reason
        )
        await outbox.add(transaction, told.to_event())


def _told(event: str, payment: Payment) -> Payload:
    order_id = str(payment.order_id)
    if event == CAPTURED:
        return PaymentsCaptured(order_id=order_id, amount=payment.money.amount, currency=payment.money.currency)
    assert event == DECLINED  # noqa: S101 - refunds tell for themselves.
    return PaymentsDeclined(order_id=order_id, reason=payment.reason or payment.state)
