"""The pools of every area's database, and the publisher, for what works through outboxes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from eventing.publisher import Publisher
from functions.connections import Connections
from functions.database import DatabaseSettings, connections

_URLS = ("USERS_DATABASE_URL", "ORDERS_DATABASE_URL", "PAYMENTS_DATABASE_URL")


@dataclass(frozen=True)
class Outboxes:
    """One pool a database that holds an outbox."""

    pools: tuple[Connections, ...]
    publisher: Publisher


@contextlib.asynccontextmanager
async def pools() -> AsyncIterator[tuple[Connections, ...]]:
    """Those that the environment names (USERS_DATABASE_URL and so on)."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for name in _URLS:
            if url := os.environ.get(name):
                made.append(await connections(DatabaseSettings(url, pool_max=1)))
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
        yield Outboxes(await stack.enter_async_context(pools()), publisher)
