"""Fulfils the Secrets of the local overlay: databases with a role each, signing keys, passwords.

On a cluster somebody creates these Secrets. On a laptop an annotation says what one would hold, and the runtime makes
it once and keeps it in the state folder:

- `wake.dev/local-database: NAME` creates the database NAME, owned by a role of that name which can reach no other, and
  fills the key `url`;
- `wake.dev/local-signing-key: es256` fills `private.json` (a JWK) and `public.json` (a JWK set, RFC 7517);
- `wake.dev/local-password: KEY` fills KEY with a random password;
- `wake.dev/local-variable: NAME` fills the key `url` with the variable NAME of whoever starts Wake, where it is set:
  a server that already runs.
"""

from __future__ import annotations

import json
import os
import re
import secrets as randomness
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from knative.runtime import postgres
from knative.runtime.resources import Platform, Secret
from knative.runtime.state import State

DATABASE = "wake.dev/local-database"
SIGNING_KEY = "wake.dev/local-signing-key"
PASSWORD = "wake.dev/local-password"  # noqa: S105 - the name of an annotation.
VARIABLE = "wake.dev/local-variable"
_IDENTIFIER = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")

SecretData = Mapping[tuple[str, str], Mapping[str, str]]


@dataclass(frozen=True)
class Provisions:
    """Secrets made whole, and the databases that some of them name, with the password of each one's role."""

    secrets: SecretData
    databases: Mapping[str, str]


def complete(platform: Platform, port: int, kept: Path) -> Provisions:
    """Every Secret's data, with what its annotations ask for made or, from the second start on, remembered in *kept*.

    *port* is that of PostgreSQL on loopback.

    Raises:
        ValueError: an annotation asks for something that is not known.
    """
    memory: dict[str, dict[str, str]] = json.loads(kept.read_text()) if kept.exists() else {}
    before = json.dumps(memory)
    data: dict[tuple[str, str], Mapping[str, str]] = {}
    databases: dict[str, str] = {}
    for key, secret in platform.secrets.items():
        made = memory.setdefault("/".join(key), {})
        for name, value in _generated(secret, made).items():
            made.setdefault(name, value)
        data[key] = {**secret.data, **made}
        if url := os.environ.get(secret.annotations.get(VARIABLE, ""), ""):
            data[key] = {**data[key], "url": url}
        if (database := secret.annotations.get(DATABASE)) is not None:
            password = made.setdefault("password", randomness.token_urlsafe(24))
            databases[_checked(database)] = password
            data[key] = {**secret.data, "url": postgres.url(database, password, port, database)}
    if json.dumps(memory) != before:
        State.write(kept, json.dumps(memory, indent=1))
    return Provisions(data, databases)


def _generated(secret: Secret, present: Mapping[str, str]) -> dict[str, str]:
    made: dict[str, str] = {}
    if (kind := secret.annotations.get(SIGNING_KEY)) is not None:
        if kind != "es256":
            raise ValueError(f"Secret {secret.name}: {SIGNING_KEY} can be es256, not {kind}")
        if "private.json" not in present:
            made |= _signing_key()
    if (key := secret.annotations.get(PASSWORD)) is not None:
        made[key] = randomness.token_urlsafe(18)
    return made


def _signing_key() -> dict[str, str]:
    from joserfc.jwk import ECKey  # noqa: PLC0415 - cryptography is needed at the first start only.

    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, private=True, auto_kid=True)
    return {
        "private.json": json.dumps(key.as_dict(private=True)),
        "public.json": json.dumps({"keys": [key.as_dict(private=False)]}),
    }


def _checked(name: str) -> str:
    if not _IDENTIFIER.match(name):
        raise ValueError(f"{DATABASE}: {name!r} is no PostgreSQL identifier")
    return name


async def create_databases(server: postgres.Postgres, databases: Mapping[str, str]) -> None:
    """Create what is missing of the databases and their roles; none can reach another's.

    Raises:
        OSError: the server cannot be reached.
    """
    connection = await asyncpg.connect(server.url())
    try:
        roles = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        present = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
        for name, password in databases.items():
            # Identifiers were checked above; passwords are URL-safe base64 of our own making.
            verb = "ALTER" if name in roles else "CREATE"
            if name not in roles or name not in present:
                await connection.execute(f"{verb} ROLE {name} LOGIN PASSWORD '{password}'")
            if name not in present:
                await connection.execute(f"CREATE DATABASE {name} OWNER {name} STRATEGY FILE_COPY")
                await connection.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC")
        await connection.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
    finally:
        await connection.close()
