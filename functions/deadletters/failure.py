"""What arrives at deadletters-keep, taken apart: which event failed, where, and what each attempt came to. Pure.

Two things do: an event that a Broker could not deliver, with knativeerrordest, -code and -data (and `wakeattempts` from
our own), and `AREA.event-refused.v1`, which holds the event that a function can never handle.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from pydantic import ValidationError

from eventing import attempts, strictjson
from eventing.event import Event, compact
from eventing.gate import NotAnEvent, from_json
from functions.events import EventRefused

# The id of the redrive, on an event that was sent again from here.
REDRIVE = "wakeredrive"
_REFUSED_SUFFIX = ".event-refused.v1"
_ARRIVED = "knativearrivaltime"


@dataclass(frozen=True)
class Attempt:
    """One attempt: what the attempts of one delivery have in common (`round`), the how-manieth, and what it came to."""

    round: str
    number: int
    at: datetime
    destination: str
    code: str | None
    answer: str | None


@dataclass(frozen=True)
class Failure:
    """An event, whole, and the attempts that failed; `redrive` where it was one of ours."""

    kind: str
    event: Event
    destination: str
    attempts: Sequence[Attempt]
    redrive: UUID | None

    @property
    def last(self) -> Attempt:
        """The attempt after which it was given up."""
        return self.attempts[-1]


def of(event: Event) -> Failure:
    """What an arriving event tells."""
    refused = _refused(event) if event.type.endswith(_REFUSED_SUFFIX) else None
    return _undeliverable(event) if refused is None else refused


def _undeliverable(event: Event) -> Failure:
    extensions = dict(event.extensions)
    destination = extensions.get("knativeerrordest", "")
    code = extensions.get("knativeerrorcode")
    answer = text_of(extensions.get("knativeerrordata", ""))
    # A Broker that sends the same dead letter twice took the event once.
    arrived = extensions.get(_ARRIVED, "")
    told = attempts.decode(extensions.get(attempts.ATTEMPTS, ""))
    made = [
        Attempt(arrived, one.number, one.at, destination, str(one.status or "") or None, readable(one.answer))
        for one in told
    ] or [Attempt(arrived, 1, datetime.now(UTC), destination, code, answer)]
    taken = dict.fromkeys(("knativeerrordest", "knativeerrorcode", "knativeerrordata", attempts.ATTEMPTS))
    kind = "refused" if event.type.endswith(_REFUSED_SUFFIX) else "undeliverable"
    return Failure(kind, event.with_extensions(**taken), destination, made, None)


def _refused(event: Event) -> Failure | None:
    """None where the event is none of ours: it is kept as it came."""
    try:
        told = EventRefused.model_validate(strictjson.parse(event.data, depth_max=70))
        inner = from_json(compact(told.event))
    except (strictjson.InvalidJson, ValidationError, NotAnEvent):
        return None
    redrive = _uuid(inner.extensions.get(REDRIVE, ""))
    at = event.time or datetime.now(UTC)
    attempt = Attempt(str(redrive or event.id), 1, at, told.function, "refused", readable(told.reason))
    return Failure("refused", inner.with_extensions(**{REDRIVE: None}), told.function, [attempt], redrive)


def text_of(encoded: str) -> str | None:
    """The start of the failed answer, readable."""
    try:
        return readable(base64.b64decode(encoded).decode(errors="replace"))
    except (binascii.Error, ValueError):
        return None


def readable(text: str) -> str | None:
    """A text as PostgreSQL takes it: without NUL."""
    return text.replace("\0", "\ufffd") or None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
