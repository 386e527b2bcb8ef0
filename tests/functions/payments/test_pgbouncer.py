"""The order's way through a real PgBouncer in transaction mode, configured as it is shipped but for its addresses."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from eventing import outbox
from eventing.event import Event
from functions import correlation
from functions.correlation import Call
from functions.database import Database, DatabaseSettings
from functions.errors import DeadlineExceeded, Unavailable
from knative.runtime import postgres
from tests import poolers
from tests.functions.conftest import bearer
from tests.functions.payments.conftest import Cards
from tests.poolers import PgBouncer
from tests.ship.built import build, of_kind

SHIPPED = of_kind(build("nats-production"), "ConfigMap")
ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
READY = "/health/readiness"


@pytest.fixture
async def verifier(postgres_server: postgres.Postgres) -> str:
    """What goes into userlist.txt."""
    connection = await asyncpg.connect(postgres_server.url())
    try:
        return str(await connection.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = current_user"))
    finally:
        await connection.close()


@pytest.fixture
def pgbouncer(postgres_server: postgres.Postgres, verifier: str) -> Iterator[PgBouncer]:
    """One before the session's PostgreSQL."""
    found = poolers.program()
    if found is None:
        pytest.skip(poolers.ABSENT)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        running = poolers.start(
            found, SHIPPED["pgbouncer"]["data"]["pgbouncer.ini"], postgres_server, verifier, Path(name)
        )
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def direct() -> dict[str, str]:
    """Each area's URL past the pooler."""
    return {}


@pytest.fixture
def database_url(
    database_url: Callable[[str], str],
    pgbouncer: PgBouncer,
    direct: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], str]:
    """Every function of these tests finds the pooler, and the setting that is shipped with it."""
    name = "DATABASE_STATEMENT_CACHE_SIZE"
    monkeypatch.setenv(name, SHIPPED["wake"]["data"][name])

    def through(area: str) -> str:
        direct[area] = database_url(area)
        return pgbouncer.url(direct[area])

    return through


@pytest.fixture
async def database(database_url: Callable[[str], str]) -> AsyncIterator[Database]:
    """A function's own."""
    made = Database(DatabaseSettings(database_url("orders"), "orders", statement_cache_size=0))
    await made.open()
    yield made
    await made.close()


async def look(url: str, statement: str) -> list[Any]:
    """First values, past the pooler."""
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(statement)]
    finally:
        await connection.close()


class Taken(list[Event]):
    """A Broker that keeps what it is given."""

    async def publish(self, event: Event) -> None:
        """Take one."""
        self.append(event)


async def relayed(served: Any) -> list[Event]:
    """What outbox-relay would publish from this function's outbox."""
    taken = Taken()
    await outbox.drain(served.app.state.database.connections, taken, older_than=timedelta(0))
    return taken


async def test_orders_reach_their_end(serve: Any, cards: Cards, direct: dict[str, str]) -> None:
    """Placed, charged and confirmed, each event twice and many at once, over two sessions a database."""
    place, charge, confirm = [await serve(name) for name in ("orders.place", "payments.charge", "orders.confirm")]
    assert {(await one.client.get(READY)).status_code for one in (place, charge, confirm)} == {200}
    keys = [{**bearer("ada"), "idempotency-key": str(number // 2)} for number in range(40)]
    answers = await asyncio.gather(*(place.client.post("/orders/", json=ORDER, headers=key) for key in keys))
    for placed in await relayed(place):
        assert {one.status_code for one in await asyncio.gather(*(charge.post_event(placed) for _ in range(2)))} == {
            204
        }
    captured = await relayed(charge)
    confirmed = await asyncio.gather(*(confirm.post_event(event) for event in captured for _ in range(2)))

    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.status_code for answer in confirmed} == {204}
    assert await look(direct["orders"], "SELECT status FROM orders") == ["confirmed"] * 20
    assert len(await cards.charges()) == 20
    assert [event.type for event in await relayed(confirm)] == ["orders.confirmed.v1"] * 20


async def test_reading_outbox_and_sweep_work(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What uses a pool outside a request, and reads outside a transaction."""
    place = await serve("orders.place")
    await place.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    listed = await (await serve("orders.list")).client.get("/orders/", headers=bearer("ada"))
    monkeypatch.setenv("ORDERS_DATABASE_URL", place.database_url)
    sweep = await serve("outbox.sweep", "orders", K_SINK="http://127.0.0.1:1")
    swept = await sweep.post_event(Event(id="1", type="dev.knative.sources.ping", source="/test"))

    assert len(listed.json()["items"]) == 1
    assert (swept.status_code, len(await relayed(place))) == (204, 1)


async def test_a_session_has_the_timeouts_that_a_function_asks_for(database: Database) -> None:
    """PgBouncer passes none of them on: its connect_query says the same."""
    shown = [(await database.fetch(f"SHOW {name}"))[0][0] for name in SHOWN]

    assert shown == [f"{getattr(database._settings, field):g}s" for field in SHOWN.values()]


SHOWN = {
    "statement_timeout": "statement_timeout_seconds",
    "idle_in_transaction_session_timeout": "idle_in_transaction_timeout_seconds",
}


async def test_a_deadline_ends_a_statement_on_the_server_too(database: Database, direct: dict[str, str]) -> None:
    """The cancellation goes through PgBouncer to the session that works for us."""
    correlation.begin(Call(deadline=time.monotonic() + 0.2))
    with pytest.raises(DeadlineExceeded):
        await database.fetch("SELECT pg_sleep(9)")
    correlation.begin(Call())
    working = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state <> 'idle'"
    async with asyncio.timeout(5):
        while await look(direct["orders"], working) != [0]:
            await asyncio.sleep(0.01)

    assert [row["one"] for row in await database.fetch("SELECT 1 AS one")] == [1]


async def test_who_gets_no_session_is_told_503(database: Database) -> None:
    """After the three seconds that a function waits for a connection, and not after minutes."""
    over, held = asyncio.Event(), asyncio.Semaphore(0)
    holding = [asyncio.create_task(_hold(database, held, over)) for _ in range(2)]
    for _ in holding:
        await held.acquire()
    began = time.monotonic()
    try:
        with pytest.raises(Unavailable):
            await database.fetch("SELECT 1")
    finally:
        over.set()
        await asyncio.gather(*holding)

    assert 2 < time.monotonic() - began < 6
    assert await database.fetch("SELECT 1")


async def _hold(database: Database, held: asyncio.Semaphore, over: asyncio.Event) -> None:
    """Keep one of PgBouncer's sessions."""
    async with database.transaction() as transaction:
        await transaction.execute("SELECT 1")
        held.release()
        await over.wait()
