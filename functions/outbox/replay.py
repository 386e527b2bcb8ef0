"""Sends stored events to one Trigger's subscriber again, under their ids: POST /replays, by an admin.

What the outboxes published is kept for fourteen days. Consumers know the ids that they handled, so a replay does only
what was never done; a dry run says for each event what that is. A call lasts for a few seconds at most, never sends
faster than REDELIVERIES_PER_SECOND, and `next` is the body of the call that goes on.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field

from eventing import outbox
from eventing.event import Event
from functions import pace, subscribers
from functions.app import operation
from functions.bodies import StrictModel, body
from functions.database import Database, translated
from functions.errors import FieldError, Unprocessable
from functions.identity import Admin
from functions.outbox import outboxes
from functions.subscribers import Subscribers, Trigger

_LASTS_SECONDS = 10.0
_BATCH = 100
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime | None, Field(strict=False)]


class Place(StrictModel):
    """Where a call stopped: in which outbox, behind which of its rows."""

    outbox: Annotated[int, Field(ge=0)] = 0
    seq: int = -1


class Replay(StrictModel):
    """To whom, and which of the events that its filter wants; `until` is not included."""

    trigger: str
    type: str | None = None
    subject: str | None = None
    since: Moment = None
    until: Moment = None
    dry_run: bool = False
    after: Place = Place()


app = operation(__name__)
app.opens("databases", outboxes.databases)
app.opens("subscribers", subscribers.opened)
app.opens("pace", pace.of_redelivery)


@app.post("/replays")
async def replay(_: Admin, asked: Annotated[Replay, body(Replay)]) -> Response:
    """What became of each event, or would, and `next`; null where nothing is left."""
    # Also for the calls that go on: what is published meanwhile is no part of it.
    asked = asked.model_copy(update={"since": asked.since or _EVER, "until": asked.until or datetime.now(UTC)})
    trigger = _trigger(app.state.subscribers, asked.trigger)
    deadline = time.monotonic() + _LASTS_SECONDS
    results: list[dict[str, Any]] = []
    async for place, event in _stored(app.state.databases, asked):
        if trigger.matches(event.attributes):
            await app.state.pace.turn()
            results.append(await _sent(app.state.subscribers, trigger, event, dry_run=asked.dry_run))
        if time.monotonic() > deadline:
            following = asked.model_copy(update={"after": place}).model_dump(mode="json", exclude_none=True)
            return JSONResponse({"results": results, "next": following})
    return JSONResponse({"results": results, "next": None})


def _trigger(known: Subscribers, name: str) -> Trigger:
    """The Trigger of this name.

    Raises:
        Unprocessable: none is known; the message lists those that are.
    """
    for one in known.triggers:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in known.triggers) or "none"
    raise Unprocessable(
        "The body is not valid.", errors=[FieldError("trigger", f"there is no such one; there are {names}")]
    )


async def _stored(databases: Sequence[Database], asked: Replay) -> AsyncIterator[tuple[Place, Event]]:
    """The stored events, one outbox after the other, each in its order, behind where the last call stopped."""
    place = asked.after
    while place.outbox < len(databases):
        found = await _batch(databases[place.outbox], asked, place.seq)
        for seq, event in found:
            place = Place(outbox=place.outbox, seq=seq)
            yield place, event
        if not found:
            place = Place(outbox=place.outbox + 1)


async def _batch(database: Database, asked: Replay, seq: int) -> list[tuple[int, Event]]:
    assert asked.since is not None  # noqa: S101 - both were set when the call began.
    assert asked.until is not None  # noqa: S101
    await database.require_migrated()
    pool = database.connections
    with translated():
        return await outbox.published(pool, asked.since, asked.until, asked.type, asked.subject, seq, _BATCH)


async def _sent(known: Subscribers, trigger: Trigger, event: Event, *, dry_run: bool) -> dict[str, Any]:
    about = {"id": event.id, "type": event.type, "subject": event.subject}
    if dry_run:
        return {**about, **await known.rehearse(trigger.subscriber, event)}
    done = await known.deliver(trigger.subscriber, event)
    return {**about, "outcome": done.outcome, "reason": done.reason}
