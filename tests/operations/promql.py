"""What a PromQL expression reads: metrics, and the labels that it selects or groups by. As much as our rules need."""

from __future__ import annotations

import re
from collections.abc import Iterator

_METRIC = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?P<selector>\{[^}]*\})?")
_LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\((?P<labels>[^)]*)\)")
_DURATION = re.compile(r"\[[^]]*\]|\boffset\s+\w+")
# Aggregations, operators and functions that our rules and dashboards use.
_WORDS = frozenset(
    {
        "absent",
        "absent_over_time",
        "and",
        "clamp_min",
        "count",
        "delta",
        "histogram_quantile",
        "increase",
        "last_over_time",
        "max",
        "min",
        "or",
        "predict_linear",
        "quantile",
        "rate",
        "sum",
        "time",
    }
)


def metrics(expression: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Each metric that is read, with the labels that it is selected by."""
    rest = _DURATION.sub("", _GROUPING.sub("", expression))
    for match in _METRIC.finditer(rest):
        if match["name"] not in _WORDS and not rest[: match.start()].endswith(tuple("0123456789")):
            yield match["name"], frozenset(_LABEL.findall(match["selector"] or ""))


def grouped(expression: str) -> frozenset[str]:
    """The labels that something is grouped by."""
    return frozenset(label.strip() for match in _GROUPING.finditer(expression) for label in match["labels"].split(","))
