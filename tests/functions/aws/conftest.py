"""Functions on Lambda: AWS' runtime interface client, a process for each, on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from knative.runtime import postgres
from tests.conftest import sql
from tests.functions.aws.runtime_api import Lambda, running
from tests.functions.conftest import KEY, Users


@pytest.fixture(scope="module")
def orders_url(postgres_server: postgres.Postgres, migrated_template: Callable[[str], str]) -> Iterator[str]:
    """The orders' database of a module's environments."""
    name = "orders_on_lambda"
    sql(postgres_server, f"CREATE DATABASE {name} TEMPLATE {migrated_template('orders')} STRATEGY FILE_COPY")
    yield postgres_server.url(name)
    sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def settings(name: str, database_url: str, users: Users) -> dict[str, str]:
    """What a function of the orders finds."""
    return {
        "FUNCTION": name,
        "DATABASE_URL": database_url,
        "TOKEN_KEYS": json.dumps({"keys": [KEY.as_dict(private=False)]}),
        "USERS_CALLS": "http",
        "USERS_GET_URL": users.get.url,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, orders_url: str, users: Users) -> Iterator[Lambda]:
    """orders-place."""
    with running(tmp_path_factory.mktemp("place"), **settings("orders-place", orders_url, users)) as made:
        yield made


@pytest.fixture(scope="module")
def confirm(tmp_path_factory: pytest.TempPathFactory, orders_url: str, users: Users) -> Iterator[Lambda]:
    """orders-confirm."""
    with running(tmp_path_factory.mktemp("confirm"), **settings("orders-confirm", orders_url, users)) as made:
        yield made
