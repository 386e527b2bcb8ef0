"""Lists dead letters: GET /deadletters/, to admins only, the newest first."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from functions.app import operation
from functions.database import InDatabase
from functions.deadletters import deadletter
from functions.errors import Forbidden
from functions.identity import Caller
from functions.pages import LIMIT, Limit, page

app = operation(__name__)


@app.get("/deadletters", include_in_schema=False)
@app.get("/deadletters/")
async def list_deadletters(
    request: Request, caller: Caller, database: InDatabase, after: UUID | None = None, limit: Limit = LIMIT
) -> Response:
    """A page of dead letters; `next` is where the older ones are."""
    if not caller.is_admin:
        raise Forbidden("Only an admin can see dead letters.")
    found = await deadletter.page(database, after, limit + 1)
    return page(request, found, limit, lambda item: str(item["id"]))
