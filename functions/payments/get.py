"""Shows an order's payment: GET /payments/{order_id}, to its buyer or an admin."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import JSONResponse

from eventing.event import rfc3339
from functions.app import operation
from functions.database import InDatabase
from functions.identity import Caller
from functions.payments import payments

app = operation(__name__)


@app.get("/payments/{order_id}")
async def get(order_id: str, caller: Caller, database: InDatabase) -> Response:
    """What was captured and refunded, and each time the card processor was asked."""
    payment = await payments.get(database, order_id, caller)
    asked = [
        {"what": one["what"], "outcome": one["outcome"], "reason": one["reason"], "at": rfc3339(one["at"])}
        for one in await payments.attempts(database, payment)
    ]
    return JSONResponse({**payment.view(), "attempts": asked}, headers={"cache-control": "private, no-cache"})
