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
from fastapi import Depends, Request

from eventing.event import Event
from eventing.exposition import family
from eventing.transaction import Transaction
from functions import correlation, deadlines
from functions.connections import Connections
from functions.errors import Unavailable
from functions.migrated import Migrations, NotMigrated

Committed: TypeAlias = Callable[[Sequence[Event]], Awaitable[None]]


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
    # Between the server's last word on a session and the end of its connection, asyncpg has no better one.
    asyncpg.InternalClientError,
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
        self._connections: Connections | None = None
        self._migrations = Migrations(settings.migrations, urlsplit(settings.url).path.lstrip("/"))

    @property
    def connections(self) -> Connections:
        """The pool, for what works through the outbox outside a request."""
        assert self._connections is not None  # noqa: S101 - open() was called when the function started.
        return self._connections

    async def open(self) -> None:
        """Make the pool; connects to nothing."""
        self._connections = await connections(self._settings)

    async def close(self) -> None:
        """Close every connection."""
        if self._connections is not None:
            with contextlib.suppress(Exception):
                await self._connections.close()
            self._connections = None

    async def settled(self) -> None:
        """Wait until all that was cut short is rolled back: for a process that nobody lets run on after its answer."""
        if self._connections is not None:
            await self._connections.settled()

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
            async with deadlines.bounded(), self.connections.transaction() as connection:
                await self._migrations.require(connection)
                transaction = Transaction(connection)
                yield transaction
        correlation.current().recorded.extend(transaction.events)
        if transaction.events and self._committed is not None:
            await self._committed(transaction.events)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement, outside any transaction; raises Unavailable, DeadlineExceeded."""
        await self.require_migrated()
        with translated():
            async with deadlines.bounded():
                return await self.connections.fetch(statement, *arguments)

    async def measured(self, function: str) -> list[str]:
        """What Prometheus is shown of this pool."""
        me, now = {"function": function}, self.connections.statistics()
        return [
            *family(
                "wake_database_connections",
                "gauge",
                "Connections of the process: open, of those idle, and how many it may have.",
                [
                    ({**me, "what": "open"}, now.open),
                    ({**me, "what": "idle"}, now.idle),
                    ({**me, "what": "max"}, now.most),
                ],
            ),
            *family(
                "wake_database_wait_seconds_total",
                "counter",
                "Time that calls waited for a connection; its rate is how many wait at once.",
                [(me, round(now.waited_seconds, 6))],
            ),
        ]

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


async def connections(settings: DatabaseSettings) -> Connections:
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
    return Connections(await pool, settings.pool_max, settings.acquire_timeout_seconds)


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
