"""Changes a user: PATCH /users/{username}, by that user or an admin."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, model_validator

from eventing import outbox
from functions import etags
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.errors import FieldError, Unprocessable
from functions.events import UsersUpdated
from functions.identity import Caller, Identity
from functions.users import passwords, users
from functions.users.user import Email, Password, User


class UpdateUser(StrictModel):
    """What changes: the address, the password, or both. A new password needs the current one."""

    email: Email | None = None
    password: Password | None = None
    current_password: str | None = Field(None, max_length=200)

    @model_validator(mode="after")
    def changes_something(self) -> UpdateUser:
        """At least one of the two."""
        if self.email is None and self.password is None:
            raise ValueError("there is nothing to change: give email, password or both")
        return self


app = operation(__name__)


@app.patch("/users/{username}")
async def update(
    request: Request,
    username: str,
    caller: Caller,
    asked: Annotated[UpdateUser, body(UpdateUser)],
    database: InDatabase,
) -> Response:
    """Change what is given; with If-Match only if nobody else has meanwhile (412)."""
    before = await users.get(database, username, caller)
    etags.require_match(request, etags.etag(before.version))
    password_hash = await _new_hash(asked, before, caller)
    async with database.transaction() as transaction:
        user = await users.lock(transaction, username, caller)
        etags.require_match(request, etags.etag(user.version))
        user = await users.save(transaction, user, asked.email or user.email, password_hash or user.password_hash)
        await outbox.add(transaction, UsersUpdated(username=user.username, version=user.version).to_event())
    return JSONResponse(user.view(), headers={"etag": etags.etag(user.version)})


async def _new_hash(asked: UpdateUser, user: User, caller: Identity) -> str | None:
    """The hash of the new password, if there is one.

    Raises:
        Unprocessable: the current password is not the one given, and the caller is no admin changing somebody else's.
    """
    if asked.password is None:
        return None
    is_own = caller.username == user.username
    if is_own and not await passwords.verify(asked.current_password or "", user.password_hash):
        raise Unprocessable(errors=[FieldError("current_password", "this is not the current password")])
    return await passwords.hash_password(asked.password)
