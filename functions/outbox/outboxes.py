"""Every area's database, and the publisher, for what works through outboxes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from eventing.publisher import Publisher
from functions.database import Database, DatabaseSettings
from functions.errors import Unavailable

_AREAS = ("users", "orders", "payments")


@dataclass(frozen=True)
class Outboxes:
    """The databases that hold an outbox."""

    databases: tuple[Database, ...]
    publisher: Publisher


async def in_each(databases: Iterable[Database], work: Callable[[Database], Awaitable[None]]) -> None:
    """Do this in every database, also where one before it cannot be used: an area's outage is no other's.

    Raises:
        Unavailable: what went wrong first, once all had their turn.
    """
    failed: Unavailable | None = None
    for each in databases:
        try:
            await each.require_migrated()
            await work(each)
        except Unavailable as error:
            failed = failed or error
    if failed is not None:
        raise failed


@contextlib.asynccontextmanager
async def databases() -> AsyncIterator[tuple[Database, ...]]:
    """Those that the environment names (USERS_DATABASE_URL and so on)."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for area in _AREAS:
            if os.environ.get(url := f"{area.upper()}_DATABASE_URL"):
                settings = DatabaseSettings.from_environment(os.environ, url, migrations=area, pool_max=1)
                made.append(Database(settings))
                await made[-1].open()
                stack.push_async_callback(made[-1].close)
        yield tuple(made)


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Outboxes]:
    """The same, publishing to K_SINK.

    Raises:
        ValueError: there is no sink.
    """
    publisher = Publisher.from_environment(os.environ)
    if publisher is None:
        raise ValueError("K_SINK is not set: there is nowhere to publish to")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(publisher.close)
        yield Outboxes(await stack.enter_async_context(databases()), publisher)
