"""An area's own PostgreSQL database: a small pool, and transactions whose events are published after the commit.

Everything ends at the deadline of the call that it is done for. A statement that is cut short, by its deadline or
because its call was cancelled, is cancelled on the server too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import asyncpg.pool
from fastapi import Depends, Request

from eventing.event import Event
from eventing.transaction import Transaction
from functions import correlation, deadlines
from functions.errors import Unavailable
from functions.migrated import Migrations, NotMigrated

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Committed: TypeAlias = Callable[[Sequence[Event]], Awaitable[None]]
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True)
class DatabaseSettings:
    """How a function uses its database."""

    url: str
    #: Which of `migrated.FOLDERS` it must have had before it is used; None for what is not asked.
    migrations: str | None = None
    #: Connections a process may hold. Few: pods x this must stay below the server's max_connections.
    pool_max: int = 4
    #: Statements that a connection keeps prepared. None behind a pooler that gives each transaction another session.
    statement_cache_size: int = 100
    #: Seconds to wait for a connection of the pool. Short: a caller that is told 503 can do something better.
    acquire_timeout_seconds: float = 3.0
    #: Seconds to establish a connection.
    connect_timeout_seconds: float = 3.0
    #: Seconds a statement may run before the server ends it.
    statement_timeout_seconds: float = 10.0
    #: Seconds a transaction may sit between statements before the server ends it.
    idle_in_transaction_timeout_seconds: float = 15.0

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], url: str = "DATABASE_URL", *, migrations: str | None, pool_max: int = 0
    ) -> DatabaseSettings:
        """Of the database that the variable *url* leads to; DATABASE_POOL_MAX and DATABASE_STATEMENT_CACHE_SIZE."""
        return cls(
            environ[url],
            migrations,
            pool_max=pool_max or int(environ.get("DATABASE_POOL_MAX") or cls.pool_max),
            statement_cache_size=int(environ.get("DATABASE_STATEMENT_CACHE_SIZE") or cls.statement_cache_size),
        )


# Half of what a probe may take where nobody says otherwise (Kubernetes, `timeoutSeconds`).
_PROBE_SECONDS = 0.5
# What PostgreSQL or the network says when trying again may help.
_MAY_PASS: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
)


class Database:
    """The pool of one process.

    Nothing connects before the first transaction, so that a database which is down makes 503s and not a function that
    does not start.
    """

    def __init__(self, settings: DatabaseSettings, committed: Committed | None = None) -> None:
        """*committed* is told the events of each transaction right after its commit; it must not raise."""
        self._settings = settings
        self._committed = committed
        self._pool: Pool | None = None
        self._migrations = Migrations(settings.migrations, urlsplit(settings.url).path.lstrip("/"))
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def pool(self) -> Pool:
        """The pool, for what works through the outbox outside a request."""
        assert self._pool is not None  # noqa: S101 - open() was called when the function started.
        return self._pool

    async def open(self) -> None:
        """Make the pool; connects to nothing."""
        self._pool = await create_pool(self._settings)

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            with contextlib.suppress(Exception):
                await self._pool.close()
            self._pool = None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction: committed at the end, rolled back when an exception leaves it.

        The events that were recorded in it are published once the call has been answered.

        Raises:
            Unavailable: the database cannot be reached, or had to end the transaction. Whether a commit that was under
                way came through is then not known; the caller repeats with the same key and finds out.
            DeadlineExceeded: the call's deadline came first; for the rest as above.
        """
        with translated():
            async with deadlines.bounded(), self._begun() as connection:
                await self._migrations.require(connection)
                transaction = Transaction(connection)
                yield transaction
        correlation.current().recorded.extend(transaction.events)
        if transaction.events and self._committed is not None:
            await self._committed(transaction.events)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement, outside any transaction; raises Unavailable, DeadlineExceeded."""
        with translated():
            async with deadlines.bounded():
                connection = await self.pool.acquire(timeout=self._settings.acquire_timeout_seconds)
                try:
                    await self._migrations.require(connection)
                    rows = await connection.fetch(statement, *arguments)
                except asyncio.CancelledError:
                    self._leave(self.pool.release(connection))
                    raise
                except BaseException:
                    await self.pool.release(connection)
                    raise
                await self.pool.release(connection)
                return rows

    @contextlib.asynccontextmanager
    async def _begun(self) -> AsyncIterator[Connection]:
        """A connection of the pool, in a transaction."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                acquiring = self.pool.acquire(timeout=self._settings.acquire_timeout_seconds)
                connection = await stack.enter_async_context(acquiring)
                await stack.enter_async_context(connection.transaction())
                yield connection
            except asyncio.CancelledError as cancelled:
                self._leave(stack.pop_all().__aexit__(type(cancelled), cancelled, None))
                raise

    def _leave(self, cleaning: Awaitable[object]) -> None:
        """Whoever is cancelled does not wait until the server has cancelled the statement and rolled back.

        That goes on by itself, and gives the connection back, or up.
        """
        task = asyncio.create_task(_left(cleaning))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def fetchrow(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """The first row of one statement, outside any transaction; raises Unavailable."""
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def require_migrated(self) -> None:
        """For what uses the pool itself; raises NotMigrated, Unavailable, DeadlineExceeded."""
        if not self._migrations.complete:
            async with self.transaction():
                pass

    async def is_migrated(self) -> bool:
        """Whether it may be used, as far as it says so; one that does not answer says nothing against it."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self.require_migrated()
        except NotMigrated:
            return False
        except (Unavailable, TimeoutError):
            return True
        return True


async def _left(cleaning: Awaitable[object]) -> None:
    # A connection that cannot be cleaned up is closed by the pool, and nobody waits for this.
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await cleaning


async def create_pool(settings: DatabaseSettings) -> Pool:
    """A pool that connects when it is first used."""

    async def keep(_: Any) -> None:
        """Sessions are left as they are: settings are changed with SET LOCAL only, so there is nothing to reset.

        Behind a pooler there would be too much: what its connect_query has set.
        """

    pool = asyncpg.create_pool(
        settings.url,
        min_size=0,
        max_size=settings.pool_max,
        statement_cache_size=settings.statement_cache_size,
        timeout=settings.connect_timeout_seconds,
        command_timeout=settings.statement_timeout_seconds + 1,
        reset=keep,
        server_settings={
            "application_name": "wake",
            "statement_timeout": f"{settings.statement_timeout_seconds:g}s",
            "idle_in_transaction_session_timeout": f"{settings.idle_in_transaction_timeout_seconds:g}s",
        },
    )
    return await pool


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what may pass into Unavailable; what is our own fault stays what it is, a bug."""
    try:
        yield
    except _MAY_PASS as error:
        raise Unavailable("The database is not available at the moment: try again.") from error


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


InDatabase = Annotated[Database, Depends(_database)]
