"""users-list."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.conftest import bearer

ADMIN = bearer("root", "admin")


@pytest.fixture
async def served(serve: Any) -> Any:
    """The function, with five users."""
    served = await serve("users.list")
    for name in ("eve", "ada", "bob", "cyd", "dan"):
        await served.sql("INSERT INTO users (username, email, password_hash) VALUES ($1, 'x@y', '') RETURNING 1", name)
    return served


async def test_pages_go_by_name_until_the_end(served: Any) -> None:
    """Following `next` shows everybody once, also when somebody registers meanwhile."""
    seen, path = [], "/users/?limit=2"
    while path:
        body = (await served.client.get(path, headers=ADMIN)).json()
        seen += [one["username"] for one in body["items"]]
        path = body["next"]
        await served.sql(
            "INSERT INTO users (username, email, password_hash) VALUES ('aaa', 'x@y', '')"
            " ON CONFLICT DO NOTHING RETURNING 1"
        )

    assert seen == ["ada", "bob", "cyd", "dan", "eve"]


async def test_next_is_also_a_link_header(served: Any) -> None:
    """RFC 8288."""
    answer = await served.client.get("/users/?limit=2", headers=ADMIN)

    assert answer.headers["link"] == f'<{answer.json()["next"]}>; rel="next"'


async def test_only_an_admin_may(served: Any) -> None:
    """403 to a customer, 401 to nobody."""
    assert (await served.client.get("/users/", headers=bearer("ada"))).status_code == 403
    assert (await served.client.get("/users/")).status_code == 401


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=%00"])
async def test_a_wrong_parameter_is_named(served: Any, query: str) -> None:
    """422 that names it."""
    answer = await served.client.get(f"/users/?{query}", headers=ADMIN)

    assert (422, query.partition("=")[0]) == (answer.status_code, answer.json()["errors"][0]["field"])
