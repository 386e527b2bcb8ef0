"""Shows a dead letter: GET /deadletters/{id}, to admins only, with all of the event and all that was done with it."""

from __future__ import annotations

from fastapi import Request, Response

from functions import etags
from functions.app import operation
from functions.database import InDatabase
from functions.deadletters import deadletters, differences
from functions.deadletters.access import InPath
from functions.deadletters.deadletter import content
from functions.identity import Admin

app = operation(__name__)


@app.get("/deadletters/{letter_id}")
async def show(request: Request, letter_id: InPath, _: Admin, database: InDatabase) -> Response:
    """The event as it came and as it was edited, every attempt, every change, and what its type's schema says of it."""
    letter = await deadletters.get(database, letter_id)
    whole = {
        **letter.summary(),
        **content(letter.original),
        "edit": None if letter.edited is None else content(letter.edited),
        "edit_differences": differences.between(letter.original, letter.event),
        "schema_differences": differences.from_schema(letter.event),
        "attempts": await deadletters.attempts(database, letter.id),
        "changes": await deadletters.changes(database, letter.id),
    }
    return etags.answer(request, whole, etags.etag(letter.version))
