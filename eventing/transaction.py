"""A database transaction that remembers which events were recorded in it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

import asyncpg
import asyncpg.pool

from eventing.event import Event

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class Pool(Protocol):
    """The connections of a process to one database; asyncpg's pool is one such."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for more than one statement."""

    async def fetch(self, statement: str, /, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement."""

    async def fetchval(self, statement: str, /, *arguments: object) -> Any:
        """The first value of the first row, or None."""

    async def execute(self, statement: str, /, *arguments: object) -> str:
        """The command tag of one statement."""


class Transaction:
    """An open transaction on one connection. Whoever opened it commits it, and then publishes `events`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.events: list[Event] = []

    async def execute(self, statement: str, *arguments: object) -> str:
        """Run a statement; answers its command tag."""
        return await self._connection.execute(statement, *arguments)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows."""
        return await self._connection.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self._connection.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """The first value of the first row, or None."""
        return await self._connection.fetchval(statement, *arguments)
