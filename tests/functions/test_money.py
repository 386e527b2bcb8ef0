"""Money: minor units inside, decimal strings outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.money import EXPONENTS, MINOR_MAX, InvalidMoney, Money


@given(st.integers(1, MINOR_MAX), st.sampled_from(sorted(EXPONENTS)))
def test_an_amount_comes_back_as_it_went_out(minor: int, currency: str) -> None:
    """Every amount of every currency."""
    money = Money(minor, currency)

    assert Money.parse(money.amount, currency) == money


@given(st.text(max_size=30), st.sampled_from([*EXPONENTS, "XXX", "", "eur"]))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str, currency: str) -> None:
    """A positive amount within bounds, or InvalidMoney."""
    try:
        money = Money.parse(text, currency)
    except InvalidMoney:
        return
    assert 0 < money.minor <= MINOR_MAX


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("99.50", "EUR", 9950),
        ("99.5", "EUR", 9950),
        ("99", "EUR", 9900),
        ("0.01", "EUR", 1),
        ("100", "JPY", 100),
        ("100.0", "JPY", 100),
        ("1.234", "KWD", 1234),
        ("1.50000", "EUR", 150),
    ],
)
def test_digits_are_those_of_the_currency(text: str, currency: str, minor: int) -> None:
    """Trailing zeros change nothing."""
    assert Money.parse(text, currency).minor == minor


@pytest.mark.parametrize(
    "text", ["", " 1", "01", "1.", ".5", "+1", "-1", "1e2", "1,5", "٣", "0.00", "1.001", "NaN", "1.5\n"]
)
def test_what_is_no_amount_of_euros_is_refused(text: str) -> None:
    """Signs, exponents, other digits, nothing."""
    with pytest.raises(InvalidMoney):
        Money.parse(text, "EUR")
