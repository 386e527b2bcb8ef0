"""Dead letters in words, for `wake deadletters` and `wake replay`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

HEADING = f"{'ID':<38}{'KEPT AT':<18}{'STATE':<11}{'TYPE':<28}{'WHERE IT FAILED':<22}{'TRIES':<7}WHY"


def row(one: Mapping[str, Any]) -> str:
    """One letter as a line of the list; a star says that it was edited."""
    at = datetime.fromisoformat(one["received_at"]).astimezone()
    state = one["state"] + ("*" if one["edited"] else "")
    return (
        f"{one['id']:<38}{at:%m-%d %H:%M:%S}    {state:<11}{one['type']:<28}{_where(one['destination']):<22}"
        f"{one['attempts_made']:<7}{_shortened(_why(one))}"
    )


def _where(destination: str | None) -> str:
    host = (destination or "?").partition("://")[2].partition("/")[0] or destination or "?"
    return host.partition(".")[0] if "svc" in host else host


def _why(one: Mapping[str, Any]) -> str:
    parts = [str(part) for part in (one["code"], one["answer"]) if part]
    return " ".join(": ".join(parts).split()) or "no answer"


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"


def whole(letter: Mapping[str, Any]) -> Iterator[str]:
    """One letter: the event as it came and as it was edited, every attempt, every change."""
    for name in ("id", "state", "kind", "destination", "received_at", "attempts_made"):
        yield f"{name.replace('_', ' '):<22}{letter[name]}"
    for title, event in (("the event", letter), ("as it was edited", letter["edit"])):
        if event is not None:
            yield f"\n{title}:"
            yield from (f"  {name:<20}{value}" for name, value in event["attributes"].items())
            yield f"  {'data':<20}{event['data']}"
    yield "\nattempts:"
    known = len(letter["attempts"])
    for one in letter["attempts"]:
        yield f"  {_clock(one['at'])}  {_where(one['destination']):<18}{_why(one)}"
    if letter["attempts_made"] > known:
        yield f"  ({letter['attempts_made'] - known} more, of which the Broker does not tell)"
    if letter["changes"]:
        yield "\nchanges:"
    for one in letter["changes"]:
        yield f"  {_clock(one['at'])}  {one['what']} by {one['who']}{': ' + one['why'] if one['why'] else ''}"


def _clock(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone():%m-%d %H:%M:%S.%f}"[:-3]


def schema_lines(schema: Mapping[str, Any], event: Mapping[str, Any]) -> Iterator[str]:
    """How an event's data breaks the schema of its type."""
    kind = event["attributes"]["type"]
    if not schema["known"]:
        yield f"The catalogue has no event {kind}: nothing can be said of its data."
    elif not schema["violations"] and not schema["unknown"]:
        yield f"The data is as {kind} has it."
    else:
        yield f"against {kind}:"
        yield from (f"  {one['path'] or 'data'}: {one['message']}" for one in schema["violations"])
        yield from (f"  {name}: {kind} has no such field; it is ignored" for name in schema["unknown"])


_WOULD = {
    "handle": "would handle it",
    "skip": "would do nothing",
    "refuse": "would refuse it",
    "call": "would begin",
    "retry": "could not handle it now",
    "fail": "would fail",
    "unknown": "does not say",
}


def said(told: Mapping[str, Any]) -> str:
    """What a function would do, in words."""
    reason = f": {told['reason']}" if told.get("reason") else ""
    who = told.get("function") or _where(told.get("destination"))
    lines = [f"{who} {_WOULD.get(told['would'], told['would'])}{reason}"]
    lines += [
        f"  it would record {one['type']} of {one['subject']}: {json.dumps(one.get('data'))}" for one in told["records"]
    ]
    return "\n".join(lines)


def counted(outcomes: Sequence[str]) -> str:
    """How many of each."""
    return ", ".join(f"{outcomes.count(one)} {one}" for one in dict.fromkeys(outcomes)) + "." if outcomes else "None."
