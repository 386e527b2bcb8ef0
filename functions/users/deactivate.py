"""Deactivates a user: DELETE /users/{username}, by that user or an admin."""

from __future__ import annotations

from fastapi import Request, Response

from eventing import outbox
from functions import etags
from functions.app import operation
from functions.database import InDatabase
from functions.events import UsersDeactivated
from functions.identity import Caller
from functions.users import users

app = operation(__name__)


@app.delete("/users/{username}", status_code=204)
async def deactivate(request: Request, username: str, caller: Caller, database: InDatabase) -> Response:
    """The user can sign in no more; the name stays taken, orders stay as they are. Tokens end by themselves."""
    async with database.transaction() as transaction:
        user = await users.lock(transaction, username, caller)
        etags.require_match(request, etags.etag(user.version))
        user = await users.deactivate(transaction, user)
        await outbox.add(transaction, UsersDeactivated(username=user.username, version=user.version).to_event())
    return Response(status_code=204)
