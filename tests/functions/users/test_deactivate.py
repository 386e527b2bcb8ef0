"""users-deactivate."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.conftest import bearer

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}


@pytest.fixture
async def served(serve: Any) -> Any:
    """The function, with one user registered."""
    await (await serve("users.register")).client.post("/users/", json=ADA)
    return await serve("users.deactivate")


async def test_who_left_is_not_found_and_the_name_stays_taken(served: Any, serve: Any) -> None:
    """204, then 404; nobody else can have the name."""
    first = await served.client.delete("/users/ada", headers=bearer("ada"))
    second = await served.client.delete("/users/ada", headers=bearer("ada"))
    register = await serve("users.register")

    assert (first.status_code, first.content, second.status_code) == (204, b"", 404)
    assert (await register.client.post("/users/", json=ADA)).status_code == 409


async def test_a_stranger_cannot(served: Any) -> None:
    """404, and nothing happens."""
    assert (await served.client.delete("/users/ada", headers=bearer("eve"))).status_code == 404
    assert len(await served.sql("SELECT 1 FROM users WHERE deactivated_at IS NULL")) == 1
