"""backlog-measure: what waits in each database, as Prometheus is told."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.functions.conftest import bearer
from tests.functions.test_metrics import samples

pytestmark = pytest.mark.usefixtures("buyers")
ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


async def test_what_waits_is_counted_with_its_age_and_what_is_away_is_said(serve: Any, monkeypatch: Any) -> None:
    """An order that is placed, and its event that nobody took; a database that does not answer holds up no other."""
    place = await serve("orders.place")
    await place.client.post("/orders/", json=ORDER, headers=bearer("ada"))
    await place.sql("UPDATE orders SET created_at = created_at - interval '1 hour'")
    monkeypatch.delenv("DATABASE_URL")
    away = "postgresql://nobody@127.0.0.1:1/none"
    measure = await serve("backlog.measure", "orders", ORDERS_DATABASE_URL=place.database_url, USERS_DATABASE_URL=away)
    found = samples((await measure.client.get("/metrics")).text)

    assert found['wake_waiting{database="orders",what="outbox"}'] == 1
    assert found['wake_waiting{database="orders",what="orders"}'] == 1
    assert 3600 <= found['wake_waiting_oldest_seconds{database="orders",what="orders"}'] < 3660
    assert found['wake_waiting_oldest_seconds{database="orders",what="outbox"}'] < 60
    assert [found[f'wake_database_up{{database="{area}"}}'] for area in ("users", "orders")] == [0, 1]
    assert found['wake_database_server_connections{database="orders",what="used"}'] >= 1
    assert 'wake_waiting{database="users",what="outbox"}' not in found


async def test_each_database_can_be_asked(serve: Any, database_url: Any) -> None:
    """Every statement is one for the tables that there are."""
    areas = ("users", "orders", "payments", "deadletters")
    urls = {f"{area.upper()}_DATABASE_URL": database_url(area) for area in areas}
    measure = await serve("backlog.measure", "orders", **urls)
    found = samples((await measure.client.get("/metrics")).text)

    assert {name for name in found if name.startswith("wake_waiting{")} == {
        f'wake_waiting{{database="{area}",what="{what}"}}'
        for area, what in (
            ("users", "outbox"),
            ("orders", "outbox"),
            ("orders", "orders"),
            ("payments", "outbox"),
            ("payments", "payments"),
            ("payments", "refunds"),
            ("deadletters", "letters"),
        )
    }
    assert {value for name, value in found.items() if name.startswith("wake_database_up")} == {1}


async def test_a_database_that_hangs_holds_up_nobody(serve: Any) -> None:
    """Connections are taken and nothing is said: it counts as away, before Prometheus gives up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        measure = await serve("backlog.measure", "orders", ORDERS_DATABASE_URL=url)
        async with asyncio.timeout(8):
            found = samples((await measure.client.get("/metrics")).text)

    assert found['wake_database_up{database="orders"}'] == 0
