"""Which changes of a schema break somebody."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from functions.catalogue import payloads, schema
from tests.checks.compatibility import breaks

TEXT: dict[str, Any] = {"type": "string"}
NULL: dict[str, Any] = {"type": "null"}


def event(required: str = "", **fields: Any) -> dict[str, Any]:
    """The schema of an event with these fields."""
    return {"$id": "tag:x", "x-subject": "id", "type": "object", "properties": fields, "required": required.split()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (event("a", a=TEXT), event("a", a=TEXT, b=TEXT)),
        (event("a", a=TEXT), event("a", a={**TEXT, "description": "said better", "examples": ["x"]})),
        (event("a", a=TEXT), event(a=TEXT)),
        (event(a=TEXT), event()),
        (event("a", a=TEXT), event("a", a={})),
        (event("a", a={"type": "integer"}), event("a", a={"type": "number"})),
        (event("a", a=TEXT), event("a", a={"anyOf": [TEXT, NULL]})),
        (event("a", a={**TEXT, "pattern": "^[a-z]{2}$"}), event("a", a=TEXT)),
        (event("a", a={**TEXT, "pattern": "^[a-z]{2}$"}), event("a", a={**TEXT, "pattern": "^[a-z0-9]{1,3}$"})),
        (event("a", a={**TEXT, "maxLength": 5}), event("a", a={**TEXT, "maxLength": 6})),
        (event("a", a={"type": "integer", "minimum": 5}), event("a", a={"type": "integer", "minimum": 4})),
        (event("a", a={"enum": ["x"]}), event("a", a={"enum": ["x", "y"]})),
        (event("a", a={"const": "x"}), event("a", a={**TEXT, "pattern": "^[xy]$"})),
        (event("a", a={"type": "array", "items": TEXT}), event("a", a={"type": "array"})),
        (event("a", a={**TEXT, "format": "uuid"}), event("a", a=TEXT)),
    ],
)
def test_what_only_adds_or_loosens_breaks_nobody(before: dict[str, Any], after: dict[str, Any]) -> None:
    """A field with a default, better words, a wider type, pattern or limit, one more value."""
    assert breaks(before, after) == []


@pytest.mark.parametrize(
    ("before", "after", "said", "harms"),
    [
        (event("a", a=TEXT), None, "the event is gone from functions/events.py", "stored"),
        (event("a", a=TEXT), event(), "`a` is gone, which every event had", "readers"),
        (event("a", a=TEXT), event("a b", a=TEXT, b=TEXT), "`b` is required now", "stored"),
        (event(a=TEXT), event("a", a=TEXT), "`a` is required now", "stored"),
        (event(a=TEXT), event(a={"type": "integer"}), "`a` was string and is integer", "stored"),
        (event(a={}), event(a=TEXT), "`a` was anything and is string", "stored"),
        (event(a={"type": "number"}), event(a={"type": "integer"}), "`a` was number and is integer", "stored"),
        (event(a={"anyOf": [TEXT, NULL]}), event(a=TEXT), "`a` may have been null", "stored"),
        (event(a=TEXT), event(a={**TEXT, "pattern": "^x"}), "`a` was free text and has the pattern ^x now", "stored"),
        (
            event(a={**TEXT, "pattern": "^[a-c]+$"}),
            event(a={**TEXT, "pattern": "^[a-b]+$"}),
            "which the pattern ^[a-b]+$ does not take",
            "stored",
        ),
        (event(a={**TEXT, "maxLength": 6}), event(a={**TEXT, "maxLength": 5}), "narrower maxLength: 5", "stored"),
        (event(a=TEXT), event(a={**TEXT, "minLength": 1}), "narrower minLength: 1 instead of none", "stored"),
        (event(a=TEXT), event(a={**TEXT, "format": "uuid"}), "another format, which this check cannot", "stored"),
        (event(a={"enum": ["x", "y"]}), event(a={"enum": ["x"]}), "`a` may have been 'y'", "stored"),
        (event(a=TEXT), event(a={**TEXT, "enum": ["x"]}), "takes only some values now", "stored"),
        (
            event(a={"type": "array", "items": TEXT}),
            event(a={"type": "array", "items": {"type": "integer"}}),
            "`a[]` was string",
            "stored",
        ),
        (event(a=event("b", b=TEXT)), event(a=event()), "`a.b` is gone", "readers"),
        (event(a={"type": "object"}), event(a={**event(), "additionalProperties": False}), "no unknown", "stored"),
        (event("a", a=TEXT), event("a", a=TEXT) | {"x-subject": "a"}, "the subject was 'id' and is 'a'", "readers"),
        (event("a", a=TEXT), event("a", a=TEXT) | {"$id": "tag:y"}, "$id was 'tag:x' and is 'tag:y'", "readers"),
    ],
)
def test_what_takes_away_or_narrows_is_named(
    before: dict[str, Any], after: dict[str, Any] | None, said: str, harms: str
) -> None:
    """One sentence: the field, what it was and is; and whether it harms what is stored or those who read."""
    (found,) = breaks(before, after)

    assert said in str(found)
    assert found.harms == harms


def test_a_renamed_field_is_one_gone_and_one_that_is_missing() -> None:
    """Both sides are told."""
    found = breaks(event("amount", amount=TEXT), event("total", total=TEXT))

    assert [(one.field, one.harms) for one in found] == [("total", "stored"), ("amount", "readers")]


def test_what_a_reference_leads_to_is_compared() -> None:
    """Pydantic puts nested models into $defs; the reference itself does not change."""
    reference = event("a", a={"$ref": "#/$defs/Inner"})
    before = {**reference, "$defs": {"Inner": event(b=TEXT)}}
    after = {**reference, "$defs": {"Inner": event("b", b=TEXT)}}

    assert breaks(before, before) == []
    assert [one.field for one in breaks(before, after)] == ["a.b"]


@pytest.mark.parametrize("name", payloads())
def test_an_event_is_compatible_with_itself(name: str) -> None:
    """Every schema of the catalogue is one that this check understands."""
    assert breaks(schema(payloads()[name]), schema(payloads()[name])) == []


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 9), st.sampled_from(["", "a", "ab", "b", "abc"]))
LEAVES = st.one_of(
    st.just({}),
    st.sampled_from(["integer", "number", "boolean", "null"]).map(lambda kind: {"type": kind}),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "pattern": st.sampled_from(["^a", "^[ab]*$", "^[abc]*$"]),
            "maxLength": st.integers(0, 3),
            "minLength": st.integers(0, 3),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("integer")}, optional={"minimum": st.integers(-3, 5), "exclusiveMaximum": st.integers(0, 9)}
    ),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
)
FIELDS = st.one_of(
    LEAVES,
    st.lists(LEAVES, min_size=1, max_size=2).map(lambda some: {"anyOf": some}),
    LEAVES.map(lambda one: {"type": "array", "items": one}),
)
NAMES = st.sampled_from(["a", "b"])
SCHEMAS = st.builds(
    lambda fields, required: event(" ".join(sorted(required & set(fields))), **fields),
    st.dictionaries(NAMES, FIELDS, max_size=2),
    st.sets(NAMES),
)


# Of two patterns that differ, `breaks` searches for a text that tells them apart, by hypothesis too.
_SEARCHES = settings(suppress_health_check=[HealthCheck.nested_given])


@_SEARCHES
@given(SCHEMAS, SCHEMAS, st.data())
def test_what_is_called_compatible_takes_every_old_event(
    before: dict[str, Any], after: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever was valid is, where the check has found nothing."""
    known = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(before["properties"], st.one_of(VALUES, st.lists(VALUES, max_size=2)))
    )
    sent = data.draw(known)

    if Draft202012Validator(before).is_valid(sent) and breaks(before, after) == []:
        assert Draft202012Validator(after).is_valid(sent)


@_SEARCHES
@given(SCHEMAS)
def test_what_does_not_change_breaks_nobody(unchanged: dict[str, Any]) -> None:
    """However it is written."""
    assert breaks(unchanged, unchanged) == []
