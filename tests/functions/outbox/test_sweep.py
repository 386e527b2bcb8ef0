"""outbox-sweep: what was kept for long enough goes, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from eventing.event import Event
from tests.functions.conftest import bearer

# Orders are placed here, and orders asks users about the buyer.
pytestmark = pytest.mark.usefixtures("buyers")

PING = Event(id="1", source="/ping", type="dev.knative.sources.ping")
ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


async def test_old_rows_go_and_young_ones_and_unpublished_ones_stay(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published events after 14 days, handled ids after 30, answers after 7; in areas that have no answers too."""
    place = await serve("orders.place")
    for key in ("a", "b"):
        await place.client.post("/orders/", json=ORDER, headers={**bearer("ada"), "idempotency-key": key})
    await place.sql("UPDATE outbox SET published_at = now() - interval '15 days' WHERE seq = 1 RETURNING 1")
    await place.sql("UPDATE idempotency SET created_at = now() - interval '8 days' WHERE key = 'a' RETURNING 1")
    await place.sql("INSERT INTO inbox VALUES ('c', 's', '1', '', now() - interval '31 days') RETURNING 1")
    await place.sql("INSERT INTO inbox VALUES ('c', 's', '2', '', now() - interval '29 days') RETURNING 1")
    users = await serve("users.list")
    monkeypatch.delenv("DATABASE_URL")
    sweep = await serve(
        "outbox.sweep",
        "orders",
        K_SINK="http://127.0.0.1:9/",
        ORDERS_DATABASE_URL=place.database_url,
        USERS_DATABASE_URL=users.database_url,
    )
    assert (await sweep.post_event(PING)).status_code == 204

    assert [row["seq"] for row in await place.sql("SELECT seq FROM outbox")] == [2]
    assert [row["key"] for row in await place.sql("SELECT key FROM idempotency")] == ["b"]
    assert [row["id"] for row in await place.sql("SELECT id FROM inbox")] == ["2"]
