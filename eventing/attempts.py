"""What a Broker tells a dead letter sink beyond Knative's own attributes: every attempt that it made.

Knative's brokers tell of the last attempt only (knativeerrordest, -code, -data). Ours adds the extension
`wakeattempts`: a JSON array of `[number, time, status, start of the answer]`, in at most a kibibyte. An answer of null
is that of the attempt before; status 0 is no answer. A history is kept in the dispatcher's memory: what an earlier
process tried is known by the numbers that are missing, which count from 1 over restarts.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from eventing import strictjson
from eventing.event import Event, rfc3339

ATTEMPTS = "wakeattempts"
# An attribute has at most 1024 bytes (eventing/gate.py).
_BYTES_MAX = 1024
_ANSWER_MAX = 200
_FIRST, _LAST = 2, 10
# Events whose next attempt is being waited for, of one Trigger; beyond that the oldest history is forgotten.
_EVENTS_MAX = 1000


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver that failed."""

    number: int
    at: datetime
    status: int
    answer: str


class Histories:
    """The failed attempts of events that are not settled yet, for one Trigger."""

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, str], tuple[Attempt, ...]] = OrderedDict()

    def note(self, event: Event, number: int, status: int, answer: str) -> None:
        """Remember an attempt that has just failed."""
        key = event.source, event.id
        attempt = Attempt(number, datetime.now(UTC), status, answer[:_ANSWER_MAX])
        self._of[key] = _bounded([*self._of.pop(key, ()), attempt])
        if len(self._of) > _EVENTS_MAX:
            self._of.popitem(last=False)

    def of(self, event: Event) -> tuple[Attempt, ...]:
        """What is remembered, the first first."""
        return self._of.get((event.source, event.id), ())

    def forget(self, event: Event) -> None:
        """The event is settled."""
        self._of.pop((event.source, event.id), None)


def encode(attempts: Sequence[Attempt]) -> str | None:
    """The attribute's text; None where nothing is known. Answers are cut as short as it takes."""
    if not attempts:
        return None
    kept = _bounded(attempts)
    length = _ANSWER_MAX
    while len(text := _text(kept, length)) > _BYTES_MAX:
        length //= 2
    return text


def decode(text: str) -> tuple[Attempt, ...]:
    """The attempts of the attribute; nothing of one that a Broker cannot have written."""
    attempts: list[Attempt] = []
    try:
        for number, at, status, answer in strictjson.parse(text.encode(), depth_max=2):
            moment = datetime.fromisoformat(at)
            if type(number) is not int or type(status) is not int or moment.tzinfo is None:
                return ()
            if not (0 < number < 2**31 and 0 <= status < 1000):
                return ()
            said = attempts[-1].answer if answer is None and attempts else str(answer or "")
            attempts.append(Attempt(number, moment, status, said))
    except (strictjson.InvalidJson, ValueError, TypeError, OverflowError):
        return ()
    return tuple(attempts)


def _bounded(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """The first few and the last: a Trigger may try for days."""
    return tuple(attempts) if len(attempts) <= _FIRST + _LAST else (*attempts[:_FIRST], *attempts[-_LAST:])


def _text(attempts: Sequence[Attempt], length: int) -> str:
    lines, before = [], None
    for one in attempts:
        answer = one.answer[:length]
        at = rfc3339(one.at.replace(microsecond=one.at.microsecond // 1000 * 1000))
        lines.append([one.number, at, one.status, None if answer == before else answer])
        before = answer
    return json.dumps(lines, separators=(",", ":"))
