"""orders-expire: what was not paid in time ends, once."""

from __future__ import annotations

import asyncio
from typing import Any

from eventing.event import Event
from tests.functions.conftest import bearer

PING = Event(id="1", source="/ping", type="dev.knative.sources.ping")
ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


async def test_only_what_is_placed_and_old_expires(serve: Any) -> None:
    """Once, however many do it at once; with an event each."""
    served = await serve("orders.place")
    for _ in range(4):
        await served.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    await served.sql("UPDATE orders SET created_at = now() - interval '20 minutes' RETURNING 1")
    await served.sql(
        "UPDATE orders SET status = 'confirmed' WHERE id = (SELECT min(id::text)::uuid FROM orders) RETURNING 1"
    )
    await served.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    expire = await serve("orders.expire")
    await asyncio.gather(*(expire.post_event(PING) for _ in range(3)))
    rows = await served.sql("SELECT status, count(*) FROM orders GROUP BY status")

    assert {row["status"]: row["count"] for row in rows} == {"confirmed": 1, "expired": 3, "placed": 1}
    assert [kind for kind, _ in await served.outbox()].count("orders.expired.v1") == 3


async def test_the_time_is_a_setting(serve: Any) -> None:
    """ORDER_EXPIRES_AFTER_SECONDS."""
    served = await serve("orders.place")
    await served.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    expire = await serve("orders.expire", ORDER_EXPIRES_AFTER_SECONDS="0")
    await expire.post_event(PING)

    assert [row["status"] for row in await served.sql("SELECT status FROM orders")] == ["expired"]
