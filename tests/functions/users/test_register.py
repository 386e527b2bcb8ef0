"""users-register."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}


async def test_a_new_user_is_shown_and_recorded(serve: Any) -> None:
    """201 with a location, no password in it, and one event."""
    served = await serve("users.register")
    answer = await served.client.post("/users/", json=ADA)

    assert answer.status_code == 201
    assert answer.headers["location"] == "/users/ada"
    assert set(answer.json()) == {"username", "email", "created_at"}
    assert await served.outbox() == [("users.registered.v1", {"username": "ada"})]


async def test_the_password_is_kept_as_argon2id(serve: Any) -> None:
    """OWASP's minimum: 19 MiB, two passes, one lane."""
    served = await serve("users.register")
    await served.client.post("/users/", json=ADA)
    ((kept,),) = await served.sql("SELECT password_hash FROM users")

    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_a_taken_name_is_refused(serve: Any) -> None:
    """409, and the first one's address stays."""
    served = await serve("users.register")
    await served.client.post("/users/", json=ADA)
    answer = await served.client.post("/users/", json={**ADA, "email": "eve@example.com"})

    assert answer.status_code == 409
    assert [tuple(row) for row in await served.sql("SELECT email FROM users")] == [("ada@example.com",)]


async def test_one_of_two_who_ask_at_once_gets_the_name(serve: Any) -> None:
    """However they interleave: one 201, the others 409, one row, one event."""
    served = await serve("users.register")
    answers = await asyncio.gather(*(served.client.post("/users/", json=ADA) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert len(await served.outbox()) == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"username": "Ada"}, "username"),
        ({"username": "ad"}, "username"),
        ({"username": "ada\x00"}, "username"),
        ({"email": "nobody"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 201}, "password"),
        ({"role": "admin"}, "role"),
        ({"username": True}, "username"),
        ({"email": None}, "email"),
    ],
)
async def test_a_wrong_field_is_named(serve: Any, changed: dict[str, Any], field: str) -> None:
    """422, what was sent is not repeated, and nothing is written."""
    served = await serve("users.register")
    answer = await served.client.post("/users/", json={**ADA, **changed})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await served.sql("SELECT 1 FROM users") == []
