"""What follows an attempt to deliver: done, again later, or the dead letter sink. Pure.

The rules are the strictest that Knative's brokers have in common, so that what works here works on each of them:
retried are no answer, 5xx, 404, 408, 409 and 429; any other failure is final; a 2xx with a body that is no event has
failed (Knative Eventing, data-plane contract and pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_RETRYABLE = frozenset({404, 408, 409, 429})
_DURATION = re.compile(
    r"^P(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?$"
)
# Doubling for ever overflows long before anybody waits that long; Knative has no cap (eventing issue 9278).
_BACK_OFF_SECONDS_MAX = 24 * 3600.0


class InvalidDelivery(ValueError):
    """A delivery spec that Knative would refuse; the message names the field."""


@dataclass(frozen=True)
class DeliverySpec:
    """How an event is delivered; the defaults are Knative's (config-br-defaults)."""

    retry: int = 10
    backoff_policy: str = "exponential"
    backoff_delay_seconds: float = 0.2
    # Nothing may be held longer than a Service may take to answer (timeoutSeconds, at most 600).
    timeout_seconds: float = 600.0
    dead_letter_sink: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to. `status` is 0 where nothing answered."""

    status: int
    reason: str = ""
    body: bytes = b""

    @property
    def delivered(self) -> bool:
        """Whether the subscriber took the event."""
        return 200 <= self.status < 300

    @property
    def retryable(self) -> bool:
        """Whether another attempt may end differently."""
        return self.status == 0 or self.status >= 500 or self.status in _RETRYABLE


@dataclass(frozen=True)
class Delivered:
    """Nothing more to do."""


@dataclass(frozen=True)
class RetryIn:
    """Another attempt after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class DeadLetter:
    """To the dead letter sink, if there is one."""


def next_step(outcome: Outcome, attempt: int, spec: DeliverySpec) -> Delivered | RetryIn | DeadLetter:
    """What follows attempt number *attempt*, counted from 1; there are retry + 1 of them."""
    if outcome.delivered:
        return Delivered()
    if outcome.retryable and attempt <= spec.retry:
        return RetryIn(back_off_seconds(attempt, spec))
    return DeadLetter()


def back_off_seconds(attempt: int, spec: DeliverySpec) -> float:
    """The wait after failed attempt n: delay x 2^(n-1), or linear, delay x (n-1), so that the first is immediate."""
    if spec.backoff_policy == "linear":
        return min(_BACK_OFF_SECONDS_MAX, spec.backoff_delay_seconds * (attempt - 1))
    return min(_BACK_OFF_SECONDS_MAX, spec.backoff_delay_seconds * 2.0 ** min(attempt - 1, 64))


def parse_delivery(spec: Mapping[str, Any]) -> DeliverySpec:
    """A `delivery` block in which the sink was resolved to a `uri`.

    Raises:
        InvalidDelivery: a field that Knative would refuse, or one that is not honoured here.
    """
    unknown = set(spec) - {"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"}
    if unknown:
        raise InvalidDelivery(f"delivery.{min(unknown)} is not supported")
    retry = spec.get("retry", 0)
    if not isinstance(retry, int) or isinstance(retry, bool) or retry < 0:
        raise InvalidDelivery("delivery.retry is a whole number, 0 or more")
    policy = spec.get("backoffPolicy", "exponential")
    if policy not in {"linear", "exponential"}:
        raise InvalidDelivery("delivery.backoffPolicy is linear or exponential")
    defaults = DeliverySpec()
    timeout = spec.get("timeout")
    if timeout is not None and duration_seconds(timeout, "timeout") <= 0:
        raise InvalidDelivery("delivery.timeout has to be longer than nothing")
    return DeliverySpec(
        retry=retry,
        backoff_policy=policy,
        backoff_delay_seconds=duration_seconds(spec.get("backoffDelay", "PT0.2S"), "backoffDelay"),
        timeout_seconds=defaults.timeout_seconds if timeout is None else duration_seconds(timeout, "timeout"),
        dead_letter_sink=(spec.get("deadLetterSink") or {}).get("uri"),
    )


def duration_seconds(text: Any, field: str) -> float:
    """Seconds of an ISO 8601 duration in days and smaller parts.

    Raises:
        InvalidDelivery: it is none.
    """
    found = _DURATION.match(text) if isinstance(text, str) else None
    if found is None or not any(found.groupdict().values()):
        raise InvalidDelivery(f"delivery.{field} is an ISO 8601 duration such as PT0.5S, not {text!r}")
    parts = {name: float(value or 0) for name, value in found.groupdict().items()}
    return ((parts["days"] * 24 + parts["hours"]) * 60 + parts["minutes"]) * 60 + parts["seconds"]
