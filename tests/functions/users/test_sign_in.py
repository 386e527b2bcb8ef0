"""users-sign-in."""

from __future__ import annotations

from typing import Any

import jwt as pyjwt
import pytest

from functions.identity import TokenSettings, verify

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
FORM = {"grant_type": "password", "username": "ada", "password": "correct horse"}


@pytest.fixture
async def served(serve: Any) -> Any:
    """Sign-in, with one user registered."""
    await (await serve("users.register")).client.post("/users/", json=ADA)
    return await serve("users.sign_in")


async def test_the_right_password_gives_a_token_that_verifies(served: Any) -> None:
    """Ours takes it, and so does another library that only knows the published keys."""
    answer = await served.client.post("/tokens", data=FORM)
    body = answer.json()
    settings = TokenSettings.from_environment()
    published = pyjwt.PyJWKSet.from_json(settings.keys)
    header = pyjwt.get_unverified_header(body["access_token"])
    claims = pyjwt.decode(
        body["access_token"], published[header["kid"]].key, algorithms=["ES256"], audience="wake", issuer="wake"
    )

    assert (answer.status_code, body["token_type"], body["expires_in"]) == (200, "bearer", 600)
    assert answer.headers["cache-control"] == "no-store"
    assert verify(body["access_token"], settings).username == "ada"
    assert (header["typ"], claims["sub"], claims["role"]) == ("at+jwt", "ada", "customer")


@pytest.mark.parametrize(
    "changed", [{"password": "wrong horse"}, {"username": "nobody"}, {"username": "Ada"}, {"username": "a\x00b"}]
)
async def test_wrong_credentials_are_all_the_same_401(served: Any, changed: dict[str, str]) -> None:
    """A wrong password, an unknown name and an impossible one cannot be told apart."""
    answer = await served.client.post("/tokens", data={**FORM, **changed})

    assert answer.status_code == 401
    assert answer.json()["detail"] == "There is no active user of this name and password."


async def test_who_left_signs_in_no_more(served: Any, serve: Any) -> None:
    """Deactivated is as if never registered."""
    await served.sql("UPDATE users SET deactivated_at = now() RETURNING 1")

    assert (await served.client.post("/tokens", data=FORM)).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"%ff=%fe", 422),
        (b"grant_type=password&username=ada", 422),
        (b"grant_type=password&username=ada&username=eve&password=correct+horse", 422),
        (b"grant_type=refresh&username=ada&password=correct+horse", 422),
        (b"grant_type=password&username=ada&password=correct+horse&role=admin", 422),
        (b"no form at all", 400),
    ],
)
async def test_a_wrong_form_is_refused(served: Any, body: bytes, status: int) -> None:
    """Missing, repeated, unknown: each a 4xx."""
    headers = {"content-type": "application/x-www-form-urlencoded"}

    assert (await served.client.post("/tokens", content=body, headers=headers)).status_code == status


async def test_json_is_not_a_form(served: Any) -> None:
    """415."""
    assert (await served.client.post("/tokens", json=FORM)).status_code == 415


async def test_a_weaker_hash_is_replaced_at_sign_in(served: Any) -> None:
    """Stronger parameters reach old users when they next sign in."""
    from argon2 import PasswordHasher  # noqa: PLC0415

    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(ADA["password"])
    await served.sql("UPDATE users SET password_hash = $1 RETURNING 1", weak)

    assert (await served.client.post("/tokens", data=FORM)).status_code == 200
    ((kept,),) = await served.sql("SELECT password_hash FROM users")
    assert "m=19456,t=2,p=1" in kept
