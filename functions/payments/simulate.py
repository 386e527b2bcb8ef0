"""A card processor that misbehaves on demand, as one more function; a card's token says how.

It keeps books of its own: under the same Idempotency-Key it does a thing once and answers the same, and it misbehaves
the first time only, as the real ones do.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from eventing.queries import Queries
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.errors import NotFound, Unprocessable
from functions.problems import problem

_queries = Queries.beside(__file__)
_SLOW = re.compile(r"^tok_slow_(\d{1,3})$")
_CAPTURED = frozenset({"tok_approve", "tok_timeout_captured", "tok_500_captured"})
# Whoever waits longer than this for an answer that never comes has gone.
_SILENCE_SECONDS = 60.0

Key = Annotated[str, Header(alias="idempotency-key", min_length=1, max_length=255)]
Decimal = Annotated[str, Field(pattern=r"^[0-9]{1,16}(\.[0-9]{1,3})?$")]


class Charge(StrictModel):
    """What to take from which card."""

    amount: Decimal
    currency: str = Field(pattern="^[A-Z]{3}$")
    token: str = Field(max_length=64)


class Refund(StrictModel):
    """What to give back of which charge."""

    charge: str = Field(max_length=255)
    amount: Decimal
    currency: str = Field(pattern="^[A-Z]{3}$")


app = operation(__name__)


def outcome(token: str) -> tuple[str, str | None]:
    """What becomes of a charge on this token, and why."""
    if token in _CAPTURED or _SLOW.match(token):
        return "captured", None
    if token == "tok_decline":  # noqa: S105 - the name of a test card.
        return "declined", "card_declined"
    return "declined", "webhooks_not_supported" if token.startswith("tok_webhook") else "unknown_token"


@app.post("/charges")
async def charge(request: Request, asked: Annotated[Charge, body(Charge)], key: Key, database: InDatabase) -> Response:
    """Capture or decline, and then misbehave as the token says."""
    result, reason = outcome(asked.token)
    async with database.transaction() as transaction:
        row = await transaction.fetchrow(
            _queries["charge"], key, asked.amount, asked.currency, asked.token, result, reason
        )
    if row is None or (row["amount"], row["currency"], row["token"]) != (asked.amount, asked.currency, asked.token):
        raise Unprocessable("This Idempotency-Key was used for another charge.")
    if row["calls"] == 1:
        misbehaved = await _misbehave(request, asked.token)
        if misbehaved is not None:
            return misbehaved
    return JSONResponse({name: row[name] for name in ("key", "amount", "currency", "outcome", "reason")})


@app.post("/refunds")
async def refund(asked: Annotated[Refund, body(Refund)], key: Key, database: InDatabase) -> Response:
    """Give back the whole of a captured charge, once."""
    async with database.transaction() as transaction:
        charged = await transaction.fetchrow(_queries["get_charge"], asked.charge)
        if charged is None or charged["outcome"] != "captured":
            raise NotFound("There is no captured charge of this key.")
        if (charged["amount"], charged["currency"]) != (asked.amount, asked.currency):
            raise Unprocessable("The amount is not that of the charge.")
        await transaction.fetchrow(_queries["refund"], key, asked.charge, asked.amount, asked.currency)
    return JSONResponse({"key": key, "outcome": "refunded", "amount": asked.amount, "currency": asked.currency})


@app.get("/charges/{key}")
async def look_up(key: str, database: InDatabase) -> Response:
    """What became of a charge, and how often it was asked for."""
    row = await database.fetchrow(_queries["get_charge"], key)
    if row is None:
        raise NotFound("There is no charge of this key.")
    return JSONResponse({name: row[name] for name in ("key", "amount", "currency", "outcome", "reason", "calls")})


async def _misbehave(request: Request, token: str) -> Response | None:
    """What this token does the first time, after it was charged: nothing, be slow, be silent, or answer 500."""
    if (slow := _SLOW.match(token)) is not None:
        await asyncio.sleep(int(slow[1]))
    if token == "tok_timeout_captured":  # noqa: S105 - the name of a test card.
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                # The body was read: what comes next is that the caller has gone.
                await request.receive()
        except TimeoutError:
            pass
        return Response(status_code=504)
    if token == "tok_500_captured":  # noqa: S105 - the name of a test card.
        return problem(500, "Internal Server Error", "It was captured, but this answer does not say so.")
    return None
