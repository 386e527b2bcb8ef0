"""The connections of a process to its database, which go from one statement to the next.

asyncpg's pool makes them, cleans up after what was cut short, and closes what is not used; giving a connection back
to it costs a task and some timeouts, as much as a short statement does (decision 0066). So it is given back only when
something went wrong, or when nobody wanted it for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import asyncpg.pool

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
# Longer than the pause between the calls of one order, shorter than what a firewall forgets.
_KEEP_SECONDS = 30.0


@dataclass(frozen=True)
class Statistics:
    """How many connections are open, of those idle, and may be; and the time that callers waited for one, together."""

    open: int
    idle: int
    most: int
    waited_seconds: float


class Connections:
    """At most *most* connections, each used by one at a time; who waits is served in the order of coming."""

    def __init__(self, pool: Pool, most: int, acquire_timeout_seconds: float) -> None:
        self._pool = pool
        self._most = most
        self._timeout = acquire_timeout_seconds
        self._lent = 0
        self._closing = False
        self._idle: list[tuple[Connection, float]] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._retiring: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._waited_seconds = 0.0

    def statistics(self) -> Statistics:
        """As it is now."""
        return Statistics(self._lent, len(self._idle), self._most, self._waited_seconds)

    async def close(self) -> None:
        """Close every connection, once those that use them are done."""
        self._closing = True
        if self._retiring is not None:
            self._retiring.cancel()
        while self._idle:
            await self._given_up(self._idle.pop()[0])
        await self._pool.close()

    async def settled(self) -> None:
        """Wait until all that was cut short is cancelled on the server, and rolled back."""
        while self._leaving:
            await asyncio.wait(self._leaving)

    @property
    def is_whole(self) -> bool:
        """Whether nobody uses a connection, waits for one, or cleans one up."""
        return self._lent == len(self._idle) and not self._leaving

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A connection for more than one statement.

        Raises:
            TimeoutError: all were in use for `acquire_timeout_seconds`.
            OSError, asyncpg.PostgresError: as asyncpg's pool raises them, where a new one is needed.
        """
        connection = await self._take()
        try:
            yield connection
        except BaseException as error:
            await self._after(connection, error)
            raise
        self._give(connection)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back when an exception leaves it."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self.acquire())
                await stack.enter_async_context(connection.transaction())
                yield connection
            except asyncio.CancelledError as cancelled:
                # Whoever is cancelled does not wait until the server has cancelled the statement and rolled back.
                self._leave(stack.pop_all().__aexit__(type(cancelled), cancelled, None))
                raise

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement; raises as `acquire` does, and what the statement raises."""
        connection = await self._take()
        try:
            rows = await connection.fetch(statement, *arguments)
        except BaseException as error:
            await self._after(connection, error)
            raise
        self._give(connection)
        return rows

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """The first column of the first row, or None."""
        rows = await self.fetch(statement, *arguments)
        return rows[0][0] if rows else None

    async def execute(self, statement: str, *arguments: object) -> str:
        """PostgreSQL's command tag of one statement, such as `DELETE 3`."""
        async with self.acquire() as connection:
            return await connection.execute(statement, *arguments)

    async def _take(self) -> Connection:
        while self._idle:
            connection, _ = self._idle.pop()
            if _is_open(connection):
                return connection
            self._leave(self._given_up(connection))
        began = time.monotonic()
        try:
            return await self._wait_for_one()
        finally:
            self._waited_seconds += time.monotonic() - began

    async def _wait_for_one(self) -> Connection:
        if self._lent >= self._most:
            handed = await self._turn()
            if handed is not None:
                return handed
        else:
            self._lent += 1
        try:
            return await self._pool.acquire(timeout=self._timeout)
        except BaseException:
            self._free_place()
            raise

    async def _turn(self) -> Connection | None:
        """Wait for a connection, or (None) for the place of one that is gone."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._timeout):
                return await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # It came at the very moment when nobody wanted it any more.
                handed = turn.result()
                self._free_place() if handed is None else self._give(handed)
            raise

    def _give(self, connection: Connection) -> None:
        if self._closing or not _is_open(connection):
            self._leave(self._given_up(connection))
        elif (turn := self._next()) is not None:
            turn.set_result(connection)
        else:
            loop = asyncio.get_running_loop()
            self._idle.append((connection, loop.time()))
            if self._retiring is None:
                self._retiring = loop.call_later(_KEEP_SECONDS, self._retire)

    def _next(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _free_place(self) -> None:
        """One connection is no longer there: whoever waits may make another."""
        turn = self._next()
        if turn is None:
            self._lent -= 1
        else:
            turn.set_result(None)

    def _retire(self) -> None:
        """Give back what nobody used for so long; the pool closes it when it is not wanted there either."""
        loop = asyncio.get_running_loop()
        before = loop.time() - _KEEP_SECONDS
        # What was used last is taken first, so that the oldest stand at the front.
        while self._idle and self._idle[0][1] <= before:
            self._leave(self._given_up(self._idle.pop(0)[0]))
        self._retiring = None
        if self._idle:
            self._retiring = loop.call_at(self._idle[0][1] + _KEEP_SECONDS, self._retire)

    async def _after(self, connection: Connection, error: BaseException) -> None:
        """Let the pool clean up: it cancels on the server what was cut short, and rolls back."""
        cleaning = self._given_up(connection)
        if isinstance(error, asyncio.CancelledError):
            # Whoever is cancelled does not wait for that.
            self._leave(cleaning)
        else:
            await cleaning

    def _leave(self, cleaning: Awaitable[object]) -> None:
        task = asyncio.create_task(_left(cleaning))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _given_up(self, connection: Connection) -> None:
        try:
            await self._pool.release(connection)
        finally:
            self._free_place()


def _is_open(connection: Connection) -> bool:
    # The pool takes back at once what the server closed, and says so in its own way.
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False


async def _left(cleaning: Awaitable[object]) -> None:
    # A connection that cannot be cleaned up is closed by the pool, and nobody waits for this.
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await cleaning
