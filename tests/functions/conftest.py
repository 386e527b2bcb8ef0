"""Functions as they are served, in this process: their real app on a real, new database."""

from __future__ import annotations

import contextlib
import importlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from eventing.event import Event, new_id, to_binary
from functions.payload import Payload

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


@pytest.fixture
async def serve(database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """`served = await serve("orders.place", "orders")`: a function on a database of its area, this test's own."""
    monkeypatch.setenv("TOKEN_KEYS", json.dumps({"keys": [KEY.as_dict(private=False)]}))
    monkeypatch.setenv("TOKEN_SIGNING_KEY", json.dumps(KEY.as_dict(private=True)))
    monkeypatch.delenv("K_SINK", raising=False)
    urls: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, area: str | None = None, **environment: str) -> Served:
            area = area or name.partition(".")[0]
            url = urls.get(area) or urls.setdefault(area, database_url(area))
            monkeypatch.setenv("DATABASE_URL", url)
            for variable, value in environment.items():
                monkeypatch.setenv(variable, value)
            app = importlib.import_module(f"functions.{name}").app
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://function.test")
            )
            return Served(client, app, url)

        yield start
