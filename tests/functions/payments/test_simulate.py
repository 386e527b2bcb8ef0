"""payments-simulate: a processor with books of its own."""

from __future__ import annotations

import time
from typing import Any

import pytest

CHARGE = {"amount": "99.50", "currency": "EUR", "token": "tok_approve"}
KEY = {"idempotency-key": "order-1"}


async def test_the_same_key_is_one_charge(serve: Any) -> None:
    """The same answer again, and one row that counts the calls."""
    served = await serve("payments.simulate", "cards")
    first = await served.client.post("/charges", json=CHARGE, headers=KEY)
    again = await served.client.post("/charges", json=CHARGE, headers=KEY)
    looked_up = await served.client.get("/charges/order-1")

    assert first.json() == again.json()
    assert (looked_up.json()["outcome"], looked_up.json()["calls"]) == ("captured", 2)


async def test_the_same_key_for_another_charge_is_refused(serve: Any) -> None:
    """422; without a key 422 too."""
    served = await serve("payments.simulate", "cards")
    await served.client.post("/charges", json=CHARGE, headers=KEY)
    other = await served.client.post("/charges", json={**CHARGE, "amount": "1.00"}, headers=KEY)

    assert (other.status_code, (await served.client.post("/charges", json=CHARGE)).status_code) == (422, 422)


async def test_a_slow_card_answers_after_its_seconds(serve: Any) -> None:
    """tok_slow_1 takes a second the first time, and none the second."""
    served = await serve("payments.simulate", "cards")
    slow = {**CHARGE, "token": "tok_slow_1"}
    took = []
    for _ in range(2):
        began = time.monotonic()
        assert (await served.client.post("/charges", json=slow, headers=KEY)).json()["outcome"] == "captured"
        took.append(time.monotonic() - began)

    assert took[0] >= 1.0 > took[1]


@pytest.mark.parametrize(
    ("refund", "status"),
    [
        ({"charge": "order-1", "amount": "99.50", "currency": "EUR"}, 200),
        ({"charge": "order-1", "amount": "100.00", "currency": "EUR"}, 422),
        ({"charge": "order-2", "amount": "99.50", "currency": "EUR"}, 404),
    ],
)
async def test_only_what_was_captured_is_refunded(serve: Any, refund: dict[str, str], status: int) -> None:
    """The whole of a captured charge, and nothing else."""
    served = await serve("payments.simulate", "cards")
    await served.client.post("/charges", json=CHARGE, headers=KEY)
    answer = await served.client.post("/refunds", json=refund, headers={"idempotency-key": "refund:order-1"})

    assert answer.status_code == status
