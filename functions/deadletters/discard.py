"""Discards a dead letter: POST /deadletters/discards, by an admin who says why. It is kept for the record."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from fastapi.responses import JSONResponse

from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.deadletters import deadletters
from functions.deadletters.access import LetterId, Reason
from functions.identity import Admin


class Discard(StrictModel):
    """Which one, and why nothing will be done about it."""

    id: LetterId
    reason: Reason


app = operation(__name__)


@app.post("/deadletters/discards")
async def discard(caller: Admin, asked: Annotated[Discard, body(Discard)], database: InDatabase) -> Response:
    """Discard it; one that was discarded before stays so, with the first reason."""
    async with database.transaction() as transaction:
        letter = await deadletters.lock(transaction, asked.id)
        if letter.state != "discarded":
            letter.require_open()
            await deadletters.discard(transaction, letter, caller.username, asked.reason)
    return JSONResponse((await deadletters.get(database, asked.id)).summary())
