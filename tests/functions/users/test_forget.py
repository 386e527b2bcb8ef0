"""users-forget."""

from __future__ import annotations

from typing import Any

from functions.events import UsersUpdated
from tests.caches import CacheServer
from tests.functions.conftest import bearer, event_of

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}


async def test_it_takes_events_of_before_they_had_a_version(serve: Any, cache_server: CacheServer) -> None:
    """The copy goes; and where there is no cache at all, the event is taken as well."""
    await (await serve("users.register", CACHE_URL=cache_server.url)).client.post("/users/", json=ADA)
    get, forget = await serve("users.get"), await serve("users.forget")
    await get.client.get("/users/ada", headers=bearer("ada"))
    await get.sql("UPDATE users SET email = 'new@example.com'")
    old = event_of(UsersUpdated(username="ada"), data=b'{"username": "ada"}')
    answer = await forget.post_event(old)
    read = await get.client.get("/users/ada", headers=bearer("ada"))
    without = await (await serve("users.forget", CACHE_URL="")).post_event(old)

    assert (answer.status_code, without.status_code) == (204, 204)
    assert read.json()["email"] == "new@example.com"
