"""Functions as they are served, in this process: their real app on a real, new database."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from eventing.event import Event, new_id, to_binary
from functions.payload import Payload
from functions.rpc.channel import Channel
from functions.rpc.serving import server_of
from knative.runtime import postgres
from tests.conftest import sql
from tests.functions.processes import Function

KEY = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, private=True, auto_kid=True)


@dataclass
class Served:
    """One function that is being served."""

    client: httpx.AsyncClient
    app: Any
    database_url: str

    async def post_event(self, event: Event | Payload) -> httpx.Response:
        """Deliver an event as a Broker does."""
        headers, body = to_binary(event.to_event() if isinstance(event, Payload) else event)
        return await self.client.post("/", content=body, headers=headers)

    async def sql(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Look into its database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def outbox(self) -> list[tuple[str, dict[str, Any]]]:
        """The events recorded so far: type and data."""
        rows = await self.sql("SELECT attributes, data FROM outbox ORDER BY seq")
        return [(json.loads(row["attributes"])["type"], json.loads(row["data"])) for row in rows]


Serve = Callable[..., Awaitable[Served]]


def bearer(username: str, role: str = "customer", **changed: object) -> dict[str, str]:
    """The header of a valid token; *changed* claims make it another."""
    now = int(time.time())
    claims = {
        "iss": "wake",
        "aud": "wake",
        "sub": username,
        "role": role,
        "iat": now,
        "exp": now + 600,
        **changed,
    }
    header = {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}
    return {"authorization": f"Bearer {jwt.encode(header, claims, KEY, algorithms=['ES256'])}"}


def event_of(payload: Payload, **changed: Any) -> Event:
    """An event of this payload with some attributes changed."""
    made = payload.to_event()
    values = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return Event(**{**values, "id": new_id(), **changed})


@dataclass
class ServedRpc:
    """One gRPC function that is being served on a port of its own, and a channel to it."""

    channel: Channel
    port: int
    app: Any
    database_url: str


Environment = Callable[..., str]
ServeRpc = Callable[..., Awaitable[ServedRpc]]


@pytest.fixture
def environment(database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, buyers: Users) -> Environment:
    """Sets what a function of this name finds; answers the URL of its area's database, one an area and test."""
    monkeypatch.setenv("TOKEN_KEYS", json.dumps({"keys": [KEY.as_dict(private=False)]}))
    monkeypatch.setenv("TOKEN_SIGNING_KEY", json.dumps(KEY.as_dict(private=True)))
    monkeypatch.delenv("K_SINK", raising=False)
    urls: dict[str, str] = {}

    def prepare(name: str, area: str | None = None, **variables: str) -> str:
        area = area or name.partition(".")[0]
        url = urls.get(area) or urls.setdefault(area, database_url(area))
        for variable, value in {"DATABASE_URL": url, **variables}.items():
            monkeypatch.setenv(variable, value)
        return url

    return prepare


@pytest.fixture
async def serve_rpc(environment: Environment) -> AsyncIterator[ServeRpc]:
    """`rpc = await serve_rpc("users.rpc")`: a gRPC function on a database of its area, and a channel to it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, area: str | None = None, **variables: str) -> ServedRpc:
            url = environment(name, area, **variables)
            app = importlib.import_module(f"functions.{name}").app
            await stack.enter_async_context(app.lifespan())
            server = await stack.enter_async_context(server_of(app, os.environ))
            listener = socket.create_server(("127.0.0.1", 0))
            await server.start(listener)
            port = listener.getsockname()[1]
            channel = await stack.enter_async_context(Channel(f"http://127.0.0.1:{port}"))
            return ServedRpc(channel, port, app, url)

        yield start


@pytest.fixture
async def serve(environment: Environment) -> AsyncIterator[Serve]:
    """`served = await serve("orders.place", "orders")`: a function on a database of its area, this test's own."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, area: str | None = None, **variables: str) -> Served:
            url = environment(name, area, **variables)
            app = importlib.import_module(f"functions.{name}").app
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://function.test")
            )
            return Served(client, app, url)

        yield start


USERS = ("ada", "eve", "root")
_USERS_DATABASE = "users_of_orders"


@dataclass
class Users:
    """Where they are asked, and who is there: ada, eve and the admin root."""

    rpc: Function
    get: Function
    server: postgres.Postgres

    def register(self, *names: str) -> None:
        """Users of these names; nobody knows their passwords."""
        values = ", ".join(f"('{name}', '{name}@example.com', 'none')" for name in names)
        sql(self.server, f"INSERT INTO users (username, email, password_hash) VALUES {values}", _USERS_DATABASE)

    def deactivate(self, name: str) -> None:
        """As users-deactivate does it."""
        statement = f"UPDATE users SET deactivated_at = now(), version = version + 1 WHERE username = '{name}'"
        sql(self.server, statement, _USERS_DATABASE)


@pytest.fixture(scope="session")
def users(postgres_server: postgres.Postgres, migrated_template: Callable[[str], str]) -> Iterator[Users]:
    """Both functions as processes, for the whole session: orders are placed in the tests of every area."""
    sql(postgres_server, f"CREATE DATABASE {_USERS_DATABASE} TEMPLATE {migrated_template('users')} STRATEGY FILE_COPY")
    found = {
        "DATABASE_URL": postgres_server.url(_USERS_DATABASE),
        "TOKEN_KEYS": json.dumps({"keys": [KEY.as_dict(private=False)]}),
    }
    made = Users(Function("users-rpc", **found), Function("users-get", **found), postgres_server)
    try:
        made.register(*USERS)
        made.rpc.start()
        made.get.start()
        yield made
    finally:
        made.rpc.close()
        made.get.close()
    sql(postgres_server, f"DROP DATABASE {_USERS_DATABASE} WITH (FORCE)")


@pytest.fixture
def buyers(users: Users, monkeypatch: pytest.MonkeyPatch) -> Users:
    """Whom orders asks about buyers."""
    monkeypatch.setenv("USERS_RPC_URL", users.rpc.url)
    monkeypatch.setenv("USERS_GET_URL", users.get.url)
    return users
