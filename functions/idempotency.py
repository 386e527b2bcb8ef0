"""`Idempotency-Key`: the same request twice is done once, and answered the same.

The claim on a key is part of the transaction that does the work: a crash takes both back, a second request waits for
the first one's end on the key itself, and no claim can be left behind. Kept are answers of work that was committed; a
request that failed may be repeated under its key.

The header is that of the IETF draft (draft-ietf-httpapi-idempotency-key-header), its value quoted or bare.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from eventing.queries import Queries
from eventing.transaction import Transaction
from functions.connections import Connections
from functions.database import Database
from functions.errors import BadRequest, Refusal, StillRunning, Unprocessable

_queries = Queries.beside(__file__)
_QUOTED = re.compile(r'^"([^"]*)"$')
_KEY = re.compile(r"^[\x20\x21\x23-\x7e]{1,255}$")
# How long a request waits for the first one under its key; as PostgreSQL's lock_timeout has it.
PATIENCE = "2s"
_KEPT_HEADERS = ("content-type", "location")


@dataclass(frozen=True)
class Claim:
    """Whose request, to do what, under which key; and a digest of what exactly was asked for."""

    subject: str
    operation: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True)
class Answer:
    """What a request was answered. `replayed` says that it is the answer to the first one under the key, again."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    replayed: bool = False

    def response(self) -> Response:
        """As it goes out over HTTP."""
        replayed = {"idempotency-replayed": "true"} if self.replayed else {}
        return Response(self.body, self.status, {**self.headers, **replayed})


def claim(request: Request, subject: str, operation: str, asked: BaseModel) -> Claim | None:
    """The claim that a request makes; None where it has no Idempotency-Key.

    Raises:
        BadRequest: the key is none.
    """
    value = request.headers.get("idempotency-key")
    if value is None:
        return None
    quoted = _QUOTED.fullmatch(value.strip())
    key = value.strip() if quoted is None else quoted[1]
    if quoted is None and " " in key:
        raise BadRequest("Idempotency-Key has to be quoted where it has a space in it.")
    return claim_of(key, subject, operation, asked)


def claim_of(key: str, subject: str, operation: str, asked: BaseModel) -> Claim:
    """The claim on a key, whichever way it came.

    The fingerprint is of the validated request, so that white space and the order of fields do not matter.

    Raises:
        BadRequest: the key is no string of 1 to 255 printable ASCII characters.
    """
    if _KEY.fullmatch(key) is None:
        raise BadRequest("Idempotency-Key has to be 1 to 255 printable ASCII characters.")
    content = json.dumps(asked.model_dump(mode="json"), sort_keys=True).encode()
    return Claim(subject, operation, key, hashlib.sha256(operation.encode() + b"\0" + content).digest())


async def once(transaction: Transaction, claimed: Claim | None, work: Callable[[], Awaitable[Response]]) -> Response:
    """Do the work and keep its answer, or give back the answer that is kept.

    Raises:
        StillRunning: the first request under this key has not ended within two seconds.
        Unprocessable: the key was used for another request.
    """
    if claimed is None:
        return await work()
    (kept,) = await claim_all(transaction, [claimed])
    if kept is not None:
        return _given(kept).response()
    response = await work()
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    await keep_all(transaction, [(claimed, Answer(response.status_code, headers, bytes(response.body)))])
    return response


async def claim_all(
    transaction: Transaction, claims: Sequence[Claim], *, patience: str = PATIENCE
) -> list[Answer | Unprocessable | None]:
    """Claim keys that differ, of one subject and operation; for each the answer that is kept, None where it is new.

    Unprocessable stands for a key that was used for another request. Keys are claimed in their own order, whatever the
    order they come in: of two that want the same ones each waits for the other, never both.

    Raises:
        StillRunning: the first request under one of them has not ended within *patience*; nothing is claimed.
    """
    if not claims:
        return []
    await transaction.execute(_queries["wait"], patience)
    try:
        new = await transaction.fetch(_queries["claim"], *_columns(claims), [one.fingerprint for one in claims])
    except asyncpg.LockNotAvailableError as error:
        raise StillRunning from error
    claimed = {row["key"] for row in new}
    if len(claimed) == len(claims):
        return [None] * len(claims)
    kept = _by_key(await transaction.fetch(_queries["answers"], *_columns(claims)))
    return [None if one.key in claimed else _answer(one, kept.get(one.key)) for one in claims]


async def keep_all(transaction: Transaction, answers: Sequence[tuple[Claim, Answer]]) -> None:
    """Keep what the requests behind claimed keys, of one subject and operation, are answered."""
    if not answers:
        return
    await transaction.execute(
        _queries["keep"],
        *_columns([claimed for claimed, _ in answers]),
        [answer.status for _, answer in answers],
        [json.dumps(dict(answer.headers)) for _, answer in answers],
        [answer.body for _, answer in answers],
    )


async def kept(database: Database, claims: Sequence[Claim]) -> list[Answer | Unprocessable | None]:
    """As `claim_all`, but nothing is claimed: for what cannot be done now, and may have been done before."""
    rows = _by_key(await database.fetch(_queries["answers"], *_columns(claims))) if claims else {}
    return [_answer(one, rows[one.key]) if one.key in rows else None for one in claims]


async def sweep(pool: Connections, older_than: timedelta) -> None:
    """Forget keys of requests that are older; a repetition after that is a new request. Not every area has any."""
    if await pool.fetchval(_queries["is_there"]):
        await pool.execute(_queries["sweep"], older_than)


def _columns(claims: Sequence[Claim]) -> tuple[str, str, list[str]]:
    """Subject and operation, which they have in common, and their keys."""
    return claims[0].subject, claims[0].operation, [one.key for one in claims]


def _by_key(rows: Sequence[asyncpg.Record]) -> dict[str, asyncpg.Record]:
    return {row["key"]: row for row in rows}


def _answer(claimed: Claim, row: asyncpg.Record | None) -> Answer | Unprocessable:
    """What is kept under a key.

    Raises:
        StillRunning: it was swept between the two statements: as good as never seen, at the next try.
    """
    if row is None:
        raise StillRunning
    if row["fingerprint"] != claimed.fingerprint:
        return Unprocessable("This Idempotency-Key was used for another request: use a new key.")
    return Answer(row["status"], json.loads(row["headers"]), bytes(row["body"]), replayed=True)


def _given(outcome: Answer | Refusal) -> Answer:
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome
