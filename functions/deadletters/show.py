"""Shows a dead letter: GET /deadletters/{id}, to admins only, with all of the event."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import JSONResponse

from functions.app import operation
from functions.database import InDatabase
from functions.deadletters import deadletter
from functions.errors import Forbidden
from functions.identity import Caller

app = operation(__name__)


@app.get("/deadletters/{letter_id}")
async def show(letter_id: str, caller: Caller, database: InDatabase) -> Response:
    """The event's attributes and data, and why it is here."""
    if not caller.is_admin:
        raise Forbidden("Only an admin can see dead letters.")
    return JSONResponse(await deadletter.get(database, letter_id), headers={"cache-control": "private, no-store"})
