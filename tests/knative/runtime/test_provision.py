"""What the local overlay's Secrets are filled with, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from knative.runtime import postgres, provision
from knative.runtime.resources import Platform, Secret


def platform(**annotations: dict[str, str]) -> Platform:
    """A platform of Secrets alone."""
    return Platform(
        services={},
        brokers=(),
        triggers=(),
        event_types=(),
        messaging=(),
        container_sources=(),
        ping_sources=(),
        jobs=(),
        routes=(),
        config_maps={},
        secrets={
            ("shop", name): Secret(name=name, namespace="shop", data={}, annotations=one)
            for name, one in annotations.items()
        },
        autoscaler={},
        unlisted=(),
    )


@pytest.fixture
async def databases(postgres_server: postgres.Postgres) -> AsyncIterator[tuple[str, str]]:
    """Names of two databases that are dropped afterwards, with their roles."""
    names = ("test_provision_one", "test_provision_two")
    yield names
    connection = await asyncpg.connect(postgres_server.url())
    for name in names:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")
        await connection.execute(f"DROP ROLE IF EXISTS {name}")
    await connection.close()


async def test_each_database_has_a_role_that_reaches_no_other(
    postgres_server: postgres.Postgres, databases: tuple[str, str], tmp_path: Path
) -> None:
    """A role can create tables in its own database and cannot even connect to its neighbour's."""
    one, two = databases
    asked = platform(one={provision.DATABASE: one}, two={provision.DATABASE: two})
    made = provision.complete(asked, postgres_server.port, tmp_path / "secrets.json")
    await provision.create_databases(postgres_server, made.databases)
    url = made.secrets["shop", "one"]["url"]
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE mine (id int)")
    await connection.close()

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(url.replace(f"/{one}?", f"/{two}?"))


async def test_a_second_start_finds_the_same_passwords(
    postgres_server: postgres.Postgres, databases: tuple[str, str], tmp_path: Path
) -> None:
    """What was made once is remembered, also on another port."""
    asked = platform(one={provision.DATABASE: databases[0]}, admin={provision.PASSWORD: "password"})
    first = provision.complete(asked, 1, tmp_path / "secrets.json")
    await provision.create_databases(postgres_server, first.databases)
    second = provision.complete(asked, 2, tmp_path / "secrets.json")
    await provision.create_databases(postgres_server, second.databases)

    assert first.databases == second.databases
    assert first.secrets["shop", "admin"] == second.secrets["shop", "admin"]
    assert ":2/" in second.secrets["shop", "one"]["url"]


def test_a_signing_key_has_a_private_and_a_public_half(tmp_path: Path) -> None:
    """The public set holds no private part, and names the key that the private half carries."""
    made = provision.complete(platform(keys={provision.SIGNING_KEY: "es256"}), 1, tmp_path / "secrets.json")
    private = json.loads(made.secrets["shop", "keys"]["private.json"])
    (public,) = json.loads(made.secrets["shop", "keys"]["public.json"])["keys"]

    assert "d" in private
    assert "d" not in public
    assert private["kid"] == public["kid"]


@pytest.mark.parametrize(
    "annotations",
    [{provision.DATABASE: "wake; DROP TABLE orders"}, {provision.SIGNING_KEY: "rsa"}],
)
def test_what_cannot_be_made_is_refused(annotations: dict[str, str], tmp_path: Path) -> None:
    """A name that is no identifier, a kind of key that is not known."""
    with pytest.raises(ValueError, match=r"identifier|es256"):
        provision.complete(platform(bad=annotations), 1, tmp_path / "secrets.json")


def test_a_server_that_already_runs_is_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is set; it is not remembered, so that the next start may have another, or none."""
    asked = platform(cache={provision.VARIABLE: "SOME_URL"})
    monkeypatch.setenv("SOME_URL", "redis://127.0.0.1:1")
    given = provision.complete(asked, 1, tmp_path / "secrets.json")
    monkeypatch.delenv("SOME_URL")
    none = provision.complete(asked, 1, tmp_path / "secrets.json")

    assert given.secrets["shop", "cache"] == {"url": "redis://127.0.0.1:1"}
    assert none.secrets["shop", "cache"] == {}
