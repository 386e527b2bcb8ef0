"""users-update."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.conftest import bearer

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
ME = bearer("ada")


@pytest.fixture
async def served(serve: Any) -> Any:
    """The function, with one user registered."""
    await (await serve("users.register")).client.post("/users/", json=ADA)
    return await serve("users.update")


async def test_the_address_changes_and_so_does_the_etag(served: Any) -> None:
    """200 with the next version's tag."""
    answer = await served.client.patch("/users/ada", json={"email": "new@example.com"}, headers=ME)

    assert (answer.status_code, answer.json()["email"], answer.headers["etag"]) == (200, "new@example.com", '"2"')


async def test_who_has_not_seen_the_latest_version_is_refused(served: Any) -> None:
    """412 with If-Match of an older version; the newest passes."""
    await served.client.patch("/users/ada", json={"email": "one@example.com"}, headers=ME)
    stale = await served.client.patch(
        "/users/ada", json={"email": "two@example.com"}, headers={**ME, "if-match": '"1"'}
    )
    fresh = await served.client.patch(
        "/users/ada", json={"email": "two@example.com"}, headers={**ME, "if-match": '"2"'}
    )

    assert (stale.status_code, fresh.status_code) == (412, 200)


async def test_a_new_password_needs_the_current_one(served: Any, serve: Any) -> None:
    """422 that names the field; with it the new one signs in and the old one does not."""
    new = {"password": "another horse"}
    refused = await served.client.patch("/users/ada", json=new, headers=ME)
    taken = await served.client.patch("/users/ada", json={**new, "current_password": ADA["password"]}, headers=ME)
    sign_in = await serve("users.sign_in")
    form = {"grant_type": "password", "username": "ada"}

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "current_password")
    assert taken.status_code == 200
    assert (await sign_in.client.post("/tokens", data={**form, **new})).status_code == 200
    assert (await sign_in.client.post("/tokens", data={**form, "password": ADA["password"]})).status_code == 401


async def test_somebody_else_is_not_found(served: Any) -> None:
    """404 to a stranger; an admin may."""
    change = {"email": "eve@example.com"}

    assert (await served.client.patch("/users/ada", json=change, headers=bearer("eve"))).status_code == 404
    assert (await served.client.patch("/users/ada", json=change, headers=bearer("root", "admin"))).status_code == 200


async def test_a_body_that_changes_nothing_is_refused(served: Any) -> None:
    """422."""
    assert (await served.client.patch("/users/ada", json={}, headers=ME)).status_code == 422
