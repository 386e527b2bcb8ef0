"""Which events wake a Trigger."""

from __future__ import annotations

from typing import Any

import pytest

from eventing.filters import InvalidFilter, compile_filters, exact_type

EVENT = {"type": "orders.placed.v1", "source": "/wake/orders", "subject": "o-1"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"filter": {"attributes": {"type": "orders.placed.v1"}}}, True),
        ({"filter": {"attributes": {"type": "orders.placed.v2"}}}, False),
        ({"filter": {"attributes": {"subject": ""}}}, True),
        ({"filter": {"attributes": {"missing": ""}}}, False),
        ({"filters": [{"exact": {"type": "orders.placed.v1"}}, {"prefix": {"source": "/wake"}}]}, True),
        ({"filters": [{"exact": {"type": "orders.placed.v1"}}, {"prefix": {"source": "/other"}}]}, False),
        ({"filters": [{"suffix": {"type": ".v1"}}]}, True),
        ({"filters": [{"prefix": {"missing": "x"}}]}, False),
        ({"filters": [{"any": [{"exact": {"type": "x"}}, {"suffix": {"type": "v1"}}]}]}, True),
        ({"filters": [{"all": [{"exact": {"type": "x"}}, {"suffix": {"type": "v1"}}]}]}, False),
        ({"filters": [{"not": {"exact": {"type": "x"}}}]}, True),
        ({"filters": [{"exact": {"type": "x"}}], "filter": {"attributes": {"type": "orders.placed.v1"}}}, False),
    ],
)
def test_a_filter_matches(spec: dict[str, Any], expected: bool) -> None:
    """A list means all of them; `filters` wins over `filter`."""
    assert expected == compile_filters(spec)(EVENT)


@pytest.mark.parametrize(
    "filters",
    [
        [{"exact": {"type": "x"}, "prefix": {"type": "x"}}],
        [{"exact": {"Type": "x"}}],
        [{"exact": {"type": ""}}],
        [{"exact": {}}],
        [{"any": []}],
        [{"cesql": "type LIKE type"}],
        [{"regex": {"type": "x"}}],
        "type",
    ],
)
def test_what_knative_refuses_is_refused(filters: Any) -> None:
    """At admission, not at the first event."""
    with pytest.raises(InvalidFilter):
        compile_filters({"filters": filters})


def test_one_exact_type_spares_the_others() -> None:
    """The channel need not deliver what cannot match."""
    assert exact_type({"filter": {"attributes": {"type": "a"}}}) == "a"
    assert exact_type({"filters": [{"exact": {"type": "a"}}]}) == "a"
    assert exact_type({"filters": [{"suffix": {"type": "a"}}]}) is None
    assert exact_type({}) is None
