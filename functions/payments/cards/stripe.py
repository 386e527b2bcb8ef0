"""The adapter to Stripe: one PaymentIntent a payment, captured by hand. By its documented API, version 2024-06-20.

Sources: docs.stripe.com/api/payment_intents, /api/refunds, /api/idempotent_requests, /webhooks (signatures).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from eventing import strictjson
from functions.httpcalls import bounded_client
from functions.money import Money, decimal
from functions.payments.cards.port import (
    Answer,
    Authorised,
    Captured,
    Charged,
    Declined,
    Expired,
    Nothing,
    Pending,
    ProcessorSilent,
    Told,
    Voided,
)
from functions.payments.webhooks import WINDOW_SECONDS, BadSignature

_ANSWER_BYTES_MAX = 1024 * 1024
_KEY = "wake_key"


@dataclass(frozen=True)
class StripeSettings:
    """Whose account, where, and how long it may take."""

    api_key: str
    url: str = "https://api.stripe.com"
    #: Seconds for an answer. Beyond it the money's fate is unknown and Stripe is asked again.
    timeout_seconds: float = 20.0

    @classmethod
    def from_environment(cls) -> StripeSettings:
        """STRIPE_API_KEY, CARD_PROCESSOR_URL, CARD_PROCESSOR_TIMEOUT_SECONDS.

        Raises:
            ValueError: there is no key.
        """
        key = os.environ.get("STRIPE_API_KEY", "")
        if not key:
            raise ValueError("CARD_PROCESSOR is stripe, but STRIPE_API_KEY is not set")
        return cls(
            key,
            os.environ.get("CARD_PROCESSOR_URL") or cls.url,
            float(os.environ.get("CARD_PROCESSOR_TIMEOUT_SECONDS", cls.timeout_seconds)),
        )


class Stripe:
    """One pooled client."""

    def __init__(self, settings: StripeSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        timeout = httpx.Timeout(settings.timeout_seconds, connect=5.0)
        secure = settings.url.startswith("https:")
        self._client = (
            bounded_client(secure=secure, timeout=timeout)
            if transport is None
            else httpx.AsyncClient(transport=transport)
        )
        self._settings = settings

    async def __aenter__(self) -> Self:
        """Nothing connects yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def authorise(self, key: str, money: Money, token: str) -> Answer:
        """Create and confirm the PaymentIntent of this key; raises ProcessorSilent."""
        intent = await self._intent(key, money)
        if intent["status"] not in {"requires_payment_method", "requires_confirmation"}:
            return answer_of(intent)
        confirmed = await self._post(f"/{intent['id']}/confirm", f"{key}:confirm", {"payment_method": token})
        return confirmed if isinstance(confirmed, Declined) else answer_of(confirmed)

    async def capture(self, key: str, money: Money) -> Answer:
        """Capture what is held; raises ProcessorSilent."""
        intent = await self._intent(key, money)
        if intent["status"] != "requires_capture":
            return answer_of(intent)
        captured = await self._post(f"/{intent['id']}/capture", f"{key}:capture", {})
        return captured if isinstance(captured, Declined) else answer_of(captured)

    async def void(self, key: str, money: Money) -> Answer:
        """Cancel the PaymentIntent, made for it where there is none: nothing is ever taken by a cancelled one."""
        intent = await self._intent(key, money)
        if intent["status"] in {"succeeded", "canceled"}:
            return answer_of(intent)
        cancelled = await self._post(f"/{intent['id']}/cancel", f"{key}:cancel", {})
        return cancelled if isinstance(cancelled, Declined) else answer_of(cancelled)

    async def refund(self, key: str, charge: str, money: Money) -> None:
        """Give back so much; raises ProcessorSilent."""
        intent = await self._found(charge)
        if intent is None:
            raise ProcessorSilent("it does not know the payment that is to be refunded")
        fields = {"payment_intent": intent["id"], "amount": str(money.minor), f"metadata[{_KEY}]": key}
        refunded = await self._sent("POST", "/v1/refunds", key, fields)
        if refunded.get("status") not in {"succeeded", "pending"} or refunded.get("amount") != money.minor:
            raise ProcessorSilent(f"the refund is {refunded.get('status')}")

    async def look_up(self, key: str) -> Answer | Nothing:
        """What became of the PaymentIntent of this key; raises ProcessorSilent."""
        intent = await self._found(key)
        return Nothing() if intent is None else answer_of(intent)

    async def charges(self) -> AsyncIterator[Charged]:
        """Every PaymentIntent of ours; raises ProcessorSilent."""
        after: dict[str, str] = {}
        while True:
            page = await self._sent("GET", "/v1/payment_intents", None, {"limit": "100", **after})
            for intent in page["data"]:
                key = (intent.get("metadata") or {}).get(_KEY)
                if key is not None:
                    charge = intent.get("latest_charge")
                    back = charge.get("amount_refunded", 0) if isinstance(charge, dict) else None
                    yield _charged(key, intent, back)
            if not page.get("has_more") or not page["data"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    async def _intent(self, key: str, money: Money) -> dict[str, Any]:
        """The PaymentIntent of this key: made now, or found again, as Stripe answers a repeated key."""
        made = await self._post(
            "",
            f"{key}:create",
            {
                "amount": str(money.minor),
                "currency": money.currency.lower(),
                "capture_method": "manual",
                "payment_method_types[]": "card",
                f"metadata[{_KEY}]": key,
            },
        )
        if isinstance(made, Declined):
            raise ProcessorSilent(f"it does not begin a payment: {made.reason}")
        # A repeated key gives the first answer again, whatever happened since.
        return await self._sent("GET", f"/v1/payment_intents/{made['id']}", None, {})

    async def _found(self, key: str) -> dict[str, Any] | None:
        query = {"query": f"metadata['{_KEY}']:'{key}'"}
        found = await self._sent("GET", "/v1/payment_intents/search", None, query)
        return next(iter(found.get("data") or ()), None)

    async def _post(self, path: str, key: str, fields: Mapping[str, str]) -> dict[str, Any] | Declined:
        answer = await self._sent("POST", f"/v1/payment_intents{path}", key, fields, declines=True)
        error = answer.get("error")
        if isinstance(error, dict):
            return Declined(str(error.get("decline_code") or error.get("code") or "declined")[:100])
        return answer

    async def _sent(
        self, method: str, path: str, key: str | None, fields: Mapping[str, str], *, declines: bool = False
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._settings.api_key}", "stripe-version": "2024-06-20"}
        if key is not None:
            headers["idempotency-key"] = key
        sent = {"params": dict(fields)} if method == "GET" else {"data": dict(fields)}
        try:
            answer = await self._client.request(method, self._settings.url + path, headers=headers, **sent)  # type: ignore[arg-type]
        except httpx.TimeoutException as error:
            raise ProcessorSilent(f"no answer within {self._settings.timeout_seconds:g} s") from error
        except httpx.HTTPError as error:
            raise ProcessorSilent(str(error) or type(error).__name__) from error
        if (
            not (answer.is_success or (declines and answer.status_code == 402))
            or len(answer.content) > _ANSWER_BYTES_MAX
        ):
            raise ProcessorSilent(f"it answered {answer.status_code}")
        try:
            parsed = strictjson.parse(answer.content, depth_max=16)
        except strictjson.InvalidJson as error:
            raise ProcessorSilent("its answer is no JSON") from error
        return parsed if isinstance(parsed, dict) else {}


def answer_of(intent: Mapping[str, Any]) -> Answer:
    """What a PaymentIntent's status means.

    Raises:
        ProcessorSilent: a status that is not known.
    """
    match intent.get("status"):
        case "requires_capture":
            return Authorised()
        case "succeeded":
            return Captured()
        case "canceled":
            return Expired() if intent.get("cancellation_reason") == "automatic" else Voided()
        case "processing" | "requires_action" | "requires_confirmation":
            return Pending()
        case "requires_payment_method":
            error = intent.get("last_payment_error") or {}
            return Declined(str(error.get("decline_code") or error.get("code") or "declined")[:100])
    raise ProcessorSilent(f"the payment is {intent.get('status')!r}")


def _charged(key: str, intent: Mapping[str, Any], back: int | None) -> Charged:
    currency = str(intent["currency"]).upper()
    captured = int(intent.get("amount_received") or 0)
    return Charged(
        key,
        decimal(captured, currency),
        None if back is None else decimal(back, currency),
        1 if captured else 0,
    )


def read_webhook(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Told | None:
    """What a call of Stripe's tells about a payment of ours; None where it is about something else.

    Raises:
        BadSignature: it is not from Stripe, or too old.
        ValueError: the body is not what Stripe sends.
    """
    parts = [part.partition("=") for part in headers.get("stripe-signature", "").split(",")]
    stamp = next((value for name, _, value in parts if name.strip() == "t"), "")
    given = [value for name, _, value in parts if name.strip() == "v1"]
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > 12 or abs(now - int(stamp)) > WINDOW_SECONDS:
        raise BadSignature("it is too old, or from the future")
    expected = [hmac.new(one.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest() for one in secrets]
    if not any(hmac.compare_digest(digest.encode(), one.encode()) for digest in expected for one in given):
        raise BadSignature("no signature fits")
    event = json.loads(body)
    intent = event["data"]["object"]
    key = (intent.get("metadata") or {}).get(_KEY) if intent.get("object") == "payment_intent" else None
    return None if key is None else Told(str(event["id"]), str(key), answer_of(intent))
