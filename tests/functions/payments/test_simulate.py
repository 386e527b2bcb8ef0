"""payments-simulate: a processor with books of its own."""

from __future__ import annotations

import time
from typing import Any

import pytest

CHARGE = {"amount": "99.50", "currency": "EUR", "token": "tok_approve"}
KEY = {"idempotency-key": "order-1"}


async def captured(served: Any, key: str = "order-1", token: str = "tok_approve") -> Any:
    """An authorised and captured charge; answers the capture's answer."""
    await served.client.post("/charges", json={**CHARGE, "token": token}, headers={"idempotency-key": key})
    return await served.client.post(f"/charges/{key}/capture")


async def test_the_same_key_is_one_charge(serve: Any) -> None:
    """The same answer again, and one row that counts the calls."""
    served = await serve("payments.simulate", "cards")
    first = await served.client.post("/charges", json=CHARGE, headers=KEY)
    again = await served.client.post("/charges", json=CHARGE, headers=KEY)
    for _ in range(2):
        assert (await served.client.post("/charges/order-1/capture")).json()["outcome"] == "captured"
    looked_up = (await served.client.get("/charges/order-1")).json()

    assert first.json() == again.json()
    assert (looked_up["outcome"], looked_up["calls"], looked_up["captures"]) == ("captured", 2, 2)


async def test_what_was_voided_is_never_captured(serve: Any) -> None:
    """Also under a key that was not known when it was voided."""
    served = await serve("payments.simulate", "cards")
    amount = {name: CHARGE[name] for name in ("amount", "currency")}
    assert (await served.client.post("/charges/order-1/void", json=amount)).json()["outcome"] == "voided"
    assert (await served.client.post("/charges", json=CHARGE, headers=KEY)).json()["outcome"] == "voided"
    assert (await captured(served)).json()["outcome"] == "voided"
    await captured(served, "order-2")
    assert (await served.client.post("/charges/order-2/void", json=amount)).json()["outcome"] == "captured"


async def test_the_same_key_for_another_charge_is_refused(serve: Any) -> None:
    """422; without a key 422 too."""
    served = await serve("payments.simulate", "cards")
    await served.client.post("/charges", json=CHARGE, headers=KEY)
    other = await served.client.post("/charges", json={**CHARGE, "amount": "1.00"}, headers=KEY)

    assert (other.status_code, (await served.client.post("/charges", json=CHARGE)).status_code) == (422, 422)


async def test_a_slow_card_answers_after_its_seconds(serve: Any) -> None:
    """tok_slow_1 takes a second to capture the first time, and none the second."""
    served = await serve("payments.simulate", "cards")
    took = []
    for _ in range(2):
        began = time.monotonic()
        assert (await captured(served, token="tok_slow_1")).json()["outcome"] == "captured"
        took.append(time.monotonic() - began)

    assert took[0] >= 1.0 > took[1]


@pytest.mark.parametrize(
    ("refund", "status"),
    [
        ({"charge": "order-1", "amount": "99.50", "currency": "EUR"}, 200),
        ({"charge": "order-1", "amount": "60.00", "currency": "EUR"}, 200),
        ({"charge": "order-1", "amount": "100.00", "currency": "EUR"}, 409),
        ({"charge": "order-1", "amount": "1.00", "currency": "USD"}, 409),
        ({"charge": "order-2", "amount": "99.50", "currency": "EUR"}, 404),
    ],
)
async def test_only_what_was_captured_is_refunded(serve: Any, refund: dict[str, str], status: int) -> None:
    """All of it or a part, never more."""
    served = await serve("payments.simulate", "cards")
    await captured(served)
    answer = await served.client.post("/refunds", json=refund, headers={"idempotency-key": "refund:order-1"})

    assert answer.status_code == status


async def test_parts_never_add_up_to_more(serve: Any) -> None:
    """60 and 60 of 99.50: the second is refused."""
    served = await serve("payments.simulate", "cards")
    await captured(served)
    body = {"charge": "order-1", "amount": "60.00", "currency": "EUR"}
    codes = [
        (await served.client.post("/refunds", json=body, headers={"idempotency-key": key})).status_code
        for key in ("a", "b", "a")
    ]

    assert codes == [200, 409, 200]
