"""The adapter to our own card processor, the function payments-simulate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from eventing import strictjson
from eventing.httpclient import client
from functions.money import Money
from functions.payments.cards.port import Captured, Declined, ProcessorSilent

_ANSWER_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class SimulatorSettings:
    """Where the simulator is, and how long it may take."""

    url: str = "http://payments-simulate.shop.svc.cluster.local"
    #: Seconds for an answer. Beyond it the money's fate is unknown and the processor is asked again.
    timeout_seconds: float = 5.0

    @classmethod
    def from_environment(cls) -> SimulatorSettings:
        """CARD_PROCESSOR_URL, CARD_PROCESSOR_TIMEOUT_SECONDS."""
        return cls(
            os.environ.get("CARD_PROCESSOR_URL", cls.url),
            float(os.environ.get("CARD_PROCESSOR_TIMEOUT_SECONDS", cls.timeout_seconds)),
        )


class Simulator:
    """One pooled client."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._client = client(
            secure=settings.url.startswith("https:"), timeout=httpx.Timeout(settings.timeout_seconds, connect=2.0)
        )

    async def __aenter__(self) -> Self:
        """Nothing connects yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def capture(self, key: str, money: Money, token: str) -> Captured | Declined:
        """Take money from the card; raises ProcessorSilent."""
        body = {"amount": money.amount, "currency": money.currency, "token": token}
        answer = await self._post("/charges", key, body)
        match answer:
            case {"outcome": "captured", "amount": money.amount, "currency": money.currency}:
                return Captured()
            case {"outcome": "declined", "reason": str(reason)}:
                return Declined(reason[:100])
        # A processor that took another amount did something that nobody here can settle.
        raise ProcessorSilent("it answered what it was not asked")

    async def refund(self, key: str, charge_key: str, money: Money) -> None:
        """Give back what was captured; raises ProcessorSilent."""
        answer = await self._post(
            "/refunds", key, {"charge": charge_key, "amount": money.amount, "currency": money.currency}
        )
        if answer.get("outcome") != "refunded":
            raise ProcessorSilent("it answered what it was not asked")

    async def _post(self, path: str, key: str, body: dict[str, str]) -> dict[str, Any]:
        try:
            answer = await self._client.post(self._settings.url + path, json=body, headers={"idempotency-key": key})
        except httpx.TimeoutException as error:
            raise ProcessorSilent(f"no answer within {self._settings.timeout_seconds:g} s") from error
        except httpx.HTTPError as error:
            raise ProcessorSilent(str(error) or type(error).__name__) from error
        if not answer.is_success or len(answer.content) > _ANSWER_BYTES_MAX:
            raise ProcessorSilent(f"it answered {answer.status_code}")
        try:
            parsed = strictjson.parse(answer.content, depth_max=8)
        except strictjson.InvalidJson as error:
            raise ProcessorSilent("its answer is no JSON") from error
        return parsed if isinstance(parsed, dict) else {}
