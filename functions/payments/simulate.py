"""A card processor that misbehaves on demand, as one more function; a card's token says how.

It keeps books of its own: under the same Idempotency-Key it does a thing once and answers the same, and it misbehaves
the first time only, as the real ones do. Its webhooks are rows until they are sent: a restart sends them later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from fastapi import Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from eventing.httpclient import client
from eventing.queries import Queries
from eventing.transaction import Transaction
from functions import correlation
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.correlation import Call
from functions.database import Database, InDatabase
from functions.errors import Conflict, NotFound, Unprocessable
from functions.money import Money
from functions.payments import webhooks
from functions.payments.cards.cards import Card, Webhooks, card
from functions.problems import problem

_queries = Queries.beside(__file__)
# Whoever waits longer than this for an answer that never comes has gone.
_SILENCE_SECONDS = 60.0
_PAGE = 200

Key = Annotated[str, Header(alias="idempotency-key", min_length=1, max_length=255)]
Decimal = Annotated[str, Field(pattern=r"^[0-9]{1,16}(\.[0-9]{1,3})?$")]


class Amount(StrictModel):
    """How much."""

    amount: Decimal
    currency: str = Field(pattern="^[A-Z]{3}$")


class Charge(Amount):
    """What to hold on which card."""

    token: str = Field(max_length=64)


class Refund(Amount):
    """What to give back of which charge."""

    charge: str = Field(max_length=255)


@dataclass
class Sender:
    """Sends webhooks when they are due."""

    url: str | None
    secret: str
    client: httpx.AsyncClient
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def later(self, database: Database, row: asyncpg.Record | dict[str, Any]) -> None:
        """Send one after its seconds; not at all where nobody listens."""
        if self.url is not None:
            task = asyncio.create_task(self.send(database, row["id"], row["charge"], row["seconds"], row["signed"]))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def send(self, database: Database, webhook: UUID, charge: str, seconds: float, signed: bool) -> None:
        """Send one; what nobody takes is tried again, as the real ones do, five times."""
        # It is no part of the call any more that it was recorded in, nor ends at that call's deadline.
        correlation.begin(Call())
        await asyncio.sleep(max(0.0, seconds))
        async with database.transaction() as transaction:
            row = await _ripe(transaction, charge)
        told = {"key": charge, "outcome": "captured"} if row is None else _view(row)
        content = json.dumps({"type": "charge.updated", "data": told}).encode()
        secret = self.secret if signed else "somebody else's"
        for attempt in range(5):
            headers = webhooks.sign(secret, str(webhook), int(time.time()), content)
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.client.post(
                    str(self.url), content=content, headers={**headers, "content-type": "application/json"}
                )
                if answer.is_success or answer.status_code == 401:
                    break
            await asyncio.sleep(0.5 * 2**attempt)
        async with database.transaction() as transaction:
            await transaction.execute(_queries["webhook_sent"], webhook)


@contextlib.asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    """To WEBHOOK_URL, signed with WEBHOOK_SECRET; what an earlier process left is sent now."""
    http = client(secure=False, timeout=httpx.Timeout(10.0))
    made = Sender(os.environ.get("WEBHOOK_URL"), os.environ.get("WEBHOOK_SECRET", ""), http)
    database: Database | None = app.state.database
    if database is not None and made.url is not None:
        with contextlib.suppress(Exception):
            for row in await database.fetch(_queries["webhooks_waiting"]):
                made.later(database, row)
    try:
        yield made
    finally:
        for task in list(made.tasks):
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        await http.aclose()


app = operation(__name__, database="cards")
app.opens("sender", sender)


@app.post("/charges")
async def authorise(asked: Annotated[Charge, body(Charge)], key: Key, database: InDatabase) -> Response:
    """Hold the amount, or decline; what became of an earlier one under this key is told."""
    declines = card(asked.token).declines
    outcome = "authorised" if declines is None else "declined"
    async with database.transaction() as transaction:
        await transaction.fetchrow(
            _queries["authorise"], key, asked.amount, asked.currency, asked.token, outcome, declines
        )
        row = await _ripe(transaction, key)
    # One that was voided before it was heard of has no token.
    if (
        row is None
        or (row["amount"], row["currency"]) != (asked.amount, asked.currency)
        or row["token"]
        not in {
            asked.token,
            "",
        }
    ):
        raise Unprocessable("This Idempotency-Key was used for another charge.")
    return JSONResponse(_view(row))


@app.post("/charges/{key}/capture")
async def capture(key: str, request: Request, database: InDatabase) -> Response:
    """Take what is held, and then misbehave as the token says."""
    scheduled: list[dict[str, Any]] = []
    async with database.transaction() as transaction:
        row = await _ripe(transaction, key)
        if row is None:
            raise NotFound("There is no charge of this key.")
        wanted = card(row["token"])
        first = await transaction.fetchval(_queries["count_capture"], key) == 1
        if row["outcome"] == "authorised":
            outcome = "expired" if wanted.expires else "captured" if wanted.webhooks is None else "pending"
            ripe = timedelta(seconds=wanted.webhooks.seconds) if wanted.webhooks is not None else None
            row = await transaction.fetchrow(_queries["set_outcome"], key, outcome, None, ripe)
            if wanted.webhooks is not None:
                scheduled = await _schedule(transaction, key, wanted.webhooks)
    told: Sender = app.state.sender
    for one in scheduled:
        told.later(database, one)
    if wanted.webhooks is not None and wanted.webhooks.early and told.tasks:
        await asyncio.wait(set(told.tasks), timeout=5)
    misbehaved = await _misbehave(request, wanted) if first else None
    return misbehaved or JSONResponse(_view(row))


@app.post("/charges/{key}/void")
async def void(key: str, asked: Annotated[Amount, body(Amount)], database: InDatabase) -> Response:
    """Let go what is held; a key that is not known is made one under which nothing is ever taken."""
    async with database.transaction() as transaction:
        await transaction.fetchrow(_queries["authorise"], key, asked.amount, asked.currency, "", "voided", None)
        row = await _ripe(transaction, key)
        if row is not None and row["outcome"] in {"authorised", "pending"}:
            row = await transaction.fetchrow(_queries["set_outcome"], key, "voided", None, None)
    return JSONResponse(_view(row))


@app.post("/refunds")
async def refund(asked: Annotated[Refund, body(Refund)], key: Key, database: InDatabase) -> Response:
    """Give back so much of a captured charge, once; never more than was captured."""
    async with database.transaction() as transaction:
        charged = await _ripe(transaction, asked.charge)
        if charged is None or charged["outcome"] != "captured":
            raise NotFound("There is no captured charge of this key.")
        known = await transaction.fetchrow(_queries["get_refund"], key)
        if known is None:
            taken = Money.parse(charged["amount"], charged["currency"]).minor
            given = await transaction.fetchval(_queries["refunded"], asked.charge)
            back = Money.parse(given, charged["currency"]).minor if float(given) else 0
            if asked.currency != charged["currency"] or back + Money.parse(asked.amount, asked.currency).minor > taken:
                raise Conflict("That is more than was captured.")
            await transaction.execute(_queries["refund"], key, asked.charge, asked.amount, asked.currency)
        elif (known["charge"], known["amount"], known["currency"]) != (asked.charge, asked.amount, asked.currency):
            raise Unprocessable("This Idempotency-Key was used for another refund.")
    return JSONResponse({"key": key, "outcome": "refunded", "amount": asked.amount, "currency": asked.currency})


@app.get("/charges/{key}")
async def look_up(key: str, database: InDatabase) -> Response:
    """What became of a charge, and how often it was asked for."""
    async with database.transaction() as transaction:
        row = await _ripe(transaction, key)
    if row is None:
        raise NotFound("There is no charge of this key.")
    return JSONResponse({**_view(row), "calls": row["calls"], "captures": row["captures"]})


@app.get("/charges/")
async def books(database: InDatabase, after: Annotated[str, Query(max_length=255)] = "") -> Response:
    """Every charge in the order of its key, with what was refunded of it; the next page begins after the last."""
    rows = await database.fetch(_queries["list"], after, _PAGE)
    found = [{**_view(row), "refunded": row["refunded"], "captures": row["captures"]} for row in rows]
    return JSONResponse({"charges": found})


async def _ripe(transaction: Transaction, key: str) -> asyncpg.Record | None:
    """The charge, locked; what was pending and is due has been captured."""
    await transaction.fetchrow(_queries["lock_charge"], key)
    await transaction.execute(_queries["ripen"], key)
    return await transaction.fetchrow(_queries["get_charge"], key)


async def _schedule(transaction: Transaction, key: str, wanted: Webhooks) -> list[dict[str, Any]]:
    charges = [key] * wanted.times + (["01900000-0000-7000-8000-00000000feed"] if wanted.stranger else [])
    made = []
    for charge in charges:
        row = {"id": uuid4(), "charge": charge, "seconds": wanted.seconds, "signed": wanted.signed}
        delay = timedelta(seconds=wanted.seconds)
        await transaction.execute(_queries["add_webhook"], row["id"], charge, delay, wanted.signed)
        made.append(row)
    if wanted.times == 2:
        # The same call once more, under the same id.
        made[1]["id"] = made[0]["id"]
    return made


def _view(row: asyncpg.Record | None) -> dict[str, Any]:
    assert row is not None  # noqa: S101 - the callers have looked.
    return {name: row[name] for name in ("key", "amount", "currency", "outcome", "reason")}


async def _misbehave(request: Request, wanted: Card) -> Response | None:
    """What this card does the first time, after it was charged: nothing, be slow, be silent, or answer 500."""
    await asyncio.sleep(wanted.slow_seconds)
    if wanted.silent:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SILENCE_SECONDS):
                # The body, if any, was read: what comes next is that the caller has gone.
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        return Response(status_code=504)
    if wanted.fails:
        return problem(500, "Internal Server Error", "It was captured, but this answer does not say so.")
    return None
