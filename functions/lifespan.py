"""What every function has, however it is called: its resources from start to end, and events published after a call."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from eventing import outbox
from eventing.publisher import Publisher
from functions import cache, secrets
from functions.cache import Cache
from functions.correlation import Call
from functions.database import Database, DatabaseSettings
from functions.deadlines import DeadlineSettings
from functions.metrics import Metrics
from functions.pressure import Pressure, PressureSettings

_log = logging.getLogger("functions")
Resource = Callable[[], contextlib.AbstractAsyncContextManager[Any]]


class App(Protocol):
    """A function's app. `state` holds `database`, `publisher`, `started`, and its own resources by their names."""

    @property
    def database(self) -> str | None:
        """Which of `migrated.FOLDERS` DATABASE_URL leads to."""

    @property
    def state(self) -> Any:
        """Anything can be set on it."""

    @property
    def metrics(self) -> Metrics:
        """What it counts."""

    @property
    def resources(self) -> Mapping[str, Resource]:
        """What it opens beside its database."""


def name_of(module: str) -> tuple[str, str]:
    """The area and the name of an operation: `functions.orders.place` is (`orders`, `orders-place`)."""
    area, verb = module.split(".")[-2:]
    return area, f"{area}-{verb.replace('_', '-')}"


@dataclass(frozen=True)
class Means:
    """What the environment names; apps of one database that are in one process share it."""

    cache: Cache
    database: Database | None
    publisher: Publisher | None


@contextlib.asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    """Start an app with what the environment names, as an app that is alone in its process; close it all in reverse.

    Raises:
        KnownSecret: a secret in it is a placeholder, or one that everybody knows.
    """
    async with opened("DATABASE_URL", app.database) as means, started(app, means):
        yield


@contextlib.asynccontextmanager
async def opened(database_variable: str | None, migrations: str | None) -> AsyncIterator[Means]:
    """What the environment names, with the database that this variable does, which must have had these migrations.

    Raises:
        KnownSecret: a secret in it is a placeholder, or one that everybody knows.
    """
    secrets.require_own(os.environ)
    publisher = Publisher.from_environment(os.environ)
    async with contextlib.AsyncExitStack() as stack:
        kept = await stack.enter_async_context(cache.opened(os.environ))
        database = None
        if database_variable is not None and database_variable in os.environ:
            settings = DatabaseSettings.from_environment(os.environ, database_variable, migrations=migrations)
            database = Database(settings, kept.forget_own)
        if database is not None:
            await database.open()
            stack.push_async_callback(database.close)
        if publisher is not None:
            stack.push_async_callback(publisher.close)
        yield Means(kept, database, publisher)


@contextlib.asynccontextmanager
async def started(app: App, means: Means) -> AsyncIterator[None]:
    """Give an app its means, and open what it has beside them."""
    app.state.deadlines = DeadlineSettings.from_environment(os.environ)
    app.state.pressure = Pressure(PressureSettings.from_environment(os.environ))
    app.state.cache, app.state.database, app.state.publisher = means.cache, means.database, means.publisher
    async with contextlib.AsyncExitStack() as stack:
        if means.database is not None:
            stack.enter_context(app.metrics.measuring(partial(means.database.measured, app.metrics.function)))
        for name, resource in app.resources.items():
            setattr(app.state, name, await stack.enter_async_context(resource()))
        app.state.databases = tuple(_databases(app))
        app.state.started = True
        app.metrics.ready(time.time())
        try:
            yield
        finally:
            app.state.started = False


def _databases(app: App) -> Iterator[Database]:
    """Its area's, and those that are among its resources."""
    for name in ("database", *app.resources):
        opened = getattr(app.state, name)
        held = opened if isinstance(opened, tuple) else getattr(opened, "databases", (opened,))
        yield from (one for one in held if isinstance(one, Database))


async def is_migrated(app: App) -> bool:
    """Whether none of its databases says that it lacks a migration."""
    return all([await one.is_migrated() for one in app.state.databases])


async def publish(app: App, call: Call) -> None:
    """Publish what was committed, at once, in the process that committed it; a crash leaves it to outbox-relay."""
    if not call.recorded:
        return
    recorded, call.recorded = call.recorded, []
    publisher: Publisher | None = app.state.publisher
    if publisher is None:
        app.metrics.left += len(recorded)
        _log.warning("no_sink", extra={"reason": "K_SINK is not set: the outbox keeps the events"})
        return
    taken = 0
    try:
        taken = await outbox.publish(app.state.database.connections, publisher, recorded)
        app.state.pressure.note(published=taken == len(recorded))
    except Exception:  # noqa: BLE001 - logged whole, see below.
        # The answer is out and the rows are safe; whatever this was, it costs time only.
        _log.exception("publish_failed")
    finally:
        app.metrics.published += taken
        app.metrics.left += len(recorded) - taken
