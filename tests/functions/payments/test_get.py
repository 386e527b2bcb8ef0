"""payments-get."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.conftest import bearer
from tests.functions.payments.conftest import ORDER_ID, Cards, placed


@pytest.fixture
async def served(serve: Any, cards: Cards) -> Any:
    """The function, with one payment captured at the second try."""
    charge = await serve("payments.charge")
    event = placed("tok_500_captured").to_event()
    for _ in range(2):
        await charge.post_event(event)
    return await serve("payments.get")


async def test_the_buyer_sees_amounts_and_attempts(served: Any) -> None:
    """Decimal strings, and each time the processor was asked."""
    body = (await served.client.get(f"/payments/{ORDER_ID}", headers=bearer("ada"))).json()

    assert {"state": "captured", "captured": "99.50", "refunded": "0.00", "currency": "EUR"}.items() <= body.items()
    assert [(one["what"], one["outcome"]) for one in body["attempts"]] == [
        ("authorise", "authorised"),
        ("ask", "unknown"),
        ("authorise", "captured"),
    ]


@pytest.mark.parametrize("path", [ORDER_ID, "01a20b76-4eb5-7c00-90cb-bcd920daa20a", "x"])
async def test_a_stranger_finds_nothing(served: Any, path: str) -> None:
    """404, the same for theirs, none and nonsense."""
    assert (await served.client.get(f"/payments/{path}", headers=bearer("eve"))).status_code == 404
