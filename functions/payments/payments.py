"""Payments in their database."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from eventing.queries import Queries
from eventing.transaction import Transaction
from functions.database import Database
from functions.errors import NotFound, Rejected
from functions.identity import Identity
from functions.money import InvalidMoney, Money
from functions.payments.payment import Payment

_queries = Queries.beside(__file__)


class UnknownPayment(NotFound):
    """There is no payment for such an order."""


async def begin(
    transaction: Transaction, order_id: UUID, username: str, money: Money, payment_token: str | None
) -> Payment:
    """The order's payment, locked until the transaction ends; begun where there is none.

    Without a token it begins, and ends, as voided: the order was cancelled before anything was charged.
    """
    state = "initiated" if payment_token is not None else "voided"
    await transaction.execute(_queries["begin"], order_id, username, money.minor, money.currency, payment_token, state)
    return await lock(transaction, order_id)


async def lock(transaction: Transaction, order_id: UUID) -> Payment:
    """The order's payment, which nobody else changes until the transaction ends."""
    row = await transaction.fetchrow(_queries["lock"], order_id)
    if row is None:
        raise UnknownPayment
    return Payment.from_row(row)


async def save(transaction: Transaction, payment: Payment, what: str) -> None:
    """Write what became of a locked payment, and that the processor was asked to capture or refund (*what*)."""
    await transaction.execute(
        _queries["save"],
        payment.order_id,
        payment.state,
        payment.reason,
        payment.captured_minor,
        payment.refunded_minor,
    )
    await transaction.execute(_queries["add_attempt"], payment.order_id, what, payment.state, payment.reason)


async def get(database: Database, order_id: str, caller: Identity) -> Payment:
    """The order's payment, if it is the caller's to see.

    Raises:
        UnknownPayment: there is none, or it is somebody else's, which nobody can tell apart.
    """
    try:
        row = await database.fetchrow(_queries["get"], UUID(order_id))
    except ValueError as error:
        raise UnknownPayment from error
    if row is None or not caller.may_see(row["username"]):
        raise UnknownPayment
    return Payment.from_row(row)


async def attempts(database: Database, payment: Payment) -> list[asyncpg.Record]:
    """Each time the processor was asked about this payment, the first first."""
    return await database.fetch(_queries["attempts"], payment.order_id)


def order_of(order_id: str, amount: str, currency: str) -> tuple[UUID, Money]:
    """An event's order and money as the database has them.

    Raises:
        Rejected: the event says what no order can be.
    """
    try:
        return UUID(order_id), Money.parse(amount, currency)
    except (ValueError, InvalidMoney) as error:
        raise Rejected(f"the event names no order and amount: {error}") from error
