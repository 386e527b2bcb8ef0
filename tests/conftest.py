"""Real servers for the tests: one PostgreSQL and one nats-server a session, one new database a test that asks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from functions.migrated import FOLDERS
from knative.runtime import child, nats, postgres, programs, rabbitmq
from tests import caches

ROOT = Path(__file__).parent.parent
# Else grpcio starts its threads again in every child that this process forks, and Linux lets no process of several
# threads enter a user namespace, where PostgreSQL runs as root: it depended on which test came first.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: everything that the tests need can be had there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("CI allows no skipped test.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Postgres]:
    """A real PostgreSQL of this session's own; it need not survive a power cut, so it does not wait for the disk."""
    folder = tmp_path_factory.mktemp("postgres")
    server = postgres.start(folder, child.free_port(), folder / "log", {"fsync": "off", "synchronous_commit": "off"})
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nats.Nats]:
    """A real nats-server with JetStream of this session's own."""
    folder = tmp_path_factory.mktemp("nats")
    server = nats.start(folder, child.free_port(), folder / "log")
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats_url(nats_server: nats.Nats) -> str:
    """Where the session's nats-server listens."""
    return nats_server.url


@pytest.fixture
def cache_server(tmp_path: Path) -> Iterator[caches.CacheServer]:
    """A real Redis or Valkey of this test's own, which it may kill; it starts in some 20 ms."""
    program = caches.program()
    if program is None:
        pytest.skip(caches.ABSENT)
    server = caches.start(program, tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The RabbitMQ of RABBITMQ_URL, or a real one of this session's own."""
    if given := os.environ.get("RABBITMQ_URL", ""):
        yield given
        return
    folder = tmp_path_factory.mktemp("rabbitmq")
    server = rabbitmq_of(folder, child.free_port(), folder / "log")
    server.wait_until_ready()
    yield server.url
    server.stop()


def rabbitmq_of(folder: Path, port: int, log: Path, settings: str = "") -> rabbitmq.RabbitMQ:
    """A rabbitmq-server that was just started; where none is installed the test is skipped."""
    if rabbitmq.find() is None:
        pytest.skip(f"rabbitmq-server is not installed: {programs.HOW_TO_GET['rabbitmq-server']}")
    return rabbitmq.start(folder, port, log, settings)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: postgres.Postgres) -> Callable[[str], str]:
    """Makes an area's database once, by its real migrations; tests copy it, which takes some 30 ms."""
    made: set[str] = set()

    def template(area: str) -> str:
        name = f"template_{area}"
        if name not in made:
            folders = [option for folder in FOLDERS[area] for option in ("--migrations-dir", folder)]
            subprocess.run(
                [
                    programs.find("dbmate"),
                    "--no-dump-schema",
                    "--url",
                    postgres_server.url(name),
                    *folders,
                    "up",
                ],
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            )
            made.add(name)
        return name

    return template


@pytest.fixture
def database_url(
    postgres_server: postgres.Postgres, migrated_template: Callable[[str], str]
) -> Iterator[Callable[[str], str]]:
    """`database_url("orders")` is the URL of a new, migrated database of that area, dropped after the test."""
    names: list[str] = []

    def create(area: str) -> str:
        name = f"test_{area}_{next(_numbers)}"
        sql(postgres_server, f"CREATE DATABASE {name} TEMPLATE {migrated_template(area)} STRATEGY FILE_COPY")
        names.append(name)
        return postgres_server.url(name)

    yield create
    for name in names:
        sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


_numbers = count()


def sql(server: postgres.Postgres, statement: str, database: str = "postgres") -> None:
    """Run one statement as superuser, outside any event loop."""
    subprocess.run(
        [
            programs.find("psql"),
            "--quiet",
            "--no-psqlrc",
            "--set=ON_ERROR_STOP=1",
            "--command",
            statement,
            server.url(database),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
