"""Tells Prometheus what waits in every area's database: counted when it asks, and only then.

Functions sleep at zero, and what they count ends with them. What is stuck is in the databases, whichever Broker moves
the events and whoever is asleep: this is the one process that a scraper always finds (knative/components/observability
keeps it awake; elsewhere nobody wakes it).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from eventing.exposition import family
from eventing.queries import Queries
from functions.app import operation
from functions.database import Database, DatabaseSettings
from functions.errors import Unavailable

# What is asked of each database.
_ASKED: Mapping[str, tuple[str, ...]] = {
    "users": ("outbox",),
    "orders": ("outbox", "orders"),
    "payments": ("outbox", "payments", "refunds"),
    "deadletters": ("letters",),
}
# A database that hangs must not hold up what is known of the others: Prometheus gives up after ten seconds.
_PATIENCE_SECONDS = 4.0
_queries = Queries.beside(__file__)
app = operation(__name__)


@dataclass(frozen=True)
class Waiting:
    """What waits in one database: of each kind how many, and the age of the oldest in seconds."""

    waiting: Mapping[str, tuple[int, float]]
    connections: int
    connections_max: int


Found: TypeAlias = "Mapping[str, Waiting | None]"


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[dict[str, Database]]:
    """One connection at most to each database that the environment names (ORDERS_DATABASE_URL and so on)."""
    async with contextlib.AsyncExitStack() as stack:
        databases: dict[str, Database] = {}
        for area in _ASKED:
            if os.environ.get(url := f"{area.upper()}_DATABASE_URL"):
                # It waits for no migration: what is not there yet is told as a database that does not answer.
                settings = DatabaseSettings.from_environment(os.environ, url, migrations=None, pool_max=1)
                databases[area] = Database(settings)
                await databases[area].open()
                stack.push_async_callback(databases[area].close)
        yield databases


app.opens("asked", opened)


@app.metrics.measures
async def measure() -> list[str]:
    """Ask all of them at once."""
    databases: dict[str, Database] = app.state.asked
    found = await asyncio.gather(*(_ask(area, database) for area, database in databases.items()))
    return lines(dict(zip(databases, found, strict=True)))


async def _ask(area: str, database: Database) -> Waiting | None:
    """What waits in one database; None where it does not say."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            rows = {kind: (await database.fetch(_queries[kind]))[0] for kind in _ASKED[area]}
            (server,) = await database.fetch(_queries["connections"])
    except (Unavailable, TimeoutError, asyncpg.PostgresError):
        return None
    waiting = {kind: (row["waiting"], float(row["oldest_seconds"])) for kind, row in rows.items()}
    return Waiting(waiting, server["used"], server["most"])


def lines(found: Found) -> list[str]:
    """As Prometheus reads it. Pure."""
    known = [(area, one) for area, one in found.items() if one is not None]
    waiting = [({"database": area, "what": kind}, both) for area, one in known for kind, both in one.waiting.items()]
    return [
        *family(
            "wake_database_up",
            "gauge",
            "Whether the database answered.",
            (({"database": area}, one is not None) for area, one in found.items()),
        ),
        *family(
            "wake_waiting",
            "gauge",
            "Unpublished events (outbox), orders placed, payments open, refunds to be given, dead letters kept.",
            ((labels, count) for labels, (count, _) in waiting),
        ),
        *family(
            "wake_waiting_oldest_seconds",
            "gauge",
            "How long the oldest of them has waited.",
            ((labels, round(seconds, 1)) for labels, (_, seconds) in waiting),
        ),
        *family(
            "wake_database_server_connections",
            "gauge",
            "Connections that the database's server has: used, and how many it takes (max_connections).",
            (
                ({"database": area, "what": what}, count)
                for area, one in known
                for what, count in (("used", one.connections), ("max", one.connections_max))
            ),
        ),
    ]
