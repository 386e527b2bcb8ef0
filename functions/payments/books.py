"""Compares the ledger, the orders and the card processor, and says everything that does not fit.

At rest, for every order: captured = confirmed value + refunded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg

from eventing.queries import Queries
from functions.database import Database
from functions.money import decimal
from functions.payments.cards.port import CardProcessor, Charged
from functions.payments.payment import OPEN

_queries = Queries.beside(__file__)
# What is under way is not compared before it has had this long to end.
UNDER_WAY = timedelta(minutes=30)
Row: TypeAlias = "Mapping[str, Any] | asyncpg.Record"


async def differences(
    payments: Database, orders: Database, processor: CardProcessor, *, under_way: timedelta = UNDER_WAY
) -> AsyncIterator[str]:
    """Each difference as a sentence that names its order. *under_way* 0 demands that everything is at rest."""
    unbalanced = await payments.fetch(_queries["unbalanced"])
    for row in unbalanced:
        yield f"transfer {row['transfer']}: its entries add up to {row['sum']}, not to nothing"
    known: dict[str, asyncpg.Record] = {
        str(row["order_id"]): row for row in await payments.fetch(_queries["payments"], under_way)
    }
    placed: dict[str, asyncpg.Record] = {
        str(row["id"]): row for row in await orders.fetch(_queries["orders"], under_way)
    }
    for order_id in sorted(known.keys() | placed.keys()):
        for what in compared(placed.get(order_id), known.get(order_id)):
            yield f"order {order_id}: {what}"
    charged = {one.key: one async for one in processor.charges()}
    for key in sorted(known.keys() | charged.keys()):
        if (payment := known.get(key)) is None or not payment["young"]:
            for what in with_processor(payment, charged.get(key)):
                yield f"order {key}: {what}"
    for area, database in (("payments", payments), ("orders", orders)):
        for row in await database.fetch(_queries["unsent"], under_way):
            yield f"event {row['id']} of {area} was never published"


def compared(order: Row | None, payment: Row | None) -> Iterator[str]:
    """What does not fit between an order and its payment. Pure."""
    if (order is not None and order["young"]) or (payment is not None and payment["young"]):
        return
    if order is None:
        yield "there is a payment, but no such order"
    elif payment is None:
        yield f"it is {order['status']}, but has no payment"
    else:
        yield from _money(order, payment)
        yield from _ended(order, payment)


def _money(order: Row, payment: Row) -> Iterator[str]:
    """captured = confirmed value + refunded."""
    status, amount = order["status"], order["amount_minor"]
    captured, refunded = payment["captured"], payment["refunded"]
    if status == "confirmed" and captured != amount:
        yield f"it is confirmed, but {captured} of {amount} minor units were captured"
    if status == "confirmed" and payment["undone_reason"] is not None:
        yield f"it is confirmed, but its payment was undone: {payment['undone_reason']}"
    if status != "confirmed" and captured != refunded:
        yield f"it is {status}, but of {captured} captured minor units {refunded} were refunded"
    if (payment["amount_minor"], payment["currency"]) != (amount, order["currency"]):
        yield "order and payment are of different amounts"
    if payment["captures"] > 1 or refunded > captured:
        yield f"{captured} minor units captured in {payment['captures']} transfers, {refunded} refunded"


def _ended(order: Row, payment: Row) -> Iterator[str]:
    if order["status"] == "placed":
        yield f"it is still placed, and its payment {payment['state']}"
    if payment["state"] in OPEN:
        yield f"its payment is {payment['state']}: nobody knows what became of the money"
    if payment["undone"] and payment["undone"] > 0:
        yield f"{payment['undone']} refund(s) are asked for and not done"


def with_processor(payment: Row | None, charge: Charged | None) -> Iterator[str]:
    """What does not fit between our books and the processor's. Pure."""
    if payment is None:
        if charge is not None and Decimal(charge.captured) != Decimal(charge.refunded or "0"):
            yield f"the processor captured {charge.captured}, and we know nothing of it"
        return
    captured, refunded = (decimal(payment[name], payment["currency"]) for name in ("captured", "refunded"))
    theirs = Decimal(0) if charge is None else Decimal(charge.captured)
    if theirs != Decimal(captured):
        yield f"we say that {captured} was captured, the processor says {theirs}"
    if charge is not None and charge.refunded is not None and Decimal(charge.refunded) != Decimal(refunded):
        yield f"we say that {refunded} was refunded, the processor says {charge.refunded}"
    if charge is not None and charge.captures > 1:
        yield f"the processor captured {charge.captures} times"
