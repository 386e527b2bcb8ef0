"""The adapter to Stripe, against the shapes of its documented API (docs.stripe.com/api, version 2024-06-20)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from functions.money import Money
from functions.payments.cards.port import (
    Authorised,
    Captured,
    Charged,
    Declined,
    Expired,
    Nothing,
    Pending,
    ProcessorSilent,
    Voided,
)
from functions.payments.cards.stripe import Stripe, StripeSettings, answer_of, read_webhook
from functions.payments.webhooks import BadSignature

MONEY = Money(9950, "EUR")
KEY = "01a20b76-4eb5-7c00-90cb-bcd920daa209"


def intent(status: str, **changed: Any) -> dict[str, Any]:
    """A PaymentIntent, with the fields of the API reference that matter."""
    return {
        "id": "pi_3MtwBwLkdIwHu7ix28a3tqPa",
        "object": "payment_intent",
        "amount": 9950,
        "amount_capturable": 9950 if status == "requires_capture" else 0,
        "amount_received": 9950 if status == "succeeded" else 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "manual",
        "client_secret": "pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoGH",
        "created": 1680800504,
        "currency": "eur",
        "last_payment_error": None,
        "latest_charge": "ch_3MmlLrLkdIwHu7ix0snN0B15" if status in {"requires_capture", "succeeded"} else None,
        "livemode": False,
        "metadata": {"wake_key": KEY},
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "status": status,
        **changed,
    }


CARD_ERROR = {
    "error": {
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "doc_url": "https://stripe.com/docs/error-codes/card-declined",
        "message": "Your card has insufficient funds.",
        "payment_intent": intent("requires_payment_method"),
        "type": "card_error",
    }
}
Route = tuple[int, Any]


class Account:
    """What Stripe would answer, by method and path; and what it was sent."""

    def __init__(self, **answers: Route) -> None:
        self.answers = answers
        self.sent: list[tuple[str, dict[str, str], str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        fields = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        assert request.headers["authorization"] == "Bearer sk_test_1"
        path = request.url.path.removeprefix("/v1/")
        name = path.rpartition("/")[2]
        what = f"{request.method.lower()}_{'intent' if name.startswith('pi_') else name}"
        self.sent.append((f"{request.method} {path}", fields, request.headers.get("idempotency-key")))
        status, body = self.answers[what]
        return httpx.Response(status, json=body)


def stripe(account: Callable[[httpx.Request], httpx.Response]) -> Stripe:
    """The adapter, talking to this account."""
    return Stripe(StripeSettings("sk_test_1"), httpx.MockTransport(account))


CREATED = {"post_payment_intents": (200, intent("requires_payment_method"))}


async def test_a_payment_is_created_confirmed_and_captured_under_keys_of_ours() -> None:
    """Held by hand, form-encoded, in minor units; every call that changes something carries a key."""
    account = Account(
        **CREATED,
        get_intent=(200, intent("requires_payment_method")),
        post_confirm=(200, intent("requires_capture")),
    )
    async with stripe(account) as processor:
        assert await processor.authorise(KEY, MONEY, "pm_card_visa") == Authorised()
        account.answers |= {"get_intent": (200, intent("requires_capture")), "post_capture": (200, intent("succeeded"))}
        assert await processor.capture(KEY, MONEY) == Captured()

    (_, created, key), _, (_, confirmed, confirm_key), *_ = account.sent
    assert (created["amount"], created["currency"], created["capture_method"]) == ("9950", "eur", "manual")
    assert (created["metadata[wake_key]"], key) == (KEY, f"{KEY}:create")
    assert (confirmed, confirm_key) == ({"payment_method": "pm_card_visa"}, f"{KEY}:confirm")
    assert account.sent[-1][2] == f"{KEY}:capture"


async def test_what_was_captured_already_is_told_and_not_done_again() -> None:
    """A repeated key gives the first answer again, so the intent is read anew."""
    account = Account(**CREATED, get_intent=(200, intent("succeeded")))
    async with stripe(account) as processor:
        assert await processor.authorise(KEY, MONEY, "pm_card_visa") == Captured()
        assert await processor.capture(KEY, MONEY) == Captured()
        assert await processor.void(KEY, MONEY) == Captured()
    assert {path for path, _, _ in account.sent} == {
        "POST payment_intents",
        "GET payment_intents/pi_3MtwBwLkdIwHu7ix28a3tqPa",
    }


async def test_a_card_error_is_a_decline() -> None:
    """402, with the decline code."""
    account = Account(**CREATED, get_intent=(200, intent("requires_payment_method")), post_confirm=(402, CARD_ERROR))
    async with stripe(account) as processor:
        assert await processor.authorise(KEY, MONEY, "pm_x") == Declined("insufficient_funds")


async def test_voiding_cancels() -> None:
    """Also what was never confirmed: nothing is ever taken by a cancelled intent."""
    account = Account(
        **CREATED, get_intent=(200, intent("requires_payment_method")), post_cancel=(200, intent("canceled"))
    )
    async with stripe(account) as processor:
        assert await processor.void(KEY, MONEY) == Voided()


async def test_a_refund_is_of_a_part_and_under_its_own_key() -> None:
    """Found by our key in its metadata."""
    page = {"object": "search_result", "url": "/v1/payment_intents/search", "has_more": False}
    account = Account(
        get_search=(200, {**page, "data": [intent("succeeded")]}),
        post_refunds=(200, {"id": "re_1Nispe", "object": "refund", "amount": 1000, "status": "succeeded"}),
    )
    async with stripe(account) as processor:
        await processor.refund("refund:1", KEY, Money(1000, "EUR"))
        assert await processor.look_up(KEY) == Captured()
        account.answers["get_search"] = (200, {**page, "data": []})
        assert await processor.look_up(KEY) == Nothing()
    assert account.sent[1][1]["amount"] == "1000"
    assert account.sent[1][2] == "refund:1"


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (intent("requires_capture"), Authorised()),
        (intent("processing"), Pending()),
        (intent("requires_action"), Pending()),
        (intent("succeeded"), Captured()),
        (intent("canceled"), Voided()),
        (intent("canceled", cancellation_reason="automatic"), Expired()),
        (
            intent(
                "requires_payment_method", last_payment_error={"code": "card_declined", "decline_code": "lost_card"}
            ),
            Declined("lost_card"),
        ),
    ],
)
def test_a_status_is_an_answer(found: dict[str, Any], answer: object) -> None:
    """Each that the API reference names."""
    assert answer_of(found) == answer


@pytest.mark.parametrize("status", [409, 429, 500, 503])
async def test_any_other_answer_is_silence(status: int) -> None:
    """Asked again under the same key."""
    async with stripe(lambda _: httpx.Response(status, json={"error": {"type": "api_error"}})) as processor:
        with pytest.raises(ProcessorSilent):
            await processor.authorise(KEY, MONEY, "pm_x")


async def test_the_books_are_read_page_by_page() -> None:
    """Those of ours, with what was captured and refunded."""
    charge = {"id": "ch_1", "object": "charge", "amount_refunded": 1000}
    pages = [
        {"data": [intent("succeeded", latest_charge=charge), intent("canceled", metadata={})], "has_more": True},
        {"data": [intent("canceled", metadata={"wake_key": "2"})], "has_more": False},
    ]
    async with stripe(lambda _: httpx.Response(200, json=pages.pop(0))) as processor:
        found = [one async for one in processor.charges()]

    assert found == [Charged(KEY, "99.50", "10.00", 1), Charged("2", "0.00", None, 0)]


def signed(body: bytes, secret: str = "whsec_test", at: int = 1000) -> dict[str, str]:
    """Stripe's own header."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "stripe-signature": f"t={at},v1={digest},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    }


def test_its_webhooks_are_verified_and_read() -> None:
    """By its own scheme; about other objects nothing is told."""
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "data": {"object": intent("succeeded")},
    }
    body = json.dumps(event).encode()
    told = read_webhook(signed(body), body, ["whsec_test"], 1000)

    assert told is not None
    assert (told.id, told.key, told.answer) == ("evt_1", KEY, Captured())
    for headers, now in ((signed(body, "other"), 1000), (signed(body), 1301), ({}, 1000)):
        with pytest.raises(BadSignature):
            read_webhook(headers, body, ["whsec_test"], now)
    other = json.dumps({"id": "evt_2", "data": {"object": {"object": "customer"}}}).encode()
    assert read_webhook(signed(other), other, ["whsec_test"], 1000) is None
