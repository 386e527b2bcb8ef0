"""payments-webhook: signed, once, late, reordered, or by nobody."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from functions.payments.webhooks import sign
from tests.functions.payments.conftest import ORDER_ID, SECRET, Cards, books, cancelled, placed

PATH = "/payments/webhooks/simulator"


def call(outcome: str = "captured", key: str = ORDER_ID, **said: Any) -> bytes:
    """A body as the simulator sends it."""
    data = {"key": key, "amount": "99.50", "currency": "EUR", "outcome": outcome, "reason": None, **said}
    return json.dumps({"type": "charge.updated", "data": data}).encode()


async def post(
    served: Any, body: bytes, *, message_id: str = "1", secret: str = SECRET, age: float = 0
) -> httpx.Response:
    """Sent, with a signature."""
    headers = {**sign(secret, message_id, int(time.time() - age), body), "content-type": "application/json"}
    answer: httpx.Response = await served.client.post(PATH, content=body, headers=headers)
    return answer


@pytest.mark.parametrize("token", ["tok_webhook", "tok_webhook_twice", "tok_webhook_early", "tok_webhook_stranger"])
async def test_what_the_processor_tells_later_settles_the_payment_once(
    serve: Any, cards: Cards, webhooks: Any, token: str
) -> None:
    """Also twice, also before the answer to the capture, also beside one that is about nobody."""
    charge = await serve("payments.charge")
    assert (await charge.post_event(placed(token))).status_code == 204
    await cards.webhooks_sent()

    assert await books(charge) == [("captured", 9950, 0)]
    assert [kind for kind, _ in await charge.outbox()] == ["payments.captured.v1"]


async def test_a_wrong_signature_tells_nothing_and_the_look_up_does(serve: Any, cards: Cards, webhooks: Any) -> None:
    """401 at the door; payments-settle asks the processor itself."""
    charge = await serve("payments.charge")
    await charge.post_event(placed("tok_webhook_badsig"))
    await cards.webhooks_sent()
    before = await books(charge)
    settle = await serve("payments.settle")
    await settle.sql("UPDATE payments SET due_at = now() RETURNING 1")
    await settle.client.post("/", headers=PING)

    assert before == [("pending", 0, 0)]
    assert await books(settle) == [("captured", 9950, 0)]


PING = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/ping", "ce-type": "dev.knative.sources.ping"}


@pytest.mark.parametrize("late", ["cancelled", "declined"])
async def test_paid_too_late_is_given_back_once(serve: Any, cards: Cards, webhooks: Any, late: str) -> None:
    """With its reason; told again, nothing more happens."""
    charge = await serve("payments.charge")
    if late == "declined":
        await charge.post_event(placed("tok_decline"))
    else:
        await (await serve("payments.refund")).post_event(cancelled())
        await charge.post_event(placed())
    # The processor takes it all the same.
    await cards.served.sql("UPDATE charges SET outcome = 'captured' RETURNING 1")
    for message_id in ("1", "1", "2"):
        assert (await post(webhooks, call(), message_id=message_id)).status_code == 204

    assert await books(charge) == [("refunded", 9950, 9950)]
    assert len(await cards.refunds()) == 1
    refunds = [data for kind, data in await charge.outbox() if kind == "payments.refunded.v1"]
    expected = "the order was cancelled" if late == "cancelled" else "it was captured after it was declined"
    assert [one["reason"] for one in refunds] == [expected]


@pytest.mark.parametrize(
    ("body", "changed", "status"),
    [
        (call(), {"secret": "another"}, 401),
        (call(), {"age": 301}, 401),
        (call(), {"age": -301}, 401),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"data": {"key": "x", "outcome": "stolen"}}', {}, 400),
        (call(key="nobody"), {}, 204),
        (call(key="01900000-0000-7000-8000-000000000000"), {}, 204),
    ],
)
async def test_what_is_not_from_the_processor_is_refused(
    webhooks: Any, body: bytes, changed: dict[str, Any], status: int
) -> None:
    """By status; about a payment that nobody knows, nothing happens."""
    assert (await post(webhooks, body, **changed)).status_code == status


async def test_a_changed_body_does_not_fit_its_signature(webhooks: Any) -> None:
    """One byte; no headers at all; another provider; the same id again with another body."""
    headers = sign(SECRET, "1", int(time.time()), call())
    assert (await webhooks.client.post(PATH, content=call() + b" ", headers=headers)).status_code == 401
    assert (await webhooks.client.post(PATH, content=call())).status_code == 401
    assert (await webhooks.client.post("/payments/webhooks/nobody", content=call())).status_code == 404
