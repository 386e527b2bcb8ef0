"""payments-settle: what was left open is asked about, each once, by however many replicas."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventing.event import Event
from tests.functions.payments.conftest import ORDER_ID, Cards, books, cancelled, placed

PING = Event(id="1", source="/ping", type="dev.knative.sources.ping")


async def due(served: Any) -> None:
    """All that is open is due now."""
    await served.sql("UPDATE payments SET due_at = now() WHERE due_at IS NOT NULL RETURNING 1")
    await served.sql("UPDATE refunds SET due_at = now() WHERE NOT done RETURNING 1")


@pytest.mark.parametrize("token", ["tok_timeout_captured", "tok_500_captured"])
async def test_an_unknown_payment_is_settled(serve: Any, cards: Cards, token: str) -> None:
    """Nobody delivers the order's event again: the timer finds out that it was captured."""
    await (await serve("payments.charge")).post_event(placed(token))
    served = await serve("payments.settle")
    before = await books(served)
    await due(served)
    await asyncio.gather(*(served.post_event(PING) for _ in range(3)))

    assert (before, await books(served)) == ([("unknown", 0, 0)], [("captured", 9950, 0)])
    assert [kind for kind, _ in await served.outbox()] == ["payments.captured.v1"]
    assert await cards.charges() == [(ORDER_ID, "99.50", "captured")]


async def test_a_charge_that_was_killed_before_it_asked_is_made(serve: Any, cards: Cards) -> None:
    """The payment is there, and the processor has not heard of it."""
    served = await serve("payments.settle")
    await served.sql(
        "INSERT INTO payments (order_id, username, amount_minor, currency, payment_token, state, due_at)"
        f" VALUES ('{ORDER_ID}', 'ada', 9950, 'EUR', 'tok_approve', 'initiated', now()) RETURNING 1"
    )
    await served.post_event(PING)

    assert await books(served) == [("captured", 9950, 0)]


async def test_a_refund_that_was_promised_is_made(serve: Any, cards: Cards) -> None:
    """Asked for and committed, and then the process was killed."""
    await (await serve("payments.charge")).post_event(placed())
    served = await serve("payments.settle")
    values = f"('refund:x', '{ORDER_ID}', 1000, 'late')"
    await served.sql(f"INSERT INTO refunds (key, order_id, minor, reason) VALUES {values} RETURNING 1")
    for _ in range(2):
        await due(served)
        await served.post_event(PING)

    assert await books(served) == [("partly-refunded", 9950, 1000)]
    assert len(await cards.refunds()) == 1


async def test_an_undone_payment_is_voided(serve: Any, cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor was away when the order was cancelled."""
    with monkeypatch.context() as away:
        away.setenv("CARD_PROCESSOR_URL", "http://127.0.0.1:9")
        refund = await serve("payments.refund")
        assert (await refund.post_event(cancelled())).status_code == 503
    served = await serve("payments.settle")
    await due(served)
    await served.post_event(PING)

    assert await books(served) == [("voided", 0, 0)]


async def test_what_is_not_due_is_left_alone(serve: Any, cards: Cards) -> None:
    """Whoever is charging right now is not disturbed; after a day it is for people."""
    await (await serve("payments.charge")).post_event(placed("tok_500_captured"))
    served = await serve("payments.settle")
    await served.post_event(PING)
    assert await books(served) == [("unknown", 0, 0)]
    await due(served)
    await served.sql("UPDATE payments SET created_at = now() - interval '24 hours' RETURNING 1")
    await served.post_event(PING)
    assert await books(served) == [("unknown", 0, 0)]
