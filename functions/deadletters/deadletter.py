"""A dead letter as the API shows it, and its place in the database."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from uuid import UUID

import asyncpg

from eventing.event import Event, new_id, rfc3339
from eventing.queries import Queries
from eventing.transaction import Transaction
from functions.database import Database
from functions.errors import NotFound

_queries = Queries.beside(__file__)
_REFUSED = ".event-refused.v1"


class UnknownDeadLetter(NotFound):
    """There is no such dead letter."""


async def keep(transaction: Transaction, event: Event) -> None:
    """Keep an event as it arrived; the same one from the same destination is kept once."""
    extensions = dict(event.extensions)
    destination = extensions.pop("knativeerrordest", "")
    await transaction.execute(
        _queries["keep"],
        UUID(new_id()),
        "refused" if event.type.endswith(_REFUSED) else "undeliverable",
        event.source,
        event.id,
        event.type,
        event.subject,
        destination,
        extensions.pop("knativeerrorcode", None),
        _text(extensions.pop("knativeerrordata", "")),
        json.dumps(event.attributes),
        event.data,
    )


async def page(database: Database, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """Dead letters, the newest first, without what is in them."""
    return [_summary(row) for row in await database.fetch(_queries["list"], before, limit)]


async def get(database: Database, letter_id: str) -> dict[str, Any]:
    """One dead letter, whole.

    Raises:
        UnknownDeadLetter: there is none of this id.
    """
    try:
        row = await database.fetchrow(_queries["get"], UUID(letter_id))
    except ValueError as error:
        raise UnknownDeadLetter from error
    if row is None:
        raise UnknownDeadLetter
    data = bytes(row["data"])
    return {
        **_summary(row),
        "attributes": json.loads(row["attributes"]),
        "data_base64": base64.b64encode(data).decode(),
        "data": data.decode(errors="replace"),
    }


def _summary(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "kind": row["kind"],
        "type": row["type"],
        "source": row["source"],
        "event_id": row["event_id"],
        "subject": row["subject"],
        "destination": row["destination"] or None,
        "code": row["code"],
        "answer": row["answer"],
        "received_at": rfc3339(row["received_at"]),
    }


def _text(encoded: str) -> str | None:
    """The start of the failed answer, readable; PostgreSQL's text holds no NUL."""
    try:
        return base64.b64decode(encoded).decode(errors="replace").replace("\0", "\ufffd") or None
    except (binascii.Error, ValueError):
        return None
