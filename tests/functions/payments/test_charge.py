"""payments-charge, against the real simulator: charged once, whatever repeats and whatever stays silent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.functions.conftest import event_of
from tests.functions.payments.conftest import ORDER_ID, Cards, books, cancelled, placed


async def test_an_approved_card_is_charged_and_told(serve: Any, cards: Cards) -> None:
    """The whole amount under the order's id, and payments.captured.v1 in the same transaction as the state."""
    served = await serve("payments.charge")
    answer = await served.post_event(placed())

    assert (answer.status_code, answer.content) == (204, b"")
    assert await cards.charges() == [(ORDER_ID, "99.50", "captured")]
    assert await books(served) == [("captured", 9950, 0)]
    assert await served.outbox() == [
        ("payments.captured.v1", {"order_id": ORDER_ID, "amount": "99.50", "currency": "EUR"})
    ]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("tok_decline", "card_declined"),
        ("tok_of_nobody", "unknown_token"),
        ("tok_webhook_nonsense", "unknown_token"),
    ],
)
async def test_a_declined_card_is_told_with_its_reason(serve: Any, cards: Cards, token: str, reason: str) -> None:
    """Nothing is captured, and payments.declined.v1 says why."""
    served = await serve("payments.charge")
    await served.post_event(placed(token))

    assert await books(served) == [("declined", 0, 0)]
    assert await served.outbox() == [("payments.declined.v1", {"order_id": ORDER_ID, "reason": reason})]


async def test_copies_of_the_event_at_once_charge_once(serve: Any, cards: Cards) -> None:
    """Each is answered 204; one charge, one event."""
    served = await serve("payments.charge")
    event = placed().to_event()
    answers = await asyncio.gather(*(served.post_event(event) for _ in range(6)))

    assert {answer.status_code for answer in answers} == {204}
    assert await cards.charges() == [(ORDER_ID, "99.50", "captured")]
    assert len(await served.outbox()) == 1


async def test_another_event_about_the_same_order_charges_nothing_more(serve: Any, cards: Cards) -> None:
    """A republished order under a new id finds the payment settled."""
    served = await serve("payments.charge")
    await served.post_event(placed())
    answer = await served.post_event(event_of(placed()))

    assert answer.status_code == 204
    assert len(await served.outbox()) == 1


@pytest.mark.parametrize("token", ["tok_timeout_captured", "tok_500_captured"])
async def test_a_processor_that_captures_and_does_not_say_so_is_asked_again(
    serve: Any, cards: Cards, token: str
) -> None:
    """503 and unknown the first time; the next delivery learns that it was captured, and nothing is charged twice."""
    served = await serve("payments.charge")
    event = placed(token).to_event()
    first = await served.post_event(event)
    between = await books(served)
    second = await served.post_event(event)

    assert (first.status_code, between) == (503, [("unknown", 0, 0)])
    assert "retry-after" in first.headers
    assert (second.status_code, await books(served)) == (204, [("captured", 9950, 0)])
    assert await cards.charges() == [(ORDER_ID, "99.50", "captured")]


async def test_a_processor_that_is_away_is_a_503(serve: Any) -> None:
    """The Broker delivers again; meanwhile the payment is unknown."""
    served = await serve("payments.charge", CARD_PROCESSOR_URL="http://127.0.0.1:9")
    answer = await served.post_event(placed())

    assert (answer.status_code, await books(served)) == (503, [("unknown", 0, 0)])


async def test_an_order_that_was_cancelled_first_is_never_charged(serve: Any, cards: Cards) -> None:
    """The cancelling left a voided payment behind, at which a late charge stops."""
    await (await serve("payments.refund")).post_event(cancelled())
    served = await serve("payments.charge")
    answer = await served.post_event(placed())

    assert (answer.status_code, await books(served)) == (204, [("voided", 0, 0)])
    assert (await cards.charges(), await served.outbox()) == ([], [])


@pytest.mark.parametrize("changed", [{"amount": "0"}, {"currency": "XXX"}, {"order_id": "x"}])
async def test_an_event_that_names_no_order_is_refused(serve: Any, cards: Cards, changed: dict[str, str]) -> None:
    """Recorded as refused, not retried for ever, and nobody is charged."""
    served = await serve("payments.charge")
    answer = await served.post_event(placed().model_copy(update=changed))

    assert answer.status_code == 204
    assert [kind for kind, _ in await served.outbox()] == ["payments.event-refused.v1"]
    assert await cards.charges() == []
