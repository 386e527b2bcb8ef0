"""Payments, their ledger and their refunds in their database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from eventing.event import new_id
from eventing.queries import Queries
from eventing.transaction import Transaction
from functions.database import Database
from functions.errors import NotFound, Rejected
from functions.identity import Identity
from functions.money import InvalidMoney, Money
from functions.payments.payment import OPEN, Payment

_queries = Queries.beside(__file__)
# After this the processor is asked what became of a payment that is open, and of a refund that is not done.
LOOK_AGAIN = timedelta(seconds=20)
_BATCH = 20


class UnknownPayment(NotFound):
    """There is no payment for such an order."""


@dataclass(frozen=True)
class Refund:
    """Money to be given back, or that was: under the key that the processor knows it by."""

    key: str
    minor: int
    reason: str
    done: bool


async def begin(
    transaction: Transaction, order_id: UUID, username: str, money: Money, payment_token: str | None
) -> Payment:
    """The order's payment, locked until the transaction ends; begun where there is none.

    Without a token it is begun to be undone: the order was cancelled before its charge was heard of.
    """
    await transaction.execute(
        _queries["begin"], order_id, username, money.minor, money.currency, payment_token, LOOK_AGAIN
    )
    return await lock(transaction, order_id)


async def lock(transaction: Transaction, order_id: UUID) -> Payment:
    """The order's payment, which nobody else changes until the transaction ends.

    Raises:
        UnknownPayment: there is none.
    """
    # Two statements: the sums of the second see what was committed while the first waited.
    await transaction.execute(_queries["lock"], order_id)
    row = await transaction.fetchrow(_queries["get"], order_id)
    if row is None:
        raise UnknownPayment
    return Payment.from_row(row)


async def save(transaction: Transaction, payment: Payment, what: str) -> None:
    """Write what became of a locked payment, and what the processor was asked (*what*)."""
    again = LOOK_AGAIN if payment.state in OPEN else None
    await transaction.execute(_queries["save"], payment.order_id, payment.state, payment.reason, again)
    await transaction.execute(_queries["add_attempt"], payment.order_id, what, payment.state, payment.reason)


async def undo(transaction: Transaction, payment: Payment, reason: str) -> None:
    """Remember that the order will not be had; the first reason stays."""
    again = LOOK_AGAIN if payment.is_open else None
    await transaction.execute(_queries["undo"], payment.order_id, reason, again)


async def book(
    transaction: Transaction, payment: Payment, kind: str, key: str, minor: int, reason: str | None = None
) -> None:
    """Write a transfer: captured money is the processor's debt to us, and a sale; a refund takes both back."""
    transfer, signed = UUID(new_id()), minor if kind == "capture" else -minor
    await transaction.execute(_queries["add_transfer"], transfer, payment.order_id, kind, key, reason)
    await transaction.execute(_queries["add_entries"], transfer, payment.order_id, signed, payment.money.currency)


async def ask_refund(transaction: Transaction, payment: Payment, key: str, minor: int, reason: str) -> None:
    """Remember that so much is to be given back; once for each key."""
    await transaction.execute(_queries["ask_refund"], key, payment.order_id, minor, reason)


async def refund_of(transaction: Transaction, key: str) -> Refund | None:
    """The refund of this key."""
    row = await transaction.fetchrow(_queries["refund"], key)
    return None if row is None else Refund(**dict(row))


async def refund_is_done(transaction: Transaction, key: str) -> bool:
    """Note that the processor has given it back; answers whether that is news."""
    return await transaction.execute(_queries["refund_done"], key) == "UPDATE 1"


async def refunds(database: Database, order_id: UUID) -> list[Refund]:
    """Everything of this order that is to be given back, or was."""
    return [Refund(**dict(row)) for row in await database.fetch(_queries["refunds_of"], order_id)]


async def due(database: Database) -> list[UUID]:
    """Orders whose payment or refund has been open for too long; the next who asks does not get them for a while."""
    found: set[UUID] = set()
    for name in ("due", "refunds_due"):
        rows = await database.fetch(_queries[name], LOOK_AGAIN, _BATCH)
        found |= {row["order_id"] for row in rows}
    return sorted(found)


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
