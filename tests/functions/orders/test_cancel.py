"""orders-cancel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.functions.conftest import bearer

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


@pytest.fixture
async def order_id(serve: Any) -> str:
    """An order of ada's."""
    answer = await (await serve("orders.place")).client.post("/orders/", json=ORDER, headers=bearer("ada"))
    return str(answer.json()["order_id"])


async def test_cancelling_again_changes_nothing(serve: Any, order_id: str) -> None:
    """200 each time, also at once, and one event."""
    served = await serve("orders.cancel")
    answers = await asyncio.gather(
        *(served.client.post(f"/orders/{order_id}/cancel", headers=bearer("ada")) for _ in range(4))
    )
    kinds = [kind for kind, _ in await served.outbox()]

    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "cancelled")}
    assert kinds == ["orders.placed.v1", "orders.cancelled.v1"]


async def test_a_stranger_s_order_is_not_found(serve: Any, order_id: str) -> None:
    """404, and it stays placed."""
    served = await serve("orders.cancel")

    assert (await served.client.post(f"/orders/{order_id}/cancel", headers=bearer("eve"))).status_code == 404
    assert [tuple(row) for row in await served.sql("SELECT status FROM orders")] == [("placed",)]


@pytest.mark.parametrize("status", ["rejected", "expired"])
async def test_what_has_ended_cannot_be_cancelled(serve: Any, order_id: str, status: str) -> None:
    """409."""
    served = await serve("orders.cancel")
    await served.sql("UPDATE orders SET status = $1 RETURNING 1", status)

    assert (await served.client.post(f"/orders/{order_id}/cancel", headers=bearer("ada"))).status_code == 409
