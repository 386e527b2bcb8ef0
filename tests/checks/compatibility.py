"""Whether a changed schema still takes what was sent under the released one. Pure; the rules are docs/decisions/0056.

It knows the part of JSON Schema (draft 2020-12) that pydantic writes. What it does not know it calls a break.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from jsonschema import Draft202012Validator

Schema = Mapping[str, Any]
_TELLS = {"title", "description", "examples", "default", "deprecated", "$schema", "$id", "$comment", "$defs"}
# The keyword of a limit, and on which side of the released one it may be.
_AT_LEAST = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
_AT_MOST = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
_JUDGED = {
    *_AT_LEAST,
    *_AT_MOST,
    *("type", "anyOf", "enum", "const", "pattern", "properties", "required", "items", "additionalProperties", "$ref"),
}
_TRIED = settings(
    max_examples=100, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@dataclass(frozen=True)
class Break:
    """Something that does not hold any more.

    `field` is its path with dots, or empty where the whole event is meant. `harms` says what it breaks: the events that
    are stored (in outboxes, streams, dead letters), or the readers that were released.
    """

    field: str
    what: str
    harms: Literal["stored", "readers"] = "stored"

    def __str__(self) -> str:
        """As the middle of a sentence."""
        return f"`{self.field}` {self.what}" if self.field else self.what


def breaks(released: Schema, now: Schema | None) -> list[Break]:
    """What breaks when the schema *released* of an event's data becomes *now* (None: the event is gone)."""
    if now is None:
        return [Break("", "the event is gone from functions/events.py")]
    found = [
        Break("", f"{what} was {released.get(name)!r} and is {now.get(name)!r}", "readers")
        for name, what in (("x-subject", "the field that is the subject"), ("$id", "the schema's $id"))
        if released.get(name) != now.get(name)
    ]
    return [*found, *_narrower(_Pair(released, now), released, now, "")]


@dataclass(frozen=True)
class _Pair:
    """The two whole schemas: where references lead."""

    released: Schema
    now: Schema


def _narrower(pair: _Pair, old: Schema, new: Schema, path: str) -> Iterator[Break]:
    """What the old schema takes and the new one might not."""
    old, new = _followed(pair.released, old), _followed(pair.now, new)
    if "anyOf" in old or "anyOf" in new:
        yield from _alternatives(pair, old, new, path)
        return
    values = old.get("enum", [old["const"]] if "const" in old else None)
    if values is not None:
        yield from _values(pair, values, new, path)
        return
    yield from _of_type(old, new, path)
    yield from _limits(old, new, path)
    yield from _pattern(old, new, path)
    yield from _object(pair, old, new, path)
    for keyword in sorted({*old, *new} - _JUDGED - _TELLS):
        if not keyword.startswith("x-") and keyword in new and old.get(keyword) != new[keyword]:
            yield Break(path, f"has another {keyword}, which this check cannot judge")


def _followed(whole: Schema, schema: Schema) -> Schema:
    """The schema that a reference leads to (`#/$defs/Name`, as pydantic writes it)."""
    reference = schema.get("$ref")
    return schema if reference is None else whole["$defs"][reference.removeprefix("#/$defs/")]


def _alternatives(pair: _Pair, old: Schema, new: Schema, path: str) -> Iterator[Break]:
    """Each alternative of the old one has to be taken by one of the new."""
    taken_now = new.get("anyOf", [new])
    for one in old.get("anyOf", [old]):
        if all(any(True for _ in _narrower(pair, one, other, path)) for other in taken_now):
            yield Break(path, f"may have been {_name(one)}, which is not taken any more")


def _values(pair: _Pair, values: Iterable[Any], new: Schema, path: str) -> Iterator[Break]:
    judge = Draft202012Validator({**new, "$defs": pair.now.get("$defs", {})})
    for value in values:
        if not judge.is_valid(value):
            yield Break(path, f"may have been {value!r}, which is not taken any more")


def _of_type(old: Schema, new: Schema, path: str) -> Iterator[Break]:
    before, after = _types(old), _types(new)
    if after and not (before and all(one in after or (one == "integer" and "number" in after) for one in before)):
        yield Break(path, f"was {_name(old)} and is {_name(new)}")
    if {"enum", "const"} & set(new):
        yield Break(path, "was free and takes only some values now")


def _types(schema: Schema) -> list[str]:
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def _name(schema: Schema) -> str:
    return " or ".join(_types(schema)) or "anything"


def _limits(old: Schema, new: Schema, path: str) -> Iterator[Break]:
    for keywords, sign in ((_AT_LEAST, 1), (_AT_MOST, -1)):
        for keyword in keywords:
            if keyword in new and (keyword not in old or sign * new[keyword] < sign * old[keyword]):
                yield Break(path, f"has a narrower {keyword}: {new[keyword]} instead of {old.get(keyword, 'none')}")


def _pattern(old: Schema, new: Schema, path: str) -> Iterator[Break]:
    if "pattern" not in new or new["pattern"] == old.get("pattern"):
        return
    if "pattern" not in old:
        yield Break(path, f"was free text and has the pattern {new['pattern']} now")
    elif (lost := _lost(old["pattern"], new["pattern"])) is not None:
        yield Break(path, f"may have been {lost!r}, which the pattern {new['pattern']} does not take any more")


def _lost(old: str, new: str) -> str | None:
    """A text that the old pattern takes and the new one does not, if trying a hundred of them finds one."""
    judge = Draft202012Validator({"pattern": new})
    try:
        return find(st.from_regex(old, fullmatch=True), lambda text: not judge.is_valid(text), settings=_TRIED)
    except NoSuchExample:
        return None


def _object(pair: _Pair, old: Schema, new: Schema, path: str) -> Iterator[Break]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            yield Break(_joined(path, name), "is required now, and events that were sent before lack it")
    for name, one in after.items():
        if name in before:
            yield from _narrower(pair, before[name], one, _joined(path, name))
    for name in old.get("required", ()):
        if name not in after:
            yield Break(_joined(path, name), "is gone, which every event had", "readers")
    if "items" in new:
        yield from _narrower(pair, old.get("items", {}), new["items"], f"{path}[]")
    yield from _others(pair, old.get("additionalProperties", True), new.get("additionalProperties", True), path)


def _others(pair: _Pair, old: Any, new: Any, path: str) -> Iterator[Break]:
    """Fields that the schema does not name."""
    if new is False and old is not False:
        yield Break(path, "takes no unknown fields any more")
    elif isinstance(new, Mapping) and old is not False:
        yield from _narrower(pair, old if isinstance(old, Mapping) else {}, new, _joined(path, "*"))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
