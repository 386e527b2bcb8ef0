"""Sends dead letters again: POST /deadletters/redrives, by an admin: some by their ids, or all that a filter finds.

A call sends for a few seconds at most, never faster than REDELIVERIES_PER_SECOND, and `next` is the body of the call
that goes on: nobody waits for minutes, and when whoever calls goes away, the rest is simply not sent.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field, model_validator

from functions import pace, subscribers
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import Database, InDatabase
from functions.deadletters import deadletters
from functions.deadletters.access import LetterId
from functions.deadletters.redrives import Result, redrive
from functions.identity import Admin

_LASTS_SECONDS = 10.0
_BATCH = 20


class Redrive(StrictModel):
    """Which ones: ids, or a filter, or all. A filter finds what is kept and was received before now."""

    ids: Annotated[list[LetterId], Field(max_length=100)] | None = None
    type: str | None = None
    subject: str | None = None
    destination: str | None = None
    since: Annotated[AwareDatetime | None, Field(strict=False)] = None
    all: bool = False
    after: LetterId | None = None
    before: Annotated[AwareDatetime | None, Field(strict=False)] = None

    @model_validator(mode="after")
    def says_which(self) -> Redrive:
        """Ids alone, or a filter; everything only where it is asked for."""
        filtered = any(one is not None for one in (self.type, self.subject, self.destination, self.since))
        if self.ids is None and not filtered and not self.all:
            raise ValueError("say which: ids, a filter (type, subject, destination, since), or all")
        if self.ids is not None and (filtered or self.all or self.after is not None):
            raise ValueError("ids and a filter exclude each other")
        return self


app = operation(__name__)
app.opens("subscribers", subscribers.opened)
app.opens("pace", pace.of_redelivery)


@app.post("/deadletters/redrives")
async def redrive_some(caller: Admin, asked: Annotated[Redrive, body(Redrive)], database: InDatabase) -> Response:
    """What became of each, and `next`: the body of the call that goes on; null where nothing is left."""
    asked = asked.model_copy(update={"before": asked.before or datetime.now(UTC)})
    deadline = time.monotonic() + _LASTS_SECONDS
    results: list[Result] = []
    following = None
    async for letter_id in _asked_for(database, asked):
        if results and time.monotonic() > deadline:
            following = _following(asked, results)
            break
        await app.state.pace.turn()
        results.append(await redrive(database, app.state.subscribers, letter_id, caller.username))
    return JSONResponse({"results": [one.view() for one in results], "next": following})


async def _asked_for(database: Database, asked: Redrive) -> AsyncIterator[UUID]:
    """The ids, the oldest letter first where a filter finds them."""
    if asked.ids is not None:
        for letter_id in dict.fromkeys(asked.ids):
            yield letter_id
        return
    wanted = deadletters.Wanted(asked.type, asked.subject, asked.destination, None, asked.since)
    assert asked.before is not None  # noqa: S101 - set when the call began.
    after = asked.after
    while found := await deadletters.open_ones(database, wanted, asked.before, after, _BATCH):
        for letter_id in found:
            yield letter_id
        after = found[-1]


def _following(asked: Redrive, results: Sequence[Result]) -> dict[str, Any]:
    """The body of the call that goes on behind these results."""
    if asked.ids is not None:
        done = {one.id for one in results}
        return {"ids": [str(one) for one in dict.fromkeys(asked.ids) if one not in done]}
    following = asked.model_copy(update={"after": results[-1].id})
    return following.model_dump(mode="json", exclude_none=True)
