"""Deadlines: of HTTP requests, and of what is done for them in the database."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import correlation, deadlines, hangup
from functions.correlation import Call
from functions.database import Database, DatabaseSettings
from functions.deadlines import OF_CALLER, OF_GATEWAY, DeadlineSettings
from functions.errors import BadRequest, DeadlineExceeded
from knative.runtime.postgres import Postgres
from tests.functions.conftest import bearer

# Orders are placed here, and orders asks users about the buyer.
pytestmark = pytest.mark.usefixtures("buyers")

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
SETTINGS = DeadlineSettings(request_timeout_seconds=5.0)
MILLISECONDS = st.integers(0, 10**9)


@given(gateway=MILLISECONDS | st.none(), caller=MILLISECONDS | st.none())
def test_nobody_gets_more_time_than_the_gateway_and_the_setting_give(gateway: int | None, caller: int | None) -> None:
    """The least of all that is said; Envoy says nothing where it has no time-out."""
    sent = {OF_GATEWAY: gateway, OF_CALLER: caller}
    headers = [(name, str(value).encode()) for name, value in sent.items() if value is not None]
    said = [5.0, *([gateway / 1000] if gateway else []), *([] if caller is None else [caller / 1000])]

    assert min(said) == deadlines.seconds_of(headers, SETTINGS)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"1e3", b"soon", b"9" * 13, "\u0663".encode()])
def test_a_caller_says_whole_milliseconds(value: bytes) -> None:
    """Anything else is the caller's mistake; the gateway's is passed over."""
    with pytest.raises(BadRequest, match="x-request-timeout-ms"):
        deadlines.seconds_of([(OF_CALLER, value)], SETTINGS)

    assert deadlines.seconds_of([(OF_GATEWAY, value)], SETTINGS) == 5.0


async def test_a_call_whose_time_is_over_is_a_504_and_writes_nothing(serve: Any) -> None:
    """A problem document; a header that says no number, or comes twice, is a 400."""
    served = await serve("orders.place")
    late, wrong, twice = [
        await served.client.post("/orders/", json=ORDER, headers=[*bearer("ada").items(), *more])
        for more in (
            [("x-request-timeout-ms", "0")],
            [("x-request-timeout-ms", "soon")],
            [("x-request-timeout-ms", "100"), ("x-request-timeout-ms", "9000")],
        )
    ]

    assert (late.status_code, late.headers["content-type"]) == (504, "application/problem+json")
    assert (wrong.status_code, twice.status_code) == (400, 400)
    assert not await served.sql("SELECT FROM orders")


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncIterator[Database]:
    """A function's own, of one connection."""
    made = Database(DatabaseSettings(database_url("orders"), pool_max=1))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def onlooker(database: Database) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Another connection to the same database."""
    connection = await asyncpg.connect(database._settings.url)
    yield connection
    await connection.close()


async def until(onlooker: asyncpg.Connection[asyncpg.Record], count: int) -> None:
    """Wait until the server works on so many statements of the function, or holds transactions open for it.

    One counts once it sleeps or waits for a lock: PostgreSQL forgets a cancelling that comes while it is parsed.
    """
    statement = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'wake' AND state <> 'idle' AND datname = current_database()"
    )
    if count:
        statement += " AND wait_event_type IN ('Timeout', 'Lock')"
    async with asyncio.timeout(10):
        while await onlooker.fetchval(statement) != count:
            await asyncio.sleep(0.005)


async def sleep_in_a_statement(database: Database) -> None:
    """A statement of ten seconds."""
    await database.fetch("SELECT pg_sleep(10)")


async def sleep_in_a_transaction(database: Database) -> None:
    """The same after a write."""
    async with database.transaction() as transaction:
        await transaction.execute("DELETE FROM inbox")
        await transaction.execute("SELECT pg_sleep(10)")


WORK = pytest.mark.parametrize("work", [sleep_in_a_statement, sleep_in_a_transaction])


@WORK
async def test_the_deadline_ends_a_statement_on_the_server_too(
    database: Database, onlooker: asyncpg.Connection[asyncpg.Record], work: Any
) -> None:
    """Answered at the deadline, cancelled in PostgreSQL, and the only connection serves the next at once."""
    correlation.begin(Call(deadline=time.monotonic() + 0.2))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await work(database)
    took = time.monotonic() - began
    await until(onlooker, 0)
    correlation.begin(Call())

    assert 0.15 < took < 1
    assert (await database.fetchrow("SELECT 1 AS one"))["one"] == 1  # type: ignore[index]
    assert time.monotonic() - began < 2


@WORK
async def test_a_cancelled_caller_ends_its_statement_on_the_server_too(
    database: Database, onlooker: asyncpg.Connection[asyncpg.Record], work: Any
) -> None:
    """What a stream that is reset does to its handler; the pool stays as it was."""
    correlation.begin(Call())
    task = asyncio.create_task(work(database))
    await until(onlooker, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(onlooker, 0)

    async with database.transaction() as transaction:
        assert await transaction.fetchval("SELECT 1") == 1


async def test_nobody_waits_for_a_connection_beyond_the_deadline(database: Database) -> None:
    """The only one is taken."""
    async with database.transaction():
        correlation.begin(Call(deadline=time.monotonic() + 0.1))
        with pytest.raises(DeadlineExceeded):
            await asyncio.create_task(database.fetch("SELECT 1"))
        correlation.begin(Call())


async def test_a_database_that_hangs_does_not_hold_the_caller(
    postgres_server: Postgres, database: Database, onlooker: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Stopped in the middle of a transaction: a 504 at the deadline, and all is well once it goes on."""
    (backend,) = [row["pid"] for row in await database.fetch("SELECT pg_backend_pid() AS pid")]
    correlation.begin(Call(deadline=time.monotonic() + 0.2))
    began = time.monotonic()
    try:
        with pytest.raises(DeadlineExceeded):
            async with database.transaction() as transaction:
                os.kill(backend, signal.SIGSTOP)
                await transaction.execute("SELECT 1")
        took = time.monotonic() - began
    finally:
        os.kill(backend, signal.SIGCONT)
    correlation.begin(Call())

    assert took < 0.5
    assert (await database.fetchrow("SELECT 1 AS one"))["one"] == 1  # type: ignore[index]


async def test_a_reader_who_hangs_up_ends_its_statement_on_the_server_too(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed while the database works; a caller who stays is served after that as before."""
    monkeypatch.setattr(hangup, "WATCHED_AFTER_SECONDS", 0.02)
    caplog.set_level("INFO")
    served = await serve("orders.list")
    looker, locker = await asyncpg.connect(served.database_url), await asyncpg.connect(served.database_url)
    gone, answered = asyncio.Event(), list[dict[str, Any]]()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        answered.append(message)

    headers = [(name.encode(), value.encode()) for name, value in bearer("ada").items()]
    scope = {"type": "http", "method": "GET", "path": "/orders/", "query_string": b"", "headers": headers}
    async with locker.transaction():
        await locker.execute("LOCK TABLE orders")
        call = asyncio.create_task(served.app(scope, receive, send))
        await until(looker, 1)
        gone.set()
        await call
        await until(looker, 0)
    await locker.close()
    await looker.close()

    assert answered == []
    assert [record.__dict__["status"] for record in caplog.records if "status" in record.__dict__] == [499]
    assert (await served.client.get("/orders/", headers=bearer("ada"))).status_code == 200
