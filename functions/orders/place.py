"""Places an order: POST /orders/ answers 202 and where to look; its payment follows by event."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, model_validator

from eventing import outbox
from functions import idempotency
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.errors import Forbidden
from functions.events import OrdersPlaced
from functions.identity import USERNAME, Caller
from functions.money import Amount, Money
from functions.orders import orders
from functions.orders.order import Order


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


app = operation(__name__)


@app.post("/orders", status_code=202, include_in_schema=False)
@app.post("/orders/", status_code=202)
async def place(
    request: Request, asked: Annotated[PlaceOrder, body(PlaceOrder)], caller: Caller, database: InDatabase
) -> Response:
    """Accept an order of the caller (an admin's may be for another user); obeys `Idempotency-Key`."""
    username = asked.username or caller.username
    if not caller.may_see(username):
        raise Forbidden("You can place orders for yourself only.")
    order = Order.place(username, Money.parse(asked.amount, asked.currency), asked.payment_token)
    claim = idempotency.claim(request, caller.username, app.name, asked)
    async with database.transaction() as transaction:

        async def accept() -> Response:
            await orders.insert(transaction, order)
            await outbox.add(transaction, _placed(order).to_event())
            return JSONResponse(order.view(), 202, {"location": f"/orders/{order.id}"})

        return await idempotency.once(transaction, claim, accept)


def _placed(order: Order) -> OrdersPlaced:
    return OrdersPlaced(
        order_id=str(order.id),
        username=order.username,
        amount=order.money.amount,
        currency=order.money.currency,
        payment_token=order.payment_token,
    )
