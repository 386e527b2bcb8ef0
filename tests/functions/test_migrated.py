"""A function waits for the migrations that its code ships: real migrations, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from eventing.event import Event
from functions.migrated import FOLDERS, shipped
from knative.runtime import child, postgres, programs
from tests.conftest import ROOT, sql
from tests.functions.conftest import bearer

ORDER = "/orders/01990000-0000-7000-8000-000000000000"
TICK = Event(id="1", type="dev.knative.sources.ping", source="/test")
READY = "/health/readiness"


@pytest.fixture
def empty(postgres_server: postgres.Postgres) -> Iterator[str]:
    """A database that nobody has migrated."""
    sql(postgres_server, "CREATE DATABASE test_waiting")
    yield postgres_server.url("test_waiting")
    sql(postgres_server, "DROP DATABASE test_waiting WITH (FORCE)")


def migrate(url: str, name: str) -> None:
    """What the Job does."""
    folders = [option for folder in FOLDERS[name] for option in ("--migrations-dir", folder)]
    command = [programs.find("dbmate"), "--no-dump-schema", "--url", url, *folders, "migrate"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until it holds; a function asks again after a second."""
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.02)


def told(caplog: pytest.LogCaptureFixture, message: str) -> list[str]:
    """The reasons of these lines of log."""
    return [record.__dict__["reason"] for record in caplog.records if record.message == message]


async def test_until_it_is_migrated_it_is_not_ready_and_answers_503(
    serve: Any, empty: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once what is missing and what to do; when that was done it serves, without a restart."""
    served = await serve("orders.get", DATABASE_URL=empty)

    ready, called = await served.client.get(READY), await served.client.get(ORDER, headers=bearer("ada"))
    await served.client.get(ORDER, headers=bearer("ada"))
    assert (ready.status_code, called.status_code, called.headers["retry-after"]) == (503, 503, "5")
    (reason,) = told(caplog, "not_migrated")
    lacking = ", ".join(shipped("orders").values())
    assert reason == (
        f"The database test_waiting lacks {lacking}, which the Job orders-migrate applies; "
        "until then all that needs it is answered 503."
    )

    await asyncio.to_thread(migrate, empty, "orders")

    async def is_ready() -> bool:
        return (await served.client.get(READY)).status_code == 200

    await until(is_ready)
    assert (await served.client.get(ORDER, headers=bearer("ada"))).status_code == 404


async def test_one_that_is_missing_is_enough(serve: Any) -> None:
    """A new revision beside the old one: the database is from before the upgrade."""
    served = await serve("orders.get")
    await served.sql("DELETE FROM schema_migrations WHERE version = $1", list(shipped("orders"))[-1])

    assert (await served.client.get(READY)).status_code == 503


async def test_older_code_finds_a_newer_database_welcome(serve: Any) -> None:
    """After a rollback."""
    served = await serve("orders.get")
    await served.sql("INSERT INTO schema_migrations VALUES ('20991231000000')")

    assert (await served.client.get(READY)).status_code == 200
    assert (await served.client.get(ORDER, headers=bearer("ada"))).status_code == 404


async def test_who_has_found_all_asks_no_more(serve: Any) -> None:
    """Not with every request, nor with every probe."""
    served = await serve("orders.get")
    assert (await served.client.get(ORDER, headers=bearer("ada"))).status_code == 404
    await served.sql("DROP TABLE schema_migrations")

    assert (await served.client.get(READY)).status_code == 200
    assert (await served.client.get(ORDER, headers=bearer("ada"))).status_code == 404


async def test_a_database_that_is_away_says_nothing_against_it(serve: Any) -> None:
    """What needs it is answered 503 at once, instead of being held until somebody is ready."""
    served = await serve("orders.get", DATABASE_URL=f"postgresql://u@127.0.0.1:{child.free_port()}/away")

    assert (await served.client.get(READY)).status_code == 200
    assert (await served.client.get(ORDER, headers=bearer("ada"))).headers["retry-after"] == "1"


async def test_a_database_that_hangs_keeps_no_probe_waiting(serve: Any) -> None:
    """A probe that takes a second has failed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/hangs"
        served = await serve("orders.get", DATABASE_URL=url)
        began = time.monotonic()
        ready = await served.client.get(READY)

    assert (ready.status_code, time.monotonic() - began < 1.0) == (200, True)


async def test_a_role_that_may_not_ask_is_told_what_to_grant(
    serve: Any, postgres_server: postgres.Postgres, database_url: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else migrates there."""
    url = database_url("orders")
    name = urlsplit(url).path.lstrip("/")
    sql(postgres_server, "CREATE ROLE reader LOGIN PASSWORD 'own'")
    try:
        served = await serve(
            "orders.get",
            DATABASE_URL=urlsplit(url)._replace(netloc=f"reader:own@127.0.0.1:{postgres_server.port}").geturl(),
        )
        assert (await served.client.get(READY)).status_code == 503
    finally:
        await asyncio.to_thread(sql, postgres_server, "DROP OWNED BY reader; DROP ROLE reader", name)

    (reason,) = told(caplog, "not_migrated")
    assert "GRANT SELECT ON schema_migrations to it" in reason


async def test_an_event_waits_too(serve: Any) -> None:
    """Its 503 has the Broker deliver it again."""
    served = await serve("payments.charge")
    await served.sql("DELETE FROM schema_migrations")

    assert (await served.post_event(TICK)).status_code == 503


async def test_what_works_on_several_databases_waits_for_each(serve: Any, environment: Any, database_url: Any) -> None:
    """outbox-sweep, whose own area has none."""
    urls = {f"{area.upper()}_DATABASE_URL": database_url(area) for area in ("users", "orders", "payments")}
    served = await serve("outbox.sweep", "orders", K_SINK="http://127.0.0.1:1", **urls)
    served.database_url = urls["PAYMENTS_DATABASE_URL"]
    await served.sql("DELETE FROM schema_migrations")

    assert (await served.client.get(READY)).status_code == 503
    assert (await served.post_event(TICK)).status_code == 503


async def test_a_grpc_function_is_not_serving_until_then(serve_rpc: Any, empty: str) -> None:
    """Its probe is grpc.health.v1, and a watch sees it change."""
    rpc = await serve_rpc("users.rpc", DATABASE_URL=empty)
    health = HealthStub(rpc.channel)
    seen = []

    assert (await health.Check(HealthCheckRequest())).status == HealthCheckResponse.NOT_SERVING
    async with health.Watch.open() as watch:
        await watch.send_message(HealthCheckRequest(), end=True)
        seen.append((await watch.recv_message()).status)
        await asyncio.to_thread(migrate, empty, "users")
        seen.append((await watch.recv_message()).status)
        await watch.cancel()

    assert seen == [HealthCheckResponse.NOT_SERVING, HealthCheckResponse.SERVING]
    assert (await health.Check(HealthCheckRequest())).status == HealthCheckResponse.SERVING


async def test_what_is_waited_for_is_what_dbmate_records(database_url: Callable[[str], str]) -> None:
    """In every database, by the names of the files."""
    for name in FOLDERS:
        connection = await asyncpg.connect(database_url(name))
        try:
            recorded = [row["version"] for row in await connection.fetch("TABLE schema_migrations")]
        finally:
            await connection.close()
        assert sorted(recorded) == list(shipped(name))


def test_every_function_opens_its_databases_by_the_settings() -> None:
    """Or it would not wait, nor heed what a pooler needs: DatabaseSettings.from_environment, and nothing by hand."""
    by_hand = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "functions").rglob("*.py")
        if "DatabaseSettings(" in file.read_text() and file.name != "database.py"
    ]

    assert by_hand == []
