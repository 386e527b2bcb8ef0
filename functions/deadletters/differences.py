"""What differs: an event's data from the schema of its type, and an edited event from the original. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from eventing import strictjson
from eventing.event import Event, compact, is_json
from functions.bodies import field_errors
from functions.catalogue import payloads
from functions.payload import Payload

_DEPTH_MAX = 64
_MISSING = "missing"
_PLAIN = re.compile(r'(?!\d+$)[^."]+')


def from_schema(event: Event) -> dict[str, Any]:
    """How the data breaks the schema of its type: each violation with its path; fields missing; fields nobody reads.

    `known` is false where the catalogue has no such type, and nothing can be said.
    """
    payload = payloads().get(event.type)
    if payload is None:
        return {"known": False, "violations": [], "missing": [], "unknown": []}
    try:
        data = strictjson.parse(event.data, depth_max=_DEPTH_MAX)
    except strictjson.InvalidJson as error:
        violations = [{"path": "", "message": str(error)}]
        return {"known": True, "violations": violations, "missing": [], "unknown": []}
    violations, missing = _violations(payload, data)
    unknown = sorted(data.keys() - payload.model_fields.keys()) if isinstance(data, dict) else []
    return {"known": True, "violations": violations, "missing": missing, "unknown": unknown}


def _violations(payload: type[Payload], data: object) -> tuple[list[dict[str, str]], list[str]]:
    """What the function's own parser says, which is what the schema was made of."""
    try:
        payload.model_validate(data)
    except ValidationError as error:
        missing = [".".join(map(str, one["loc"])) for one in error.errors() if one["type"] == _MISSING]
        found = [{"path": one.field, "message": one.message} for one in field_errors(error)]
        return found, missing
    return [], []


def between(original: Event, edited: Event) -> list[dict[str, Any]]:
    """Each attribute and each value of the data that is not the same: its path, before and after; None is missing."""
    if original == edited:
        return []
    before, after = dict(_leaves(original)), dict(_leaves(edited))
    return [
        {"path": path, "before": before.get(path), "after": after.get(path)}
        for path in sorted(before.keys() | after.keys())
        # As JSON: to Python 1, 1.0 and True are the same.
        if (path in before) != (path in after) or compact(before[path]) != compact(after[path])
    ]


def _leaves(event: Event) -> Iterator[tuple[str, Any]]:
    yield from event.attributes.items()
    try:
        data = strictjson.parse(event.data if is_json(event.datacontenttype) else b"", depth_max=_DEPTH_MAX)
    except strictjson.InvalidJson:
        yield "data", event.data.decode(errors="replace")
        return
    yield from _inside("data", data)


def _inside(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values that hold no others, each with its path; an empty object or array is one of them."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _inside(f"{path}.{_step(name)}", inner)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _inside(f"{path}.{index}", inner)
    else:
        yield path, value


def _step(name: str) -> str:
    """A name in a path: in quotes where it could be taken for an index or for several names."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
