"""Answers what others ask about users now, over gRPC: protos/users/v1/users.proto says what."""

from __future__ import annotations

from typing import Any

from functions.errors import FieldError, Unprocessable
from functions.rpc.calls import caller, receive
from functions.rpc.service import service
from functions.users import users
from functions.users.user import User
from protos.users.v1 import users_pb2 as v1
from protos.users.v1.users_grpc import UsersServiceBase

app = service(__name__)
_BATCH_MAX = 1000
# So many are read with one statement.
_PAGE = 100


@app.serves
class Users(UsersServiceBase):
    """wake.users.v1.UsersService."""

    async def GetUser(self, stream: Any) -> None:  # noqa: N802 - the name in the .proto file.
        """A user, to that user or an admin."""
        request = await receive(stream)
        user = await users.get(app.state.database, request.username, caller())
        await stream.send_message(v1.GetUserResponse(user=_message(user)))

    async def BatchGetUsers(self, stream: Any) -> None:  # noqa: N802
        """Those of them that are there, and the caller's to see."""
        asked = (await receive(stream)).usernames
        if len(asked) > _BATCH_MAX:
            raise Unprocessable(errors=[FieldError("usernames", f"At most {_BATCH_MAX} at once.")])
        may_see = [username for username in asked if caller().may_see(username)]
        for start in range(0, len(may_see), _PAGE):
            page = may_see[start : start + _PAGE]
            found = await users.find_all(app.state.database, page)
            for user in (found[username] for username in page if username in found):
                await stream.send_message(v1.BatchGetUsersResponse(user=_message(user)))

    async def VerifyBuyer(self, stream: Any) -> None:  # noqa: N802
        """Whether somebody may buy: whoever may not see the buyer is told no more than that."""
        username = (await receive(stream)).username
        user = await users.find(app.state.database, username) if caller().may_see(username) else None
        reason = "" if user else "There is no such user, or no longer."
        await stream.send_message(v1.VerifyBuyerResponse(may_buy=user is not None, reason=reason))


def _message(user: User) -> v1.User:
    return v1.User(username=user.username, email=user.email, created_at=user.created_at)
