"""Dry runs: what would a function do with this event now? Nothing is written, called or published.

Asked for by the Content-Type of the request, with the event as JSON: so a program that has never heard of dry runs sees
no CloudEvent in it and refuses, where it would have obeyed an event with a header that it does not know. The handler
runs as it is, in a transaction that is rolled back. It stops where it would use anything else that the function opened
(the card processor). Event functions are cluster-local (tests/checks/manifests.py), so nobody outside can ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import asyncpg
import asyncpg.pool
import starlette.datastructures
from fastapi.responses import JSONResponse, Response

from eventing import inbox, strictjson
from eventing.event import Event, is_json
from eventing.inbox import EventReused
from eventing.transaction import Transaction
from functions.connections import Connections
from functions.database import Database, translated
from functions.errors import Rejected, Unavailable

MEDIA_TYPE = "application/vnd.wake.dry-run+json"
_log = logging.getLogger("functions")
_PATIENCE_SECONDS = 10.0
_RECORDS_MAX = 20
# What every function has beside its database and what it opens itself.
_OUTSIDE = frozenset({"cache", "publisher"})

# handle: to its end. skip: it has handled this event already. refuse: never. call: it would go on by calling something
# outside. retry: not now, something is away. fail: a bug, an error that it does not expect.
Would = Literal["handle", "skip", "refuse", "call", "retry", "fail"]
Handler = Callable[[Event], Awaitable[None]]


class StopsHere(BaseException):
    """The handler would use something outside; no `except Exception` of its own may go on from there."""


@dataclass
class Rehearsal:
    """One dry run: what the app's state gives to the handler instead, and what it would have recorded."""

    database: Database | None
    resources: Collection[str]
    recorded: list[Event] = field(default_factory=list)


_running: ContextVar[Rehearsal | None] = ContextVar("rehearsal", default=None)


class State(starlette.datastructures.State):
    """An app's state. In a dry run the database is one that is rolled back, and what was opened stops the handler."""

    def __getattr__(self, key: str) -> Any:
        """What stands under this name."""
        rehearsal = _running.get()
        if rehearsal is not None and key == "database":
            return rehearsal.database
        if rehearsal is not None and (key in rehearsal.resources or key in {"publisher", "cache"}):
            return _Outside(key)
        return super().__getattr__(key)


class _Outside:
    """Stands in for what a function opened."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        raise StopsHere(f"{self._name}.{attribute}")


class _RolledBack(Database):
    """A database on one connection, whose every transaction is part of one that is rolled back."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], recorded: list[Event]) -> None:
        self._only = connection
        self._recorded = recorded

    @property
    def connections(self) -> Connections:
        """Whoever asks for it goes round what is rolled back."""
        raise StopsHere("database.connections")

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A savepoint; its events are kept for the answer, not published."""
        with translated():
            async with self._only.transaction():
                transaction = Transaction(self._only)
                yield transaction
        self._recorded.extend(transaction.events)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement."""
        with translated():
            return await self._only.fetch(statement, *arguments)


def is_asked(content_type: str | None) -> bool:
    """Whether a request asks for a dry run."""
    return (content_type or "").partition(";")[0].strip().lower() == MEDIA_TYPE


async def answer(
    name: str, handle: Handler, event: Event, database: Database | None, opened: Collection[str]
) -> Response:
    """What this function would do, as JSON; `handle` is its handling of the event as it is."""
    recorded: list[Event] = []
    would, reason = await _rehearse(name, handle, event, database, opened, recorded)
    _log.info("dry_run", extra={"event_id": event.id, "would": would, "reason": reason})
    records = [_shown(one) for one in recorded[:_RECORDS_MAX]]
    return JSONResponse({"function": name, "would": would, "reason": reason, "records": records})


async def _rehearse(
    name: str,
    handle: Handler,
    event: Event,
    database: Database | None,
    opened: Collection[str],
    recorded: list[Event],
) -> tuple[Would, str | None]:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), _rolled_back(database, recorded) as rolled_back:
            if rolled_back is not None and await _handled(rolled_back, name, event):
                return "skip", "it has handled this event already"
            await _played(handle, event, Rehearsal(rolled_back, opened, recorded))
            if rolled_back is not None:
                await rolled_back.fetch("SET CONSTRAINTS ALL IMMEDIATE")
    except (StopsHere, Exception) as error:  # noqa: BLE001 - what it is, is the answer.
        return _said(error)
    return "handle", None


def _said(error: BaseException) -> tuple[Would, str]:
    """What it means that a handler ended so."""
    if isinstance(error, StopsHere):
        return "call", f"it would go on by calling {error}, which a dry run does not"
    if isinstance(error, (Rejected, EventReused)):
        return "refuse", str(error)
    if isinstance(error, Unavailable):
        return "retry", str(error)
    if isinstance(error, asyncpg.LockNotAvailableError):
        return "retry", "somebody else is working on the same thing at this moment"
    if isinstance(error, TimeoutError):
        return "retry", f"it was not done within {_PATIENCE_SECONDS:g} s"
    _log.warning("dry_run_failed", exc_info=error)
    return "fail", f"{type(error).__name__}: {error}"[:500]


async def _played(handle: Handler, event: Event, rehearsal: Rehearsal) -> None:
    """Run the handler while the app's state gives what the rehearsal has."""
    token = _running.set(rehearsal)
    try:
        await handle(event)
    finally:
        _running.reset(token)


@contextlib.asynccontextmanager
async def _rolled_back(database: Database | None, recorded: list[Event]) -> AsyncIterator[_RolledBack | None]:
    """A database that forgets everything at the end; nobody who works in earnest waits for its locks for long."""
    if database is None:
        yield None
        return
    await database.require_migrated()
    with translated():
        async with database.connections.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute("SET LOCAL lock_timeout = '500ms'")
                yield _RolledBack(connection, recorded)
            finally:
                await transaction.rollback()


async def _handled(database: _RolledBack, consumer: str, event: Event) -> bool:
    """Whether the inbox knows the event; raises EventReused. Not every database has an inbox."""
    if (await database.fetch("SELECT to_regclass('inbox')"))[0][0] is None:
        return False
    async with database.transaction() as transaction:
        return await inbox.knows(transaction, consumer, event)


def _shown(event: Event) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": event.type, "subject": event.subject}
    with contextlib.suppress(strictjson.InvalidJson):
        shown["data"] = strictjson.parse(event.data if is_json(event.datacontenttype) else b"", depth_max=64)
    return shown
