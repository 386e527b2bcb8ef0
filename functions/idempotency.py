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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from eventing.queries import Queries
from eventing.transaction import Transaction
from functions.database import Pool
from functions.errors import BadRequest, StillRunning, Unprocessable

_queries = Queries.beside(__file__)
_KEY = re.compile(r'^(?:"(?P<quoted>[\x20\x21\x23-\x7e]{1,255})"|(?P<bare>[\x21\x23-\x7e]{1,255}))$')
_KEPT_HEADERS = ("content-type", "location")


@dataclass(frozen=True)
class Claim:
    """Whose request, to do what, under which key; and a digest of what exactly was asked for."""

    subject: str
    operation: str
    key: str
    fingerprint: bytes


def claim(request: Request, subject: str, operation: str, asked: BaseModel) -> Claim | None:
    """The claim that a request makes; None where it has no Idempotency-Key.

    The fingerprint is of the validated request, so that white space and the order of fields do not matter.

    Raises:
        BadRequest: the key is no string of 1 to 255 printable ASCII characters.
    """
    value = request.headers.get("idempotency-key")
    if value is None:
        return None
    found = _KEY.match(value.strip())
    if found is None:
        raise BadRequest("Idempotency-Key has to be 1 to 255 printable ASCII characters.")
    content = json.dumps(asked.model_dump(mode="json"), sort_keys=True).encode()
    digest = hashlib.sha256(operation.encode() + b"\0" + content).digest()
    return Claim(subject, operation, found["quoted"] or found["bare"], digest)


async def once(transaction: Transaction, claimed: Claim | None, work: Callable[[], Awaitable[Response]]) -> Response:
    """Do the work and keep its answer, or give back the answer that is kept.

    Raises:
        StillRunning: the first request under this key has not ended within two seconds.
        Unprocessable: the key was used for another request.
    """
    if claimed is None:
        return await work()
    identity = (claimed.subject, claimed.operation, claimed.key)
    await transaction.execute(_queries["wait_briefly"])
    try:
        tag = await transaction.execute(_queries["claim"], *identity, claimed.fingerprint)
    except asyncpg.LockNotAvailableError as error:
        raise StillRunning from error
    if tag == "INSERT 0 0":
        return await _replay(transaction, claimed)
    response = await work()
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    await transaction.execute(
        _queries["keep"], *identity, response.status_code, json.dumps(headers), bytes(response.body)
    )
    return response


async def sweep(pool: Pool, older_than: timedelta) -> None:
    """Forget keys of requests that are older; a repetition after that is a new request. Not every area has any."""
    if await pool.fetchval(_queries["is_there"]):
        await pool.execute(_queries["sweep"], older_than)


async def _replay(transaction: Transaction, claimed: Claim) -> Response:
    row = await transaction.fetchrow(_queries["answer"], claimed.subject, claimed.operation, claimed.key)
    if row is None:
        # Swept between the two statements: as good as never seen, at the next try.
        raise StillRunning
    if row["fingerprint"] != claimed.fingerprint:
        raise Unprocessable("This Idempotency-Key was used for another request: use a new key.")
    headers = {**json.loads(row["headers"]), "idempotency-replayed": "true"}
    return Response(bytes(row["body"]), row["status"], headers)
