"""Lists users: GET /users/, to admins only, by name."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from functions.app import operation
from functions.database import InDatabase
from functions.identity import USERNAME, Admin
from functions.pages import LIMIT, Limit, page
from functions.users import users

After = Annotated[str | None, Query(pattern=USERNAME, description="the name that the page begins behind")]

app = operation(__name__)


@app.get("/users", include_in_schema=False)
@app.get("/users/")
async def list_users(
    request: Request, _: Admin, database: InDatabase, after: After = None, limit: Limit = LIMIT
) -> Response:
    """A page of users; `next` is where the others are."""
    found = await users.page(database, after, limit + 1)
    return page(request, [user.view() for user in found], limit, lambda item: str(item["username"]))
