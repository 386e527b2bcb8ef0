"""Tokens: which are taken, and every known way to forge one."""

from __future__ import annotations

import base64
import json
import time

import jwt as pyjwt
import pytest
from joserfc.jwk import ECKey

from functions.errors import Unauthenticated
from functions.identity import TokenSettings, verify
from tests.functions.conftest import KEY, bearer

SETTINGS = TokenSettings(keys=json.dumps({"keys": [KEY.as_dict(private=False)]}))
CLAIMS = {"iss": "wake", "aud": "wake", "sub": "ada", "role": "admin", "iat": 0, "exp": 4_000_000_000}
OTHER = ECKey.generate_key("P-256", private=True, auto_kid=True)


def token(**changed: object) -> str:
    """A token with these claims changed, or left out where None."""
    return bearer("ada", **changed)["authorization"].removeprefix("Bearer ")


def b64(value: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header: dict[str, object], key: object = None, algorithm: str = "ES256") -> str:
    """A token made by another library."""
    made = {"typ": "at+jwt", "kid": KEY.kid, **header}
    return pyjwt.encode(CLAIMS, key or KEY.as_pem(private=True), algorithm, headers=made)


def test_a_valid_token_says_who_it_is() -> None:
    """Name and role; a token of another library with the same key is as good."""
    assert verify(token(), SETTINGS).username == "ada"
    assert verify(signed({}), SETTINGS).is_admin


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "x",
        "a.b.c",
        f"{b64({'alg': 'none', 'typ': 'at+jwt'})}.{b64(CLAIMS)}.",
        signed({}, OTHER.as_pem(private=True)),
        signed({"kid": "unknown"}),
        signed({"typ": "JWT"}),
        signed({"crit": ["exp"]}),
        signed({"jwk": OTHER.as_dict(private=False)}, OTHER.as_pem(private=True)),
        pyjwt.api_jws.PyJWS().encode(
            json.dumps(CLAIMS).encode(), "x" * 32, "HS256", headers={"kid": KEY.kid, "typ": "at+jwt"}
        ),
        token() + "x",
        token()[:-4] + "AAAA",
        "x" * 5000,
    ],
)
def test_a_forged_token_is_refused(forged: str) -> None:
    """No signature, another key, an embedded key, another algorithm or type, a changed byte, too long."""
    with pytest.raises(Unauthenticated):
        verify(forged, SETTINGS)


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"iss": "other"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": 5},
        {"iat": None},
        {"iat": int(time.time()) + 3600},
        {"nbf": int(time.time()) + 3600},
        {"role": "god"},
    ],
)
def test_a_token_that_does_not_say_what_it_has_to_is_refused(changed: dict[str, object]) -> None:
    """Expired, from later, of another issuer or for another audience, without a name."""
    forged = {
        name: value for name, value in {**CLAIMS, "iat": int(time.time()), **changed}.items() if value is not None
    }
    from joserfc import jwt  # noqa: PLC0415

    made = jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}, forged, KEY, algorithms=["ES256"])
    with pytest.raises(Unauthenticated):
        verify(made, SETTINGS)


def test_a_key_that_was_rotated_out_is_no_longer_taken() -> None:
    """Only keys of the mounted set count."""
    with pytest.raises(Unauthenticated):
        verify(token(), TokenSettings(keys=json.dumps({"keys": [OTHER.as_dict(private=False)]})))


def test_a_token_that_was_taken_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signature is remembered; its time, whom it is for and by which keys are asked at each call."""
    made, later = token(), time.time() + 700
    verify(made, SETTINGS)
    with pytest.raises(Unauthenticated):
        verify(made, TokenSettings(keys=json.dumps({"keys": [OTHER.as_dict(private=False)]})))
    with pytest.raises(Unauthenticated):
        verify(made, TokenSettings(keys=SETTINGS.keys, audience="another"))
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated):
        verify(made, SETTINGS)
