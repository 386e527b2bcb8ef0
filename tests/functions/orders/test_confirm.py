"""orders-confirm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from functions.events import PaymentsCaptured
from tests.functions.conftest import bearer, event_of

ORDER = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}


@pytest.fixture
async def order_id(serve: Any) -> str:
    """An order of ada's."""
    answer = await (await serve("orders.place")).client.post("/orders/", json=ORDER, headers=bearer("ada"))
    return str(answer.json()["order_id"])


def captured(order_id: str) -> PaymentsCaptured:
    """The event that its payment was captured."""
    return PaymentsCaptured(order_id=order_id, amount="99.50", currency="EUR")


async def test_a_captured_payment_confirms_the_order(serve: Any, order_id: str) -> None:
    """204 with nothing in it, and orders.confirmed.v1 that knows what caused it."""
    served = await serve("orders.confirm")
    event = event_of(captured(order_id), extensions={"correlationid": "c-1"})
    answer = await served.post_event(event)
    ((attributes,),) = await served.sql(
        "SELECT attributes::text FROM outbox WHERE attributes->>'type' LIKE '%confirmed%'"
    )

    assert (answer.status_code, answer.content) == (204, b"")
    assert [tuple(row) for row in await served.sql("SELECT status FROM orders")] == [("confirmed",)]
    assert f'"causationid": "{event.id}"' in attributes
    assert '"correlationid": "c-1"' in attributes


async def test_the_same_event_at_once_and_again_is_handled_once(serve: Any, order_id: str) -> None:
    """Each copy is answered 204; one event follows."""
    served = await serve("orders.confirm")
    event = event_of(captured(order_id))
    answers = await asyncio.gather(*(served.post_event(event) for _ in range(5)))

    assert {answer.status_code for answer in answers} == {204}
    assert [kind for kind, _ in await served.outbox()] == ["orders.placed.v1", "orders.confirmed.v1"]


async def test_an_order_that_was_cancelled_stays_so(serve: Any, order_id: str) -> None:
    """The late capture is acknowledged and changes nothing here."""
    await (await serve("orders.cancel")).client.post(f"/orders/{order_id}/cancel", headers=bearer("ada"))
    served = await serve("orders.confirm")
    answer = await served.post_event(captured(order_id))

    assert answer.status_code == 204
    assert [tuple(row) for row in await served.sql("SELECT status FROM orders")] == [("cancelled",)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"order_id": "01a20b76-4eb5-7c00-90cb-bcd920daa209", "amount": "1.00", "currency": "EUR"}', "no such order"),
        (b'{"order_id": 5, "amount": "1.00", "currency": "EUR"}', "order_id"),
        (b'{"amount": NaN}', "NaN"),
        (b"[" * 1000, "deeper"),
        (b"", "not JSON"),
    ],
)
async def test_what_can_never_be_handled_is_recorded_and_answered_204(serve: Any, data: bytes, reason: str) -> None:
    """Once, with the original event and the reason, however often it comes."""
    served = await serve("orders.confirm")
    event = event_of(captured("01a20b76-4eb5-7c00-90cb-bcd920daa209"), data=data)
    answers = [await served.post_event(event) for _ in range(2)]
    ((kind, refused),) = await served.outbox()

    assert {answer.status_code for answer in answers} == {204}
    assert kind == "orders.event-refused.v1"
    assert reason in refused["reason"]
    assert (refused["function"], refused["event"]["id"]) == ("orders-confirm", event.id)


async def test_the_same_id_with_other_content_is_refused(serve: Any, order_id: str) -> None:
    """The first stays handled; the second is recorded as refused."""
    served = await serve("orders.confirm")
    event = event_of(captured(order_id))
    await served.post_event(event)
    await served.post_event(event_of(captured(order_id), id=event.id, data=event.data.replace(b"99.50", b"1.00")))

    assert [kind for kind, _ in await served.outbox()][-1] == "orders.event-refused.v1"


async def test_an_event_of_another_type_is_refused(serve: Any, order_id: str) -> None:
    """A Trigger that lets it through is a mistake that should be seen."""
    served = await serve("orders.confirm")
    await served.post_event(event_of(captured(order_id), type="users.registered.v1"))

    assert "does not know events of type users.registered.v1" in (await served.outbox())[-1][1]["reason"]


async def test_what_is_no_event_is_a_400(serve: Any) -> None:
    """An event with no id would look new at each delivery."""
    served = await serve("orders.confirm")
    headers = {"ce-specversion": "1.0", "ce-source": "/x", "ce-type": "payments.captured.v1"}
    answer = await served.client.post("/", content=b"{}", headers=headers)

    assert (answer.status_code, answer.json()["detail"]) == (400, "this CloudEvent has no id")
