"""Lists dead letters: GET /deadletters/, to admins only, the newest first."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import AwareDatetime

from functions.app import operation
from functions.database import InDatabase
from functions.deadletters import deadletters
from functions.identity import Admin
from functions.pages import LIMIT, Limit, page

Since = Annotated[AwareDatetime | None, Query(description="kept at this time or later (RFC 3339)")]
Destination = Annotated[str | None, Query(description="where it failed: a URL, or a function's name")]

app = operation(__name__)


@app.get("/deadletters", include_in_schema=False)
@app.get("/deadletters/")
async def list_deadletters(
    request: Request,
    _: Admin,
    database: InDatabase,
    type: str | None = None,  # noqa: A002 - the attribute's name.
    subject: str | None = None,
    destination: Destination = None,
    state: Literal["kept", "redriven", "discarded"] | None = None,
    since: Since = None,
    after: UUID | None = None,
    limit: Limit = LIMIT,
) -> Response:
    """A page of dead letters; `next` is where the older ones are."""
    wanted = deadletters.Wanted(type, subject, destination, state, since)
    found = await deadletters.page(database, wanted, after, limit + 1)
    return page(request, [letter.summary() for letter in found], limit, lambda item: str(item["id"]))
