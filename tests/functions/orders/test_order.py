"""An order's moves: a table, and nothing outside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.money import Money
from functions.orders.order import MOVES, IllegalMove, Order

STATUSES = sorted(MOVES)


def test_every_status_that_can_follow_is_one_of_the_table() -> None:
    """No move leads out of the table."""
    assert {following for moves in MOVES.values() for following in moves} < set(MOVES)


@given(st.lists(st.sampled_from(STATUSES), max_size=8))
def test_only_moves_of_the_table_are_made(wanted: list[str]) -> None:
    """Whatever is asked for in whatever order, an order is where the table lets it be, and nothing undoes an end."""
    order = Order.place("ada", Money(100, "EUR"), "tok_approve")
    for status in wanted:
        before = order.status
        if status in MOVES[before]:
            order = order.move(status)
        else:
            with pytest.raises(IllegalMove):
                order.move(status)
        assert order.status in {before, status}
