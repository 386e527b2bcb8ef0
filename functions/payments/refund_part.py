"""Gives back a part of what was captured: POST /payments/{order_id}/refunds, by an admin, with a reason."""

from __future__ import annotations

import contextlib
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from eventing.event import new_id
from functions import idempotency
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.errors import Conflict, FieldError, Forbidden, Unavailable, Unprocessable
from functions.identity import Caller
from functions.money import Amount, InvalidMoney, Money, decimal
from functions.payments import payments, settlement
from functions.payments.cards import port
from functions.payments.payment import Payment
from functions.pressure import new_work


class RefundPart(StrictModel):
    """How much, in the payment's currency, and why."""

    amount: Amount
    reason: str = Field(min_length=1, max_length=200)


app = operation(__name__)
app.opens("processor", port.chosen)


@app.post("/payments/{order_id}/refunds", status_code=202, dependencies=[Depends(new_work)])
async def refund_part(
    order_id: str,
    request: Request,
    caller: Caller,
    asked: Annotated[RefundPart, body(RefundPart)],
    database: InDatabase,
) -> Response:
    """Ask for a refund; 409 where that is more than is left of what was captured. Obeys `Idempotency-Key`."""
    payment = await payments.get(database, order_id, caller)
    if caller.role != "admin":
        raise Forbidden("Only an admin gives money back; a buyer cancels the order.")
    claim = idempotency.claim(request, caller.username, f"{app.name}/{payment.order_id}", asked)
    async with database.transaction() as transaction:

        async def accept() -> Response:
            locked = await payments.lock(transaction, UUID(order_id))
            money = _money(asked, locked)
            key = f"refund:{locked.key}:{new_id()}"
            await payments.ask_refund(transaction, locked, key, money.minor, asked.reason)
            view = {"refund_id": key.rpartition(":")[2], "order_id": locked.key, "amount": money.amount}
            return JSONResponse({**view, "currency": money.currency, "reason": asked.reason}, 202)

        answer = await idempotency.once(transaction, claim, accept)
    # It is promised: given back now, or by payments-settle.
    with contextlib.suppress(Unavailable):
        await settlement.pursue(database, app.state.processor, payment.order_id)
    return answer


def _money(asked: RefundPart, payment: Payment) -> Money:
    try:
        money = Money.parse(asked.amount, payment.money.currency)
    except InvalidMoney as error:
        raise Unprocessable("The body is not valid.", errors=[FieldError("amount", str(error))]) from error
    if money.minor > payment.refundable_minor:
        left = decimal(payment.refundable_minor, payment.money.currency)
        raise Conflict(f"Of what was captured {left} {payment.money.currency} is left to refund.")
    return money
