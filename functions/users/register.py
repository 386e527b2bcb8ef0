"""Registers a user: POST /users/."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Response
from fastapi.responses import JSONResponse

from eventing import outbox
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.events import UsersRegistered
from functions.pressure import new_work
from functions.users import passwords, users
from functions.users.user import Email, Password, Username


class RegisterUser(StrictModel):
    """Who registers. The name is lower case and for ever."""

    username: Username
    email: Email
    password: Password


app = operation(__name__)


@app.post("/users", status_code=201, include_in_schema=False, dependencies=[Depends(new_work)])
@app.post("/users/", status_code=201, dependencies=[Depends(new_work)])
async def register(asked: Annotated[RegisterUser, body(RegisterUser)], database: InDatabase) -> Response:
    """Anybody may; 409 where the name is taken, also by somebody who asks at the same moment."""
    if await users.find(database, asked.username) is not None:
        # Hashing is the expensive part: a name that is known to be taken does not get that far.
        raise users.NameTaken
    password_hash = await passwords.hash_password(asked.password)
    async with database.transaction() as transaction:
        user = await users.insert(transaction, asked.username, asked.email, password_hash)
        await outbox.add(transaction, UsersRegistered(username=user.username).to_event())
    return JSONResponse(user.view(), 201, {"location": f"/users/{user.username}"})
