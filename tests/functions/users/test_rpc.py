"""users-rpc: who is who, answered over gRPC."""

from __future__ import annotations

import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
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


async def test_a_batch_comes_in_the_order_asked_for(serve: Serve, serve_rpc: ServeRpc) -> None:
    """Without those who are not there; to somebody who is no admin, without everybody else."""
    for name in ("ada", "eve", "bob"):
        await register(serve, name)
    users = UsersServiceStub((await serve_rpc("users.rpc")).channel)
    asked = v1.BatchGetUsersRequest(usernames=["eve", "nobody", "\0", "ada", "eve"])
    admins = await users.BatchGetUsers(asked, metadata=bearer("root", "admin"))
    adas = await users.BatchGetUsers(asked, metadata=bearer("ada"))

    assert [answer.user.username for answer in admins] == ["eve", "ada", "eve"]
    assert [answer.user.username for answer in adas] == ["ada"]


async def test_a_batch_has_an_end(serve_rpc: ServeRpc) -> None:
    """INVALID_ARGUMENT with the field; a thousand are taken."""
    users = UsersServiceStub((await serve_rpc("users.rpc")).channel)
    names = [f"user-{number}" for number in range(1001)]
    assert (
        await users.BatchGetUsers(v1.BatchGetUsersRequest(usernames=names[:1000]), metadata=bearer("a", "admin")) == []
    )
    with pytest.raises(GRPCError) as refused:
        await users.BatchGetUsers(v1.BatchGetUsersRequest(usernames=names), metadata=bearer("a", "admin"))
    (violation,) = next(one for one in refused.value.details if isinstance(one, BadRequest)).field_violations

    assert refused.value.status is Status.INVALID_ARGUMENT
    assert violation.field == "usernames"


async def test_whoever_is_there_may_buy(serve: Serve, serve_rpc: ServeRpc) -> None:
    """With their own token; somebody else's says nothing about them."""
    await register(serve, "ada")
    users = UsersServiceStub((await serve_rpc("users.rpc")).channel)

    async def may_buy(username: str, token: str) -> bool:
        answer = await users.VerifyBuyer(v1.VerifyBuyerRequest(username=username), metadata=bearer(token))
        assert bool(answer.reason) is not answer.may_buy
        return bool(answer.may_buy)

    assert await may_buy("ada", "ada")
    assert not await may_buy("ada", "eve")
    assert not await may_buy("eve", "eve")
    leaving = await serve("users.deactivate")
    assert (await leaving.client.delete("/users/ada", headers=bearer("ada"))).status_code == 204
    assert not await may_buy("ada", "ada")


async def test_while_the_database_is_away_it_says_so(serve_rpc: ServeRpc, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNAVAILABLE, and when to try again."""
    rpc = await serve_rpc("users.rpc")
    await rpc.app.state.database.close()
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    async with rpc.app.lifespan():
        with pytest.raises(GRPCError) as refused:
            await UsersServiceStub(rpc.channel).GetUser(v1.GetUserRequest(username="ada"), metadata=bearer("ada"))

    assert refused.value.status is Status.UNAVAILABLE
    assert any(isinstance(one, RetryInfo) for one in refused.value.details)


async def register(serve: Serve, username: str) -> None:
    """By users-register, which is served in this process."""
    served = await serve("users.register")
    body = {"username": username, "email": f"{username}@example.com", "password": "correct horse"}
    assert (await served.client.post("/users/", json=body)).status_code == 201
