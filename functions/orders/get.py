"""Shows an order: GET /orders/{order_id}, to its buyer or an admin."""

from __future__ import annotations

from fastapi import Request, Response

from functions import etags
from functions.app import operation
from functions.cache import InCache
from functions.database import InDatabase
from functions.identity import Caller
from functions.orders import orders

app = operation(__name__)


@app.get("/orders/{order_id}")
async def get(request: Request, order_id: str, caller: Caller, database: InDatabase, cache: InCache) -> Response:
    """The order as it is now; 304 to a caller who has it already."""
    order = await orders.show(database, cache, order_id, caller)
    return etags.answer(request, order.view, etags.etag(order.version))
