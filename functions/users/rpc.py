"""Answers what others ask about users now, over gRPC: protos/users/v1/users.proto says what."""

from __future__ import annotations

from typing import Any

from functions.rpc.calls import caller, receive
from functions.rpc.service import service
from functions.users import users
from functions.users.user import User
from protos.users.v1 import users_pb2 as v1
from protos.users.v1.users_grpc import UsersServiceBase

app = service(__name__)


@app.serves
class Users(UsersServiceBase):
    """wake.users.v1.UsersService."""

    async def GetUser(self, stream: Any) -> None:  # noqa: N802 - the name in the .proto file.
        """A user, to that user or an admin."""
        request = await receive(stream)
        user = await users.get(app.state.database, request.username, caller())
        await stream.send_message(v1.GetUserResponse(user=_message(user)))

    async def BatchGetUsers(self, stream: Any) -> None:  # noqa: N802
        """Those that are the caller's to see."""
        request = await receive(stream)
        for username in request.usernames:
            if caller().may_see(username):
                user = await users.find(app.state.database, username)
                if user is not None:
                    await stream.send_message(v1.BatchGetUsersResponse(user=_message(user)))

    async def VerifyBuyer(self, stream: Any) -> None:  # noqa: N802
        """Whether somebody may buy now."""
        request = await receive(stream)
        user = await users.find(app.state.database, request.username) if caller().may_see(request.username) else None
        await stream.send_message(
            v1.VerifyBuyerResponse(may_buy=user is not None, reason="" if user else "There is no such user.")
        )


def _message(user: User) -> v1.User:
    return v1.User(username=user.username, email=user.email, created_at=user.created_at)
