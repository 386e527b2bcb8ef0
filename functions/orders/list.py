"""Lists orders: GET /orders/, the caller's own, the newest first; an admin sees everybody's."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from functions.app import operation
from functions.database import InDatabase
from functions.errors import Forbidden
from functions.identity import USERNAME, Caller
from functions.orders import orders
from functions.pages import LIMIT, Limit, page

app = operation(__name__)


@app.get("/orders", include_in_schema=False)
@app.get("/orders/")
async def list_orders(
    request: Request,
    caller: Caller,
    database: InDatabase,
    username: Annotated[str | None, Query(pattern=USERNAME, description="whose orders")] = None,
    after: str | None = None,
    limit: Limit = LIMIT,
) -> Response:
    """A page of orders; `next` is where the older ones are."""
    if username is not None and not caller.may_see(username):
        raise Forbidden("You can list your own orders only.")
    whose = username if caller.is_admin else caller.username
    found = await orders.page(database, whose, after, limit + 1)
    return page(request, [order.view() for order in found], limit, lambda item: str(item["order_id"]))
