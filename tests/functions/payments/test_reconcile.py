"""payments-reconcile and check_books: every difference is said, and nothing else."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from eventing.event import Event
from functions.payments.check_books import check
from tests.functions.conftest import bearer
from tests.functions.payments.conftest import Cards, placed

PING = Event(id="1", source="/ping", type="dev.knative.sources.ping")


@pytest.fixture
async def settled(serve: Any, cards: Cards, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An order that was placed, charged and confirmed; answers orders-confirm, payments-charge and the order's id."""
    place = await serve("orders.place")
    body = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
    order_id = (await place.client.post("/orders/", json=body, headers=bearer("ada"))).json()["order_id"]
    charge = await serve("payments.charge")
    await charge.post_event(placed(order_id=order_id))
    await place.sql("UPDATE orders SET status = 'confirmed' RETURNING 1")
    for served in (place, charge):
        await served.sql("UPDATE outbox SET published_at = now() RETURNING 1")
    monkeypatch.setenv("ORDERS_DATABASE_URL", place.database_url)
    monkeypatch.setenv("DATABASE_URL", charge.database_url)
    return place, charge, order_id


async def test_books_that_fit_say_nothing(settled: Any) -> None:
    """Ledger, order and processor agree."""
    assert await check(timedelta(0)) == []


@pytest.mark.parametrize(
    ("where", "statement", "said"),
    [
        ("orders", "UPDATE orders SET status = 'placed' RETURNING 1", "it is still placed, and its payment captured"),
        (
            "orders",
            "UPDATE orders SET status = 'cancelled' RETURNING 1",
            "of 9950 captured minor units 0 were refunded",
        ),
        ("orders", "UPDATE orders SET amount_minor = 1 RETURNING 1", "order and payment are of different amounts"),
        ("orders", "DELETE FROM orders RETURNING 1", "there is a payment, but no such order"),
        ("orders", "UPDATE outbox SET published_at = NULL RETURNING 1", "was never published"),
        ("payments", "UPDATE payments SET state = 'unknown' RETURNING 1", "nobody knows what became of the money"),
        ("cards", "UPDATE charges SET amount = '1.00' RETURNING 1", "9.50 was captured, the processor says 1.00"),
        ("cards", "DELETE FROM charges RETURNING 1", "the processor says 0"),
        (
            "cards",
            "INSERT INTO charges VALUES ('x', '1.00', 'EUR', 't', 'captured') RETURNING 1",
            "the processor captured 1.00, and we know nothing of it",
        ),
        (
            "cards",
            "INSERT INTO refunds SELECT 'r', key, '1.00', 'EUR' FROM charges RETURNING 1",
            "0.00 was refunded, the processor says 1.00",
        ),
    ],
)
async def test_each_difference_is_said(settled: Any, cards: Cards, where: str, statement: str, said: str) -> None:
    """With the order it is about."""
    place, charge, _ = settled
    await {"orders": place, "payments": charge, "cards": cards.served}[where].sql(statement)

    assert any(said in one for one in await check(timedelta(0)))


async def test_what_is_under_way_is_not_a_difference(settled: Any) -> None:
    """It is given half an hour."""
    place, _, _ = settled
    await place.sql("UPDATE orders SET status = 'placed' RETURNING 1")

    assert await check(timedelta(minutes=30)) == []


async def test_the_function_logs_what_differs(
    serve: Any, settled: Any, cards: Cards, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each."""
    await cards.served.sql("UPDATE charges SET amount = '1.00' RETURNING 1")
    served = await serve("payments.reconcile")
    await served.sql("UPDATE payments SET updated_at = now() - interval '1 hour' RETURNING 1")
    with caplog.at_level(logging.ERROR):
        assert (await served.post_event(PING)).status_code == 204

    metrics = (await served.client.get("/metrics")).text

    assert [record.message for record in caplog.records] == ["books_differ"]
    assert 'wake_books_differences{function="payments-reconcile"} 1\n' in metrics
