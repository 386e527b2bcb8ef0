"""payments-refund: every way in which a cancelling can meet a charge."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from functions.events import OrdersExpired
from tests.functions.conftest import event_of
from tests.functions.payments.conftest import ORDER_ID, Cards, books, cancelled, placed

REFUND = (f"refund:{ORDER_ID}", ORDER_ID, "99.50")


async def test_what_was_captured_is_given_back_once(serve: Any, cards: Cards) -> None:
    """However often the event comes, and under however many ids."""
    await (await serve("payments.charge")).post_event(placed())
    served = await serve("payments.refund")
    event = cancelled().to_event()
    answers = await asyncio.gather(*(served.post_event(event) for _ in range(4)))
    answers.append(await served.post_event(event_of(cancelled())))

    assert {answer.status_code for answer in answers} == {204}
    assert await cards.refunds() == [REFUND]
    assert await books(served) == [("refunded", 9950, 9950)]
    assert [kind for kind, _ in await served.outbox()] == ["payments.captured.v1", "payments.refunded.v1"]


async def test_what_the_processor_kept_quiet_about_is_found_and_given_back(serve: Any, cards: Cards) -> None:
    """The charge is unknown when the order is cancelled: voiding it tells that it was captured, and it is refunded."""
    charge = await serve("payments.charge")
    event = placed("tok_500_captured").to_event()
    assert (await charge.post_event(event)).status_code == 503
    served = await serve("payments.refund")
    answer = await served.post_event(cancelled())
    late = await charge.post_event(event)

    assert (answer.status_code, late.status_code) == (204, 204)
    assert (await books(served), await cards.refunds()) == ([("refunded", 9950, 9950)], [REFUND])


async def test_before_the_capture_it_is_voided(serve: Any, cards: Cards) -> None:
    """What waits for a webhook is let go: nothing is captured, nothing has to be given back."""
    await (await serve("payments.charge")).post_event(placed("tok_webhook_late_60"))
    served = await serve("payments.refund")
    await served.post_event(cancelled())

    assert (await books(served), await cards.refunds()) == ([("voided", 0, 0)], [])
    assert [outcome for _, _, outcome in await cards.charges()] == ["voided"]


async def test_an_expired_order_is_undone_as_a_cancelled_one(serve: Any, cards: Cards) -> None:
    """With its own reason."""
    await (await serve("payments.charge")).post_event(placed())
    served = await serve("payments.refund")
    expired = OrdersExpired(order_id=ORDER_ID, username="ada", amount="99.50", currency="EUR")
    await served.post_event(expired)

    assert await books(served) == [("refunded", 9950, 9950)]
    assert (await served.outbox())[-1][1]["reason"] == "the order expired"


async def test_after_a_declined_charge_there_is_nothing_to_refund(serve: Any, cards: Cards) -> None:
    """204 and no refund."""
    await (await serve("payments.charge")).post_event(placed("tok_decline"))
    served = await serve("payments.refund")
    answer = await served.post_event(cancelled())

    assert (answer.status_code, await cards.refunds()) == (204, [])


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01, 0.02])
async def test_a_cancelling_that_races_the_charge_leaves_nothing_taken(serve: Any, cards: Cards, delay: float) -> None:
    """Whoever is first: in the end captured equals refunded, at us and at the processor."""
    charge, refund = await serve("payments.charge"), await serve("payments.refund")
    charged, undone = placed().to_event(), cancelled().to_event()

    async def until_taken(served: Any, event: Any, wait: float) -> None:
        await asyncio.sleep(wait)
        async with asyncio.timeout(10):
            while (await served.post_event(event)).status_code != 204:
                await asyncio.sleep(0.005)

    await asyncio.gather(until_taken(charge, charged, 0.005), until_taken(refund, undone, delay))
    ((state, captured, refunded),) = await books(refund)

    assert state in {"voided", "refunded"}
    assert captured == refunded
    taken = [one for one in await cards.charges() if one[2] == "captured"]
    assert len(taken) == len(await cards.refunds())
