"""payments-refund-part: a part, a reason, an admin; never above what was captured."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.functions.conftest import bearer
from tests.functions.payments.conftest import ORDER_ID, Cards, books, cancelled, placed

ADMIN = bearer("root", "admin")
PATH = f"/payments/{ORDER_ID}/refunds"


@pytest.fixture
async def served(serve: Any, cards: Cards) -> Any:
    """The function, and a captured payment of 99.50."""
    await (await serve("payments.charge")).post_event(placed())
    return await serve("payments.refund_part")


async def ask(served: Any, amount: str, **headers: str) -> Any:
    """A refund of so much."""
    body = {"amount": amount, "reason": "a scratch"}
    return await served.client.post(PATH, json=body, headers={**ADMIN, **headers})


async def test_a_part_is_given_back_with_its_reason(served: Any, cards: Cards) -> None:
    """202; the ledger, the processor and the event say so."""
    answer = await ask(served, "10.00")

    assert answer.status_code == 202
    assert {"order_id": ORDER_ID, "amount": "10.00", "reason": "a scratch"}.items() <= answer.json().items()
    assert await books(served) == [("partly-refunded", 9950, 1000)]
    assert [amount for _, _, amount in await cards.refunds()] == ["10.00"]
    assert (await served.outbox())[-1] == (
        "payments.refunded.v1",
        {"order_id": ORDER_ID, "amount": "10.00", "currency": "EUR", "reason": "a scratch"},
    )


async def test_two_of_sixty_at_once_of_a_hundred_are_one(served: Any, cards: Cards) -> None:
    """The other is told what is left."""
    answers = await asyncio.gather(ask(served, "60.00"), ask(served, "60.00"))

    assert sorted(one.status_code for one in answers) == [202, 409]
    assert "39.50" in next(one for one in answers if one.status_code == 409).json()["detail"]
    assert await books(served) == [("partly-refunded", 9950, 6000)]


async def test_the_same_key_is_one_refund(served: Any, cards: Cards) -> None:
    """The first answer again; another amount under it is 422."""
    first, again = [await ask(served, "10.00", **{"idempotency-key": "k"}) for _ in range(2)]
    other = await ask(served, "11.00", **{"idempotency-key": "k"})

    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert len(await cards.refunds()) == 1


async def test_the_rest_is_given_back_when_the_order_is_cancelled(serve: Any, served: Any, cards: Cards) -> None:
    """And no more."""
    await ask(served, "10.00")
    await (await serve("payments.refund")).post_event(cancelled())

    assert await books(served) == [("refunded", 9950, 9950)]
    assert sorted(amount for _, _, amount in await cards.refunds()) == ["10.00", "89.50"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, {"amount": "1.00", "reason": "x"}, 401),
        (bearer("eve"), {"amount": "1.00", "reason": "x"}, 404),
        (bearer("ada"), {"amount": "1.00", "reason": "x"}, 403),
        (ADMIN, {"amount": "1.00"}, 422),
        (ADMIN, {"amount": "0.001", "reason": "x"}, 422),
        (ADMIN, {"amount": "-1", "reason": "x"}, 422),
        (ADMIN, {"amount": "99.51", "reason": "x"}, 409),
    ],
)
async def test_what_may_not_be_is_refused(
    served: Any, cards: Cards, headers: dict[str, str], body: dict[str, str], status: int
) -> None:
    """By status; nothing moves."""
    assert (await served.client.post(PATH, json=body, headers=headers)).status_code == status
    assert await cards.refunds() == []
