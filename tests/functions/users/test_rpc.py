"""users-rpc: who is who, answered over gRPC."""

from __future__ import annotations

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from protos.users.v1 import users_pb2 as v1
from protos.users.v1.users_grpc import UsersServiceStub
from tests.functions.conftest import Serve, ServeRpc, bearer


async def test_a_user_is_shown_to_that_user_only(serve: Serve, serve_rpc: ServeRpc) -> None:
    """And to nobody else, who cannot tell that there is one."""
    await register(serve, "ada")
    rpc = await serve_rpc("users.rpc")
    users = UsersServiceStub(rpc.channel)
    answer = await users.GetUser(v1.GetUserRequest(username="ada"), metadata=bearer("ada"))
    with pytest.raises(GRPCError) as refused:
        await users.GetUser(v1.GetUserRequest(username="ada"), metadata=bearer("eve"))

    assert answer.user.username == "ada"
    assert refused.value.status is Status.NOT_FOUND


async def test_without_a_token_nothing_is_answered(serve_rpc: ServeRpc) -> None:
    """UNAUTHENTICATED."""
    rpc = await serve_rpc("users.rpc")
    with pytest.raises(GRPCError) as refused:
        await UsersServiceStub(rpc.channel).GetUser(v1.GetUserRequest(username="ada"))

    assert refused.value.status is Status.UNAUTHENTICATED


async def register(serve: Serve, username: str) -> None:
    """By users-register, which is served in this process."""
    served = await serve("users.register")
    body = {"username": username, "email": f"{username}@example.com", "password": "correct horse"}
    assert (await served.client.post("/users/", json=body)).status_code == 201
