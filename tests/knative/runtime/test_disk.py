"""The disk of the state folder: when it counts as full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from knative.runtime.disk import is_full

MEBIBYTE = 1024 * 1024


@given(st.integers(min_value=16 * MEBIBYTE, max_value=32 * MEBIBYTE - 1), st.booleans())
def test_between_the_limits_nothing_changes(free: int, before: bool) -> None:
    """A disk that is nearly full is not told of at each look."""
    assert is_full(free, before=before) is before


@given(st.booleans())
def test_no_room_is_full_and_much_room_is_not(before: bool) -> None:
    """Whatever it was."""
    assert is_full(0, before=before)
    assert not is_full(32 * MEBIBYTE, before=before)
