"""Trigger filters: which events a Trigger is woken by. Pure.

Knative Eventing, Trigger `spec.filter.attributes` and `spec.filters`: if both are given `filters` wins; a list means
all of them; each element holds exactly one dialect. Only context attributes and extensions are seen, never data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eventing.cesql import InvalidExpression, compile_expression

Matches = Callable[[Mapping[str, str]], bool]

_ATTRIBUTE = re.compile(r"^[a-z][a-z0-9]*$")
_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


class InvalidFilter(ValueError):
    """A filter that Knative would refuse, or that is not supported here; the message says which part."""


def compile_filters(spec: Mapping[str, Any]) -> Matches:
    """The predicate of a Trigger's spec; without a filter every event matches.

    Raises:
        InvalidFilter: Knative would refuse it.
    """
    if spec.get("filters"):
        return _every([_dialect(one) for one in _list(spec["filters"], "filters")])
    attributes = (spec.get("filter") or {}).get("attributes") or {}
    return _legacy({_name(name): str(value) for name, value in attributes.items()})


def exact_type(spec: Mapping[str, Any]) -> str | None:
    """The one event type that can match, where the filter says so at its top; None where several may."""
    if spec.get("filters"):
        found = [one["exact"]["type"] for one in spec["filters"] if "type" in (one.get("exact") or {})]
        return str(found[0]) if found else None
    return (spec.get("filter") or {}).get("attributes", {}).get("type") or None


def _legacy(attributes: Mapping[str, str]) -> Matches:
    """Exact, where an empty value means that the attribute is there."""
    return lambda event: all(
        name in event if value == "" else event.get(name) == value for name, value in attributes.items()
    )


def _dialect(element: Any) -> Matches:
    if not isinstance(element, dict) or len(element) != 1:
        raise InvalidFilter("an element of filters holds exactly one of exact, prefix, suffix, all, any, not, cesql")
    ((dialect, operand),) = element.items()
    if dialect in _COMPARISONS:
        return _compared(dialect, operand)
    if dialect == "all":
        return _every([_dialect(one) for one in _list(operand, "all")])
    if dialect == "any":
        some = [_dialect(one) for one in _list(operand, "any")]
        return lambda event: any(matches(event) for matches in some)
    if dialect == "not":
        negated = _dialect(operand)
        return lambda event: not negated(event)
    if dialect == "cesql":
        return _cesql(operand)
    raise InvalidFilter(f"there is no filter dialect {dialect!r}")


def _compared(dialect: str, operand: Any) -> Matches:
    if not isinstance(operand, dict) or not operand:
        raise InvalidFilter(f"{dialect} holds attributes and their values")
    wanted = {_name(name): str(value) for name, value in operand.items()}
    if "" in wanted.values():
        raise InvalidFilter(f"{dialect} with an empty value can match nothing")
    compare = _COMPARISONS[dialect]
    return lambda event: all(name in event and compare(event[name], value) for name, value in wanted.items())


def _cesql(operand: Any) -> Matches:
    """True, and without any error: so Knative takes it (pkg/eventfilter/subscriptionsapi/cesql_filter.go)."""
    try:
        evaluate = compile_expression(str(operand))
    except InvalidExpression as error:
        raise InvalidFilter(str(error)) from error

    def matches(event: Mapping[str, str]) -> bool:
        result = evaluate(event)
        return result.value is True and not result.errors

    return matches


def _every(matches: Sequence[Matches]) -> Matches:
    return lambda event: all(one(event) for one in matches)


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list) or not value:
        raise InvalidFilter(f"{name} is a list of at least one filter")
    return value


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _ATTRIBUTE.match(name):
        raise InvalidFilter(f"{name!r} is no attribute name: lower-case letters and digits, beginning with a letter")
    return name
