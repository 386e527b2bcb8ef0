"""Dead letters in their database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from eventing.event import Event, new_id, rfc3339
from eventing.queries import Queries
from eventing.transaction import Transaction
from functions.database import Database
from functions.deadletters.deadletter import Letter, as_json
from functions.deadletters.failure import Attempt, Failure
from functions.errors import NotFound

_queries = Queries.beside(__file__)
# Longer than any subscriber is waited for; whoever was killed in between holds a letter for so long.
_REDRIVE_LASTS = timedelta(seconds=60)
_BROKER = "the Broker"


class UnknownDeadLetter(NotFound):
    """There is no such dead letter."""


@dataclass(frozen=True)
class Wanted:
    """Which dead letters; None is any. `destination` is a URL, or a function's name."""

    type: str | None = None
    subject: str | None = None
    destination: str | None = None
    state: str | None = None
    since: datetime | None = None


async def keep(transaction: Transaction, failure: Failure) -> None:
    """Keep a failed event. The same one from the same destination is the same letter, with more attempts."""
    letter_id, state = await _letter_of(transaction, failure)
    tags = [await _add_attempt(transaction, letter_id, one) for one in failure.attempts]
    if state is None or not any(tags):
        return
    await transaction.execute(_queries["failed_again"], letter_id, failure.last.code, failure.last.answer)
    if state == "redriven":
        await _add_change(transaction, letter_id, "failed-again", _BROKER, failure.last.answer)


async def _letter_of(transaction: Transaction, failure: Failure) -> tuple[UUID, str | None]:
    """The letter of a failure, locked, and the state it was in; None where it is a new one."""
    if failure.redrive is not None:
        row = await transaction.fetchrow(_queries["redriven_as"], failure.redrive)
        if row is not None:
            return row["id"], row["state"]
    event, letter_id = failure.event, UUID(new_id())
    tag = await transaction.execute(
        _queries["keep"],
        letter_id,
        failure.kind,
        event.source,
        event.id,
        event.type,
        event.subject,
        failure.destination,
        failure.last.code,
        failure.last.answer,
        json.dumps(event.attributes),
        event.data,
    )
    if tag == "INSERT 0 1":
        return letter_id, None
    row = await transaction.fetchrow(_queries["same"], event.source, event.id, failure.destination)
    assert row is not None  # noqa: S101 - it is in the way of the insert, and letters are never deleted.
    return row["id"], row["state"]


async def _add_attempt(transaction: Transaction, letter_id: UUID, one: Attempt) -> bool:
    """Note an attempt; answers whether it is news."""
    tag = await transaction.execute(
        _queries["add_attempt"], letter_id, one.round, one.number, one.at, one.destination, one.code, one.answer
    )
    return tag == "INSERT 0 1"


async def page(database: Database, wanted: Wanted, before: UUID | None, limit: int) -> list[Letter]:
    """Dead letters, the newest first."""
    rows = await database.fetch(
        _queries["list"],
        before,
        wanted.type,
        wanted.subject,
        wanted.destination,
        wanted.state,
        wanted.since,
        limit,
    )
    return [Letter.from_row(row) for row in rows]


async def open_ones(
    database: Database, wanted: Wanted, received_before: datetime, after: UUID | None, limit: int
) -> Sequence[UUID]:
    """The ids of letters that nothing was done about, the oldest first, behind the letter *after*."""
    rows = await database.fetch(
        _queries["next"],
        after,
        wanted.type,
        wanted.subject,
        wanted.destination,
        wanted.since,
        received_before,
        limit,
    )
    return [row["id"] for row in rows]


async def get(database: Database, letter_id: UUID) -> Letter:
    """One dead letter.

    Raises:
        UnknownDeadLetter: there is none of this id.
    """
    row = await database.fetchrow(_queries["get"], letter_id)
    if row is None:
        raise UnknownDeadLetter
    return Letter.from_row(row)


async def lock(transaction: Transaction, letter_id: UUID) -> Letter:
    """One dead letter, which nobody else changes until the transaction ends; raises UnknownDeadLetter."""
    await transaction.execute(_queries["lock"], letter_id)
    row = await transaction.fetchrow(_queries["get"], letter_id)
    if row is None:
        raise UnknownDeadLetter
    return Letter.from_row(row)


async def attempts(database: Database, letter_id: UUID) -> list[dict[str, Any]]:
    """Every attempt that is known, the first first."""
    rows = await database.fetch(_queries["attempts"], letter_id)
    return [{**dict(row), "at": rfc3339(row["at"])} for row in rows]


async def changes(database: Database, letter_id: UUID) -> list[dict[str, Any]]:
    """Who did what with it, the first first; an edit with the event before and after."""
    rows = await database.fetch(_queries["changes"], letter_id)
    return [
        {
            **{name: row[name] for name in ("what", "who", "why")},
            "at": rfc3339(row["at"]),
            **{name: json.loads(bytes(row[name])) for name in ("before", "after") if row[name] is not None},
        }
        for row in rows
    ]


async def save_edit(transaction: Transaction, before: Letter, after: Letter, who: str, why: str) -> None:
    """Write an edit of a locked letter, and who made it of what, and why."""
    edited = after.edited
    attributes = None if edited is None else json.dumps(edited.attributes)
    await transaction.execute(
        _queries["edit"], after.id, attributes, None if edited is None else edited.data, after.version
    )
    await _add_change(transaction, after.id, "edited", who, why, before.event, after.event)


async def discard(transaction: Transaction, letter: Letter, who: str, why: str) -> None:
    """Nothing will be done about a locked letter; it is kept for the record."""
    await transaction.execute(_queries["discard"], letter.id)
    await _add_change(transaction, letter.id, "discarded", who, why)


async def begin_redrive(transaction: Transaction, letter: Letter, who: str) -> UUID:
    """From now on, for a while, a locked letter is only this caller's to send; answers the redrive's id."""
    redrive_id = UUID(new_id())
    await transaction.execute(_queries["begin_redrive"], letter.id, redrive_id, _REDRIVE_LASTS)
    await _add_change(transaction, letter.id, "redriven", who, None)
    return redrive_id


async def end_redrive(transaction: Transaction, letter_id: UUID, attempt: Attempt, *, handled: bool) -> bool:
    """Write what became of a redrive; answers whether the letter is settled.

    A refusal may have come by the Broker before the answer to the redrive did: it stays.
    """
    await transaction.execute(_queries["lock"], letter_id)
    settled = await _add_attempt(transaction, letter_id, attempt) and handled
    await transaction.execute(_queries["end_redrive"], letter_id, settled, attempt.code, attempt.answer)
    return settled


async def _add_change(
    transaction: Transaction,
    letter_id: UUID,
    what: str,
    who: str,
    why: str | None,
    before: Event | None = None,
    after: Event | None = None,
) -> None:
    told = [None if one is None else as_json(one) for one in (before, after)]
    await transaction.execute(_queries["add_change"], letter_id, what, who, why, *told)
