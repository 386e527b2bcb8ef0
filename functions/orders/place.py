"""Places an order: POST /orders/ answers 202 and where to look; its payment follows by event."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from functions import idempotency
from functions.app import operation
from functions.bodies import body
from functions.database import InDatabase
from functions.errors import Refusal
from functions.identity import Caller
from functions.orders import buyers, placing
from functions.orders.placing import PlaceOrder
from functions.pressure import new_work

app = operation(__name__)
app.opens("buyers", buyers.chosen)


@app.post("/orders", status_code=202, include_in_schema=False, dependencies=[Depends(new_work)])
@app.post("/orders/", status_code=202, dependencies=[Depends(new_work)])
async def place(
    request: Request, caller: Caller, asked: Annotated[PlaceOrder, body(PlaceOrder)], database: InDatabase
) -> Response:
    """Accept an order of the caller (an admin's may be for another user); obeys `Idempotency-Key`."""
    claim = idempotency.claim(request, caller.username, placing.OPERATION, asked)
    wanted = placing.wanted(asked, caller, claim)
    (outcome,) = await placing.place(database, [wanted], app.state.buyers.verify)
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome.response()
