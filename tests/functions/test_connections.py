"""The connections of a process: handed on, waited for, replaced, given back; on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from functions import connections as module
from functions.connections import Connections
from functions.database import Database, DatabaseSettings, connections
from functions.errors import Unavailable
from knative.runtime import child
from tests.waiting import until

MakeConnections = Callable[..., Awaitable[Connections]]
_BACKEND = "SELECT pg_backend_pid()"


@pytest.fixture
async def make(database_url: Callable[[str], str]) -> AsyncIterator[MakeConnections]:
    """Connections that are closed when the test is over."""
    made: list[Connections] = []

    async def _make(most: int = 2, url: str | None = None) -> Connections:
        settings = DatabaseSettings(url or database_url("orders"), pool_max=most)
        made.append(await connections(settings))
        return made[-1]

    yield _make
    for one in made:
        await one.close()


async def test_a_connection_goes_to_whoever_waits_longest(make: MakeConnections) -> None:
    """None is made beyond the limit, and all are served in their order."""
    pool = await make(1)
    served: list[int] = []

    async def ask(number: int) -> int:
        backend = await pool.fetchval(_BACKEND)
        served.append(number)
        return int(backend)

    backends = await asyncio.gather(*map(ask, range(20)))

    assert served == list(range(20))
    assert len(set(backends)) == 1
    assert pool.is_whole


async def test_whoever_waits_too_long_is_told(make: MakeConnections) -> None:
    """And the connection is there for the next."""
    pool = await make(1)
    async with pool.acquire():
        pool._timeout = 0.05
        with pytest.raises(TimeoutError):
            await pool.fetch("SELECT 1")

    assert await pool.fetchval("SELECT 1") == 1
    assert pool.is_whole


async def test_a_database_that_is_away_takes_no_place_for_ever(make: MakeConnections) -> None:
    """Each caller is told, those that waited for a place too."""
    pool = await make(2, url=f"postgresql://nobody@127.0.0.1:{child.free_port()}/none")
    told = await asyncio.gather(*(pool.fetch("SELECT 1") for _ in range(6)), return_exceptions=True)

    assert [isinstance(one, OSError) for one in told] == [True] * 6
    assert pool.is_whole


async def test_a_connection_that_the_server_ended_is_replaced(make: MakeConnections) -> None:
    """While it was not used: nobody notices."""
    pool = await make(2)
    async with pool.acquire() as first, pool.acquire() as second:
        backend = await first.fetchval(_BACKEND)
        keeper = second
    await keeper.execute("SELECT pg_terminate_backend($1)", backend)
    await until(lambda: not module._is_open(first))
    backends = {await pool.fetchval(_BACKEND) for _ in range(4)}

    assert backend not in backends
    await until(lambda: pool.is_whole)


async def test_a_statement_that_is_cancelled_is_cancelled_on_the_server(make: MakeConnections) -> None:
    """The caller does not wait for it; the next one gets a connection that is clean."""
    pool = await make(1)
    sleeping = asyncio.create_task(pool.fetch("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.05)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping

    assert await pool.fetchval("SELECT 1") == 1
    await until(lambda: pool.is_whole)


async def test_a_transaction_that_fails_leaves_nothing(make: MakeConnections) -> None:
    """Rolled back, also when PostgreSQL had given it up."""
    pool = await make(1)
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with pool.transaction() as connection:
            await connection.execute("CREATE TEMPORARY TABLE left_behind ()")
            await connection.fetch("SELECT 1 / 0")

    assert await pool.fetchval("SELECT to_regclass('left_behind')") is None
    assert pool.is_whole


async def test_connections_that_nobody_uses_are_given_back(
    make: MakeConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool below has them again, and closes them when it does not need them either."""
    monkeypatch.setattr(module, "_KEEP_SECONDS", 0.01)
    pool = await make(2)
    async with pool.acquire(), pool.acquire():
        pass
    await until(lambda: pool._lent == 0 and pool.is_whole)

    assert pool._pool.get_idle_size() == 2
    assert await pool.fetchval("SELECT 1") == 1


async def test_closing_waits_for_who_is_at_it(make: MakeConnections) -> None:
    """And takes their connection then."""
    pool = await make(2)
    async with pool.acquire() as connection:
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        assert await connection.fetchval("SELECT 1") == 1
        assert not closing.done()
    await closing

    assert pool._pool.get_size() == 0


async def test_cancelling_anybody_at_any_moment_loses_no_connection(make: MakeConnections) -> None:
    """Two hundred callers of three connections, half of them broken off; afterwards all three are there."""
    pool = await make(3)
    chance = random.Random(3)

    async def call(number: int) -> None:
        if number % 3 == 0:
            async with pool.transaction() as connection:
                await connection.fetch("SELECT pg_sleep(0.001)")
        else:
            await pool.fetch("SELECT 1")

    calls = [asyncio.create_task(call(number)) for number in range(200)]
    for one in chance.sample(calls, 100):
        await asyncio.sleep(chance.random() * 0.002)
        one.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(one) for one in ended} <= {type(None), asyncio.CancelledError}
    await until(lambda: pool.is_whole)
    async with pool.acquire(), pool.acquire(), pool.acquire():
        assert not pool._idle


async def test_a_session_that_ends_under_a_statement_may_pass(database_url: Callable[[str], str]) -> None:
    """Also in the turn in which the server's last word has come, and the end of its connection has not."""
    url = database_url("orders")
    database = Database(DatabaseSettings(url, pool_max=1))
    await database.open()
    keeper = await asyncpg.connect(url)
    told: list[Exception] = []

    async def ask() -> None:
        while len(told) < 100:
            try:
                await database.fetch("SELECT 1")
            except Exception as error:  # noqa: BLE001 - which ones come is the question.
                told.append(error)

    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wake' AND datname = $1"
    name = await keeper.fetchval("SELECT current_database()")
    try:
        asking = asyncio.create_task(ask())
        while not asking.done():
            await keeper.fetch(end, name)
        await asking
    finally:
        await keeper.close()
        await database.close()

    assert {type(one) for one in told} == {Unavailable}
