"""Asks a function what it would do with a dead letter now: POST /deadletters/dry-runs, by an admin. Changes nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from fastapi.responses import JSONResponse

from functions import subscribers
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import InDatabase
from functions.deadletters import deadletters
from functions.deadletters.access import LetterId
from functions.deadletters.redrives import destination_of
from functions.identity import Admin


class DryRun(StrictModel):
    """Which one."""

    id: LetterId


app = operation(__name__)
app.opens("subscribers", subscribers.opened)


@app.post("/deadletters/dry-runs")
async def dry_run(_: Admin, asked: Annotated[DryRun, body(DryRun)], database: InDatabase) -> Response:
    """What a redrive would come to: handle, skip (handled already), refuse, call (something outside), retry or fail."""
    letter = await deadletters.get(database, asked.id)
    opened: subscribers.Subscribers = app.state.subscribers
    destination = destination_of(letter, opened)
    told = await opened.rehearse(destination, letter.event)
    return JSONResponse({**told, "id": str(letter.id), "event_id": letter.event.id, "destination": destination})
