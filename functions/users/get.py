"""Shows a user: GET /users/{username}, to that user or an admin."""

from __future__ import annotations

from fastapi import Request, Response

from functions import etags
from functions.app import operation
from functions.cache import InCache
from functions.database import InDatabase
from functions.identity import Caller
from functions.users import users

app = operation(__name__)


@app.get("/users/{username}")
async def get(request: Request, username: str, caller: Caller, database: InDatabase, cache: InCache) -> Response:
    """The user as it is now; 304 to a caller who has it already."""
    user = await users.show(database, cache, username, caller)
    return etags.answer(request, user.view, etags.etag(user.version))
