"""Compares ledger, orders and card processor, logs every difference and counts them; woken by PingSource."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator

from eventing.event import Event
from eventing.exposition import family
from functions.app import operation
from functions.database import Database, DatabaseSettings
from functions.errors import Unavailable
from functions.payments import books
from functions.payments.cards import port

_log = logging.getLogger("functions")


@contextlib.asynccontextmanager
async def orders() -> AsyncIterator[Database]:
    """The orders' database, to read (ORDERS_DATABASE_URL)."""
    url = "ORDERS_DATABASE_URL"
    database = Database(DatabaseSettings.from_environment(os.environ, url, migrations="orders", pool_max=1))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


app = operation(__name__)
app.opens("processor", port.chosen)
app.opens("orders", orders)


@app.on_any_event
async def reconcile(_: Event, database: Database) -> None:
    """One line of log for each difference; nothing is changed."""
    count = 0
    try:
        async for difference in books.differences(database, app.state.orders, app.state.processor):
            _log.error("books_differ", extra={"reason": difference})
            count += 1
    except port.ProcessorSilent as silence:
        raise Unavailable(f"The card processor: {silence}") from silence
    app.state.differences = count


@app.metrics.measures
async def measure() -> list[str]:
    """How many there were when this process last compared; nothing where it has not."""
    count: int | None = getattr(app.state, "differences", None)
    samples = [] if count is None else [({"function": app.name}, count)]
    return list(family("wake_books_differences", "gauge", "Differences found when last compared.", samples))
