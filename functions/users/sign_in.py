"""Signs a user in: POST /tokens gives a short-lived access token for a password (OAuth 2.0 form, RFC 6749 4.3.2)."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import ECKey

from eventing.event import new_id
from functions.app import operation
from functions.bodies import require_content_type
from functions.database import InDatabase
from functions.errors import BadRequest, FieldError, Unauthenticated, Unprocessable
from functions.identity import ALGORITHM, TYPE, TokenSettings
from functions.users import passwords, users
from functions.users.user import User

_FIELDS = ("grant_type", "username", "password")
_OPTIONAL = ("scope", "client_id", "client_secret")
_PASSWORD_MAX = 200


class WrongCredentials(Unauthenticated):
    """There is no active user of this name and password."""


@dataclass(frozen=True)
class SigningSettings:
    """How tokens are signed."""

    #: Private JSON Web Key (RFC 7517, EC P-256) whose public half is in TOKEN_KEYS.
    key: str
    #: Seconds. Short, because a token cannot be taken back.
    lifetime_seconds: int = 600

    @classmethod
    def from_environment(cls) -> SigningSettings:
        """TOKEN_SIGNING_KEY, TOKEN_LIFETIME_SECONDS."""
        lifetime = os.environ.get("TOKEN_LIFETIME_SECONDS")
        return cls(os.environ["TOKEN_SIGNING_KEY"], int(lifetime) if lifetime else cls.lifetime_seconds)


app = operation(__name__)


@app.post("/tokens")
async def sign_in(request: Request, database: InDatabase) -> Response:
    """A token for the right password. Anything else is the same 401, after the same time."""
    require_content_type(request, "application/x-www-form-urlencoded")
    username, password = credentials(await request.body())
    user = await users.find(database, username)
    if not await passwords.verify(password, None if user is None else user.password_hash) or user is None:
        raise WrongCredentials
    if passwords.needs_rehash(user.password_hash):
        await users.rehash(database, user, await passwords.hash_password(password))
    settings = SigningSettings.from_environment()
    body = {
        "access_token": issue(user, settings, TokenSettings.from_environment(), int(time.time())),
        "token_type": "bearer",
        "expires_in": settings.lifetime_seconds,
    }
    return JSONResponse(body, headers={"cache-control": "no-store"})


def credentials(body: bytes) -> tuple[str, str]:
    """Username and password of a form, parsed strictly.

    Raises:
        BadRequest: it is no form.
        Unprocessable: a field is missing, unknown, repeated, or the grant type is another.
    """
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=10)
        pairs = [(name, value.encode("utf-8", "strict").decode()) for name, value in fields]
    except ValueError as error:
        raise BadRequest("The body is no form: it has to be grant_type=password&username=…&password=….") from error
    form = dict(pairs)
    wrong = [FieldError(name, "this field came twice") for name in form if [one for one, _ in pairs].count(name) > 1]
    wrong += [FieldError(name[:80], "this field is not known") for name in form if name not in (*_FIELDS, *_OPTIONAL)]
    wrong += [FieldError(name, "this field is missing") for name in _FIELDS if not form.get(name)]
    if form.get("grant_type", "password") != "password":
        wrong.append(FieldError("grant_type", "only password is taken"))
    if len(form.get("password", "")) > _PASSWORD_MAX:
        wrong.append(FieldError("password", f"at most {_PASSWORD_MAX} characters"))
    if wrong:
        raise Unprocessable("The form is not valid.", errors=wrong)
    return form["username"], form["password"]


def issue(user: User, signing: SigningSettings, tokens: TokenSettings, now: int) -> str:
    """A signed access token (RFC 9068); *now* is in seconds since 1970."""
    key = _key(signing.key)
    claims = {
        "iss": tokens.issuer,
        "aud": tokens.audience,
        "sub": user.username,
        "role": user.role,
        "iat": now,
        "exp": now + signing.lifetime_seconds,
        "jti": new_id(),
    }
    return jwt.encode({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


@lru_cache(maxsize=2)
def _key(text: str) -> ECKey:
    return ECKey.import_key(json.loads(text))
