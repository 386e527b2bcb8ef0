"""The catalogue: what the schemas say of the events, and the events of the schemas."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from functions.catalogue import payloads, schema_of
from functions.events import OrdersPlaced
from functions.money import EXPONENTS, Money
from tests.functions.payments.conftest import ORDER_ID, placed


def test_every_event_has_a_schema_and_nothing_else_has() -> None:
    """Valid by JSON Schema's own; each field says what it means and gives an example that is one."""
    for name in payloads():
        schema: dict[str, Any] = schema_of(name) or {}
        Draft202012Validator.check_schema(schema)

        assert (schema["$id"], schema["title"]) == (f"tag:wake.dev,2026:{name}", name)
        assert schema["x-subject"] in schema["required"]
        for field in schema["properties"].values():
            assert field["description"]
            assert all(Draft202012Validator(field).is_valid(one) for one in field["examples"])
    assert schema_of("orders.placed.v9") is None
    assert "event-refused.v1" in str(schema_of("users.event-refused.v1"))


def test_an_event_says_which_schema_it_follows() -> None:
    """By the schema's $id, which is a name and no address: nothing has to be there to be fetched."""
    event = placed().to_event()

    assert event.dataschema == (schema_of("orders.placed.v1") or {})["$id"]
    assert (event.source, event.subject) == ("/wake/orders", ORDER_ID)


ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just({}), st.just("ada"))
FIELDS = {
    "order_id": st.one_of(st.uuids().map(str), ANYTHING),
    "username": st.one_of(st.from_regex("^[a-z0-9][a-z0-9_-]{2,31}$"), ANYTHING),
    "amount": st.one_of(st.sampled_from(["99.50", "0", "007", "1.", "-1", "1e3", "1.1234567"]), ANYTHING),
    "currency": st.one_of(st.sampled_from(["EUR", "eur", "EURO"]), ANYTHING),
    "payment_token": st.one_of(st.just("tok_approve"), ANYTHING),
    "of_a_later_version": ANYTHING,
}


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_the_schema_takes_what_the_code_takes(data: dict[str, Any]) -> None:
    """But for a line end at the end, which Python's `$` lets pass and pydantic's does not."""
    try:
        OrdersPlaced.model_validate(data)
        taken = True
    except ValidationError:
        taken = False
    lines = any(isinstance(one, str) and one.endswith("\n") for one in data.values())

    assert Draft202012Validator(schema_of("orders.placed.v1") or {}).is_valid(data) == taken or lines


@pytest.mark.parametrize("currency", sorted(EXPONENTS))
def test_every_amount_of_money_fits_its_field(currency: str) -> None:
    """From the smallest to the largest that there is."""
    for minor in (1, 10**12):
        money = Money(minor, currency)
        event = OrdersPlaced(
            order_id=ORDER_ID, username="ada", amount=money.amount, currency=currency, payment_token="tok_approve"
        )

        assert Money.parse(event.amount, event.currency) == money
