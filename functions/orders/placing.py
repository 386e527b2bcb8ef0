"""Places orders, the same by both doors: orders-place (HTTP) one, orders-rpc (PlaceOrders) many at a time.

A key is one order by either: who asks, under which key, and what exactly, are the same to both.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import Field, model_validator

from eventing import outbox
from eventing.transaction import Transaction
from functions import idempotency
from functions.bodies import StrictModel
from functions.database import Database
from functions.errors import Forbidden, Refusal, StillRunning
from functions.events import OrdersPlaced
from functions.idempotency import Answer, Claim
from functions.identity import USERNAME, Identity
from functions.money import Amount, Money
from functions.orders import orders
from functions.orders.order import Order

# What keys are claimed for; both doors say the same.
OPERATION = "orders-place"
# One alone does not wait again for what its batch has waited for already.
_IMPATIENT = "50ms"

Verify: TypeAlias = Callable[[str], Awaitable[None]]
Outcome: TypeAlias = Answer | Refusal


class PlaceOrder(StrictModel):
    """What is ordered: an amount, and the card processor's token that will pay it."""

    username: str | None = Field(None, pattern=USERNAME)
    amount: Amount
    currency: str = Field(max_length=3)
    payment_token: str = Field(pattern=r"^[A-Za-z0-9_]{1,64}$")

    @model_validator(mode="after")
    def is_money(self) -> PlaceOrder:
        """The amount is one in its currency."""
        Money.parse(self.amount, self.currency)
        return self


@dataclass(frozen=True)
class Wanted:
    """An order that somebody wants placed, under which key, if under any."""

    order: Order
    claim: Claim | None


def wanted(asked: PlaceOrder, caller: Identity, claim: Claim | None) -> Wanted:
    """What a caller wants; an admin may order for another user.

    Raises:
        Forbidden: it is for another, and the caller is no admin.
    """
    username = asked.username or caller.username
    if not caller.may_see(username):
        raise Forbidden("You can place orders for yourself only.")
    return Wanted(Order.place(username, Money.parse(asked.amount, asked.currency), asked.payment_token), claim)


async def place(database: Database, batch: Sequence[Wanted], verify: Verify) -> list[Outcome]:
    """Place orders of one caller, whose keys differ, in one transaction; answers what became of each.

    For a buyer who may not buy, or who cannot be asked about, nothing is placed; what was placed earlier under the same
    key is answered all the same. *verify* is called once for each buyer, and raises what is to be answered.

    Raises:
        Unavailable: the database is away; nothing was placed.
    """
    refused = await _refused({one.order.username for one in batch}, verify)
    allowed = [one for one in batch if one.order.username not in refused]
    outcomes = dict(zip(map(id, allowed), await _placed(database, allowed), strict=True))
    others = [one for one in batch if one.order.username in refused]
    claims = _claims(others)
    earlier = dict(zip(claims, await idempotency.kept(database, claims), strict=True))
    return [outcomes.get(id(one)) or (one.claim and earlier[one.claim]) or refused[one.order.username] for one in batch]


async def _refused(usernames: Collection[str], verify: Verify) -> dict[str, Refusal]:
    """Why a buyer may not buy, for those who may not."""

    async def refusal(username: str) -> Refusal | None:
        try:
            await verify(username)
        except Refusal as found:
            return found
        return None

    found = await asyncio.gather(*map(refusal, usernames))
    return {username: one for username, one in zip(usernames, found, strict=True) if one is not None}


async def _placed(database: Database, batch: Sequence[Wanted]) -> list[Outcome]:
    """What became of each: all in one transaction, or each in its own where a key is held by somebody else."""
    if not batch:
        return []
    try:
        async with database.transaction() as transaction:
            return await _place(transaction, batch, idempotency.PATIENCE)
    except StillRunning as refusal:
        if len(batch) == 1:
            return [refusal]
    return [await _alone(database, one) for one in batch]


async def _alone(database: Database, one: Wanted) -> Outcome:
    try:
        async with database.transaction() as transaction:
            return (await _place(transaction, [one], _IMPATIENT))[0]
    except StillRunning as refusal:
        return refusal


async def _place(transaction: Transaction, batch: Sequence[Wanted], patience: str) -> list[Outcome]:
    """Claim the keys, write what is new with its events, keep the answers; raises StillRunning."""
    claims = _claims(batch)
    known = dict(zip(claims, await idempotency.claim_all(transaction, claims, patience=patience), strict=True))
    new = [one for one in batch if one.claim is None or known[one.claim] is None]
    if new:
        await orders.insert(transaction, [one.order for one in new])
        await outbox.add_all(transaction, [_event(one.order).to_event() for one in new])
    await idempotency.keep_all(transaction, [(one.claim, _accepted(one.order)) for one in new if one.claim])
    return [(one.claim and known[one.claim]) or _accepted(one.order) for one in batch]


def _claims(batch: Sequence[Wanted]) -> list[Claim]:
    return [one.claim for one in batch if one.claim is not None]


def _accepted(order: Order) -> Answer:
    """202, where to look, and the order as it was placed."""
    body = json.dumps(order.view(), ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(202, {"content-type": "application/json", "location": f"/orders/{order.id}"}, body)


def _event(order: Order) -> OrdersPlaced:
    return OrdersPlaced(
        order_id=str(order.id),
        username=order.username,
        amount=order.money.amount,
        currency=order.money.currency,
        payment_token=order.payment_token,
    )
