"""orders-forget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.events import OrdersConfirmed
from tests.caches import CacheServer
from tests.functions.conftest import bearer, event_of

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
ME = bearer("ada")


@pytest.fixture
async def order_id(serve: Any, cache_server: CacheServer) -> str:
    """An order of ada's; every function that is served from here on has the cache."""
    place = await serve("orders.place", CACHE_URL=cache_server.url)
    return str((await place.client.post("/orders/", json=ORDER, headers=ME)).json()["order_id"])


async def test_the_event_forgets_what_a_killed_process_did_not(serve: Any, order_id: str) -> None:
    """orders-forget, as often as it is delivered; the copy of a later version stays."""
    get, forget = await serve("orders.get"), await serve("orders.forget")
    await get.client.get(f"/orders/{order_id}", headers=ME)
    await get.sql("UPDATE orders SET status = 'confirmed', version = 2")
    event = event_of(OrdersConfirmed(order_id=order_id, username="ada", version=2))
    statuses = [(await forget.post_event(event)).status_code]
    fresh = await get.client.get(f"/orders/{order_id}", headers=ME)
    await get.sql("DELETE FROM orders")
    statuses.append((await forget.post_event(event)).status_code)

    assert statuses == [204, 204]
    assert fresh.json()["status"] == "confirmed"
    assert (await get.client.get(f"/orders/{order_id}", headers=ME)).json() == fresh.json()


async def test_a_change_while_the_cache_is_away_is_told_again_while_a_copy_may_live(
    serve: Any, order_id: str, cache_server: CacheServer
) -> None:
    """503, so that the Broker delivers it again; an event that is older than any copy is taken."""
    forget = await serve("orders.forget", CACHE_URL=cache_server.url)
    cache_server.stop()
    news = OrdersConfirmed(order_id=order_id, username="ada", version=2)
    old = event_of(news, time=datetime.now(UTC) - timedelta(seconds=61))

    assert (await forget.post_event(news)).status_code == 503
    assert (await forget.post_event(old)).status_code == 204
