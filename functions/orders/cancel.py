"""Cancels an order: POST /orders/{order_id}/cancel; what was captured for it is refunded by event."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import JSONResponse

from eventing import outbox
from functions.app import operation
from functions.database import InDatabase
from functions.events import OrdersCancelled
from functions.identity import Caller
from functions.orders import orders
from functions.orders.order import Order

app = operation(__name__)


@app.post("/orders/{order_id}/cancel")
async def cancel(order_id: str, caller: Caller, database: InDatabase) -> Response:
    """Take an order back; once more changes nothing. 409 where it is rejected or expired."""
    async with database.transaction() as transaction:
        order = await orders.lock(transaction, order_id)
        if not caller.may_see(order.username):
            raise orders.UnknownOrder
        if order.status != "cancelled":
            order = await orders.save(transaction, order.move("cancelled"))
            await outbox.add(transaction, _cancelled(order).to_event())
    return JSONResponse(order.view())


def _cancelled(order: Order) -> OrdersCancelled:
    return OrdersCancelled(
        order_id=str(order.id),
        username=order.username,
        amount=order.money.amount,
        currency=order.money.currency,
        version=order.version,
    )
