"""orders-get."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.conftest import bearer

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


@pytest.fixture
async def order_id(serve: Any) -> str:
    """An order of ada's."""
    answer = await (await serve("orders.place")).client.post("/orders/", json=ORDER, headers=bearer("ada"))
    return str(answer.json()["order_id"])


@pytest.mark.parametrize("headers", [bearer("ada"), bearer("root", "admin")])
async def test_the_buyer_and_an_admin_see_it(serve: Any, order_id: str, headers: dict[str, str]) -> None:
    """200 without the card's token, with an ETag; 304 to who has it."""
    served = await serve("orders.get")
    answer = await served.client.get(f"/orders/{order_id}", headers=headers)
    again = await served.client.get(f"/orders/{order_id}", headers={**headers, "if-none-match": answer.headers["etag"]})

    assert (200, order_id, "placed") == (answer.status_code, answer.json()["order_id"], answer.json()["status"])
    assert "payment_token" not in answer.json()
    assert again.status_code == 304


async def test_somebody_else_s_order_is_not_found(serve: Any, order_id: str) -> None:
    """The same 404 as for no order at all."""
    served = await serve("orders.get")
    theirs = await served.client.get(f"/orders/{order_id}", headers=bearer("eve"))
    none = await served.client.get("/orders/01a20b76-4eb5-7c00-90cb-bcd920daa209", headers=bearer("eve"))

    assert (404, theirs.json()) == (theirs.status_code, none.json())


@pytest.mark.parametrize("text", ["1", "x", "%00", "01a20b76"])
async def test_what_is_no_id_is_not_found(serve: Any, text: str) -> None:
    """404, never 422 or 500."""
    served = await serve("orders.get")

    assert (await served.client.get(f"/orders/{text}", headers=bearer("root", "admin"))).status_code == 404
