"""users-get."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.conftest import bearer

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}


@pytest.fixture
async def served(serve: Any) -> Any:
    """The function, with one user registered."""
    await (await serve("users.register")).client.post("/users/", json=ADA)
    return await serve("users.get")


@pytest.mark.parametrize("headers", [bearer("ada"), bearer("root", "admin")])
async def test_the_user_and_an_admin_see_it(served: Any, headers: dict[str, str]) -> None:
    """200 with an ETag, and 304 to who has that version."""
    answer = await served.client.get("/users/ada", headers=headers)
    again = await served.client.get("/users/ada", headers={**headers, "if-none-match": answer.headers["etag"]})

    assert (answer.status_code, answer.json()["username"]) == (200, "ada")
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/users/ada", "/users/nobody", "/users/%00", "/users/..%2fada"])
async def test_somebody_else_learns_nothing(served: Any, path: str) -> None:
    """404, the same for who is there and who is not."""
    assert (await served.client.get(path, headers=bearer("eve"))).status_code == 404


async def test_an_impossible_name_is_nobody_to_an_admin_too(served: Any) -> None:
    """A NUL byte, which PostgreSQL's text cannot hold, is a 404 and not a 500."""
    assert (await served.client.get("/users/%00", headers=bearer("root", "admin"))).status_code == 404


async def test_nobody_is_asked_to_sign_in(served: Any) -> None:
    """401 with the challenge of RFC 6750."""
    answer = await served.client.get("/users/ada")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
