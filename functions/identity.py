"""Who calls: the bearer of a signed access token, verified with public keys that were mounted, never fetched.

RFC 9068 (JWT access tokens) and RFC 8725 (JWT best practice): one algorithm, the type `at+jwt`, issuer, audience,
subject and times required, a length limit before anything is parsed.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import Depends, Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from functions import correlation
from functions.correlation import Call
from functions.errors import Forbidden, Unauthenticated

ALGORITHM = "ES256"
TYPE = "at+jwt"
_LEEWAY_SECONDS = 30
_TOKEN_BYTES_MAX = 4096

# Lower case only, so that no two names look alike.
USERNAME = r"^[a-z0-9][a-z0-9_-]{2,31}$"

Role = Literal["customer", "admin"]


@dataclass(frozen=True)
class Identity:
    """A caller whose token was valid."""

    username: str
    role: Role

    @property
    def is_admin(self) -> bool:
        """Whether this caller may see and do what is not their own."""
        return self.role == "admin"

    def may_see(self, username: str) -> bool:
        """Whether what belongs to this user is this caller's to see."""
        return self.is_admin or self.username == username


@dataclass(frozen=True)
class TokenSettings:
    """What a token has to say to be taken."""

    #: JSON Web Key Set (RFC 7517) with the public keys in force: the current one, and the next before it is used.
    keys: str
    issuer: str = "wake"
    audience: str = "wake"

    @classmethod
    def from_environment(cls) -> TokenSettings:
        """TOKEN_KEYS, TOKEN_ISSUER, TOKEN_AUDIENCE."""
        return cls(
            keys=os.environ["TOKEN_KEYS"],
            issuer=os.environ.get("TOKEN_ISSUER", cls.issuer),
            audience=os.environ.get("TOKEN_AUDIENCE", cls.audience),
        )


def verify(token: str, settings: TokenSettings) -> Identity:
    """The identity that a token vouches for.

    A signature is checked once (it takes longer than reading a user); whether the token is still in force, each time.

    Raises:
        Unauthenticated: it does not; the answer does not say what was wrong.
    """
    if len(token) > _TOKEN_BYTES_MAX:
        raise Unauthenticated
    identity, expires = _verified(token, settings)
    if expires + _LEEWAY_SECONDS <= time.time():
        raise Unauthenticated
    return identity


@lru_cache(maxsize=1024)
def _verified(token: str, settings: TokenSettings) -> tuple[Identity, float]:
    """Whose token it is, and until when; what is not valid is not remembered."""
    claims = jwt.JWTClaimsRegistry(
        leeway=_LEEWAY_SECONDS,
        iss={"essential": True, "value": settings.issuer},
        aud={"essential": True, "value": settings.audience},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        decoded = jwt.decode(token, _key_set(settings.keys), algorithms=[ALGORITHM])
        if decoded.header.get("typ") != TYPE:
            raise Unauthenticated
        claims.validate(decoded.claims)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unauthenticated from error
    username, role = decoded.claims["sub"], decoded.claims.get("role", "customer")
    if not isinstance(username, str) or role not in {"customer", "admin"}:
        raise Unauthenticated
    return Identity(username, role), float(decoded.claims["exp"])


@lru_cache(maxsize=4)
def _key_set(keys: str) -> KeySet:
    return KeySet.import_key_set(json.loads(keys))


def authenticate(call: Call, authorization: str, settings: TokenSettings) -> Identity:
    """The caller that a value of `authorization` (RFC 6750, section 2.1) vouches for; the call remembers it.

    Raises:
        Unauthenticated: it is no bearer's, or its token is not valid.
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    identity = verify(token, settings)
    call.log["caller"] = identity.username
    call.token, call.identity = token, identity
    return identity


async def caller(request: Request) -> Identity:
    """The caller of a request.

    Async, as all our dependencies are: FastAPI gives any other to a thread, and waits for it.

    Raises:
        Unauthenticated: 401.
    """
    authorization = request.headers.get("authorization", "")
    return authenticate(correlation.current(), authorization, TokenSettings.from_environment())


Caller = Annotated[Identity, Depends(caller)]


async def admin(caller: Caller) -> Identity:
    """The caller, who is an admin.

    Raises:
        Forbidden: 403.
    """
    if not caller.is_admin:
        raise Forbidden("Only an admin can do this.")
    return caller


Admin = Annotated[Identity, Depends(admin)]
