"""The adapter to our own card processor, the function payments-simulate."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from eventing import strictjson
from functions.httpcalls import bounded_client
from functions.money import Money, decimal
from functions.payments import webhooks
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

_ANSWER_BYTES_MAX = 256 * 1024


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
        self._client = bounded_client(
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

    async def authorise(self, key: str, money: Money, token: str) -> Answer:
        """Hold money on the card; raises ProcessorSilent."""
        body = {"amount": money.amount, "currency": money.currency, "token": token}
        return _answer(await self._post("/charges", key, body), money)

    async def capture(self, key: str, money: Money) -> Answer:
        """Take what is held; raises ProcessorSilent."""
        return _answer(await self._post(f"/charges/{key}/capture", key, {}), money)

    async def void(self, key: str, money: Money) -> Answer:
        """Let go what is held, or make sure that nothing ever is; raises ProcessorSilent."""
        body = {"amount": money.amount, "currency": money.currency}
        return _answer(await self._post(f"/charges/{key}/void", key, body), money)

    async def refund(self, key: str, charge: str, money: Money) -> None:
        """Give back what was captured; raises ProcessorSilent."""
        body = {"charge": charge, "amount": money.amount, "currency": money.currency}
        if (await self._post("/refunds", key, body)).get("outcome") != "refunded":
            raise ProcessorSilent("it answered what it was not asked")

    async def look_up(self, key: str) -> Answer | Nothing:
        """What became of a charge; raises ProcessorSilent."""
        answer = await self._sent("GET", f"/charges/{key}", {}, None)
        return Nothing() if answer is None else _answer(answer, None)

    async def charges(self) -> AsyncIterator[Charged]:
        """Every charge in its books; raises ProcessorSilent."""
        after = ""
        while True:
            page = await self._sent("GET", f"/charges/?after={quote(after)}", {}, None)
            rows = (page or {}).get("charges") or []
            for row in rows:
                captured = row["outcome"] == "captured"
                nothing = decimal(0, row["currency"])
                yield Charged(
                    row["key"],
                    row["amount"] if captured else nothing,
                    row["refunded"],
                    1 if captured else 0,
                )
            if not rows:
                return
            after = rows[-1]["key"]

    async def _post(self, path: str, key: str, body: dict[str, str]) -> dict[str, Any]:
        answer = await self._sent("POST", path, {"idempotency-key": key}, body)
        if answer is None:
            raise ProcessorSilent("it answered 404")
        return answer

    async def _sent(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, str] | None
    ) -> dict[str, Any] | None:
        try:
            answer = await self._client.request(method, self._settings.url + path, json=body, headers=headers)
        except httpx.TimeoutException as error:
            raise ProcessorSilent(f"no answer within {self._settings.timeout_seconds:g} s") from error
        except httpx.HTTPError as error:
            raise ProcessorSilent(str(error) or type(error).__name__) from error
        if answer.status_code == 404 and method == "GET":
            return None
        if not answer.is_success or len(answer.content) > _ANSWER_BYTES_MAX:
            raise ProcessorSilent(f"it answered {answer.status_code}")
        try:
            parsed = strictjson.parse(answer.content, depth_max=8)
        except strictjson.InvalidJson as error:
            raise ProcessorSilent("its answer is no JSON") from error
        return parsed if isinstance(parsed, dict) else {}


def read_webhook(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Told:
    """What a call of the simulator's tells, signed as Standard Webhooks has it.

    Raises:
        BadSignature: it is not from it, or too old.
        ValueError: the body is not what it sends.
    """
    message_id = webhooks.verify(secrets, headers, body, now)
    data = strictjson.parse(body, depth_max=8)["data"]
    return Told(message_id, str(data["key"]), _answer(data, None))


_ANSWERS: dict[str, Answer] = {
    "authorised": Authorised(),
    "pending": Pending(),
    "captured": Captured(),
    "expired": Expired(),
    "voided": Voided(),
}


def _answer(said: dict[str, Any], money: Money | None) -> Answer:
    """What it said, as the port has it.

    Raises:
        ProcessorSilent: about another amount, or nothing that is known: nobody here can settle that.
    """
    if money is not None and (said.get("amount"), said.get("currency")) != (money.amount, money.currency):
        raise ProcessorSilent("it answered what it was not asked")
    outcome = said.get("outcome")
    if outcome == "declined":
        return Declined(str(said.get("reason"))[:100])
    if outcome not in _ANSWERS:
        raise ProcessorSilent("it answered what it was not asked")
    return _ANSWERS[outcome]
