"""A database transaction that remembers which events were recorded in it."""

from __future__ import annotations

from typing import Any

import asyncpg
import asyncpg.pool

from eventing.event import Event


class Transaction:
    """An open transaction on one connection. Whoever opened it commits it, and then publishes `events`."""

    def __init__(
        self, connection: asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    ) -> None:
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
