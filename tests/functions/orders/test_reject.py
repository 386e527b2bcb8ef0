"""orders-reject."""

from __future__ import annotations

from typing import Any

from functions.events import PaymentsDeclined
from tests.functions.conftest import bearer

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_decline"}


async def test_a_declined_card_rejects_the_order(serve: Any) -> None:
    """With the processor's reason in its event; a cancelled order would stay cancelled."""
    place = await serve("orders.place")
    order_id = (await place.client.post("/orders/", json=ORDER, headers=bearer("ada"))).json()["order_id"]
    served = await serve("orders.reject")
    answer = await served.post_event(PaymentsDeclined(order_id=order_id, reason="card_declined"))

    assert answer.status_code == 204
    assert (await served.outbox())[-1] == (
        "orders.rejected.v1",
        {"order_id": order_id, "username": "ada", "reason": "card_declined", "version": 2},
    )
    assert [tuple(row) for row in await served.sql("SELECT status FROM orders")] == [("rejected",)]
