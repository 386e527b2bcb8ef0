"""What follows an attempt to deliver: done, again later, or the dead letter sink. Pure.

Unless a Broker asks for other rules: retried are no answer, 5xx, 404, 408, 409 and 429; any other failure is final; a
2xx with a body that is no event has failed (Knative Eventing, data-plane contract and pkg/kncloudevents/retries.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

RULES_ANNOTATION = "wake.dev/rules"
_FIELDS = frozenset({"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink", "retryAfterMax", "format"})
_WHOLE_SECONDS = re.compile(r"[0-9]{1,9}")
_DURATION = re.compile(
    r"^P(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?$"
)
# Doubling for ever overflows long before anybody waits that long; Knative has no cap (eventing issue 9278).
_BACK_OFF_SECONDS_MAX = 24 * 3600.0


class InvalidDelivery(ValueError):
    """A delivery spec that Knative would refuse; the message names the field."""


@dataclass(frozen=True)
class Rules:
    """Where Knative's brokers and channels differ. No answer and 5xx are tried again by all of them.

    `retried`: the other codes that are tried again. `final`: what becomes of the rest: to the dead letter sink; taken
    as delivered; or given up, with a dead letter only where it was the last attempt. `first`: the number of the first
    retry, from which the wait is computed.
    """

    name: str
    retried: frozenset[int]
    final: Literal["dead-letter", "delivered", "given-up"]
    first: int


# The strictest that they have in common, so that what works here works on each of them.
STRICTEST = Rules("strictest", frozenset({404, 408, 409, 429}), "dead-letter", 0)
MT = Rules("MTChannelBasedBroker", frozenset({404, 408, 409, 429}), "dead-letter", 0)
# natss pkg/channel/jetstream/dispatcher/message_dispatcher.go.
NATS = Rules("NatsJetStreamChannel", frozenset({408, 429}), "given-up", 1)
# eventing-rabbitmq pkg/dispatcher/dispatcher.go.
RABBITMQ = Rules("RabbitMQBroker", frozenset({404, 408, 409, 429}), "delivered", 0)
RULES: Mapping[str, Rules] = {one.name: one for one in (STRICTEST, MT, NATS, RABBITMQ)}


@dataclass(frozen=True)
class DeliverySpec:
    """How an event is delivered; the defaults are Knative's (config-br-defaults)."""

    retry: int = 10
    backoff_policy: str = "exponential"
    backoff_delay_seconds: float = 0.2
    # Nothing may be held longer than a Service may take to answer (timeoutSeconds, at most 600).
    timeout_seconds: float = 600.0
    dead_letter_sink: str | None = None
    # How long a Retry-After of a 429 or 503 may make us wait; None where it is not listened to.
    retry_after_seconds_max: float | None = None
    # The mode events are sent in.
    format: Literal["binary", "json"] = "binary"
    rules: Rules = STRICTEST


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to. `status` is 0 where nothing answered."""

    status: int
    reason: str = ""
    body: bytes = b""
    retry_after_seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether the subscriber took the event."""
        return 200 <= self.status < 300


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


@dataclass(frozen=True)
class GivenUp:
    """Nobody gets it: these rules lose it here."""


Step: TypeAlias = Delivered | RetryIn | DeadLetter | GivenUp


def next_step(outcome: Outcome, attempt: int, spec: DeliverySpec) -> Step:
    """What follows attempt number *attempt*, counted from 1; there are retry + 1 of them."""
    if outcome.delivered:
        return Delivered()
    retryable = outcome.status == 0 or outcome.status >= 500 or outcome.status in spec.rules.retried
    if retryable and attempt <= spec.retry:
        wait = back_off_seconds(attempt, spec)
        if spec.retry_after_seconds_max is not None and outcome.status in {429, 503}:
            wait = max(wait, min(outcome.retry_after_seconds, spec.retry_after_seconds_max))
        return RetryIn(wait)
    if not retryable and spec.rules.final == "delivered":
        return Delivered()
    if not retryable and spec.rules.final == "given-up" and attempt <= spec.retry:
        return GivenUp()
    return DeadLetter()


def back_off_seconds(attempt: int, spec: DeliverySpec) -> float:
    """The wait after failed attempt n: delay x 2^(n-1), or linear, delay x (n-1), so that the first is immediate.

    Over NatsJetStreamChannel retries are counted from 1 instead, so that each wait is the next one's.
    """
    number = attempt - 1 + spec.rules.first
    if spec.backoff_policy == "linear":
        return min(_BACK_OFF_SECONDS_MAX, spec.backoff_delay_seconds * number)
    return min(_BACK_OFF_SECONDS_MAX, spec.backoff_delay_seconds * 2.0 ** min(number, 64))


def parse_delivery(spec: Mapping[str, Any]) -> DeliverySpec:
    """A `delivery` block in which the sink was resolved to a `uri`.

    Raises:
        InvalidDelivery: a field that Knative would refuse, or one that is not honoured here.
    """
    unknown = set(spec) - _FIELDS
    if unknown:
        raise InvalidDelivery(f"delivery.{min(unknown)} is not supported")
    retry = spec.get("retry", 0)
    if not isinstance(retry, int) or isinstance(retry, bool) or retry < 0:
        raise InvalidDelivery("delivery.retry is a whole number, 0 or more")
    policy = spec.get("backoffPolicy", "exponential")
    if policy not in {"linear", "exponential"}:
        raise InvalidDelivery("delivery.backoffPolicy is linear or exponential")
    form = spec.get("format", "binary")
    if form not in {"binary", "json"}:
        raise InvalidDelivery("delivery.format is binary or json")
    defaults = DeliverySpec()
    timeout, most = spec.get("timeout"), spec.get("retryAfterMax")
    if timeout is not None and duration_seconds(timeout, "timeout") <= 0:
        raise InvalidDelivery("delivery.timeout has to be longer than nothing")
    return DeliverySpec(
        retry=retry,
        backoff_policy=policy,
        backoff_delay_seconds=duration_seconds(spec.get("backoffDelay", "PT0.2S"), "backoffDelay"),
        timeout_seconds=defaults.timeout_seconds if timeout is None else duration_seconds(timeout, "timeout"),
        dead_letter_sink=(spec.get("deadLetterSink") or {}).get("uri"),
        retry_after_seconds_max=None if most is None else duration_seconds(most, "retryAfterMax"),
        format=form,
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


def whole_seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After (RFC 9110, section 10.2.3); None where it is absent, a date, or no such time."""
    known = retry_after is not None and _WHOLE_SECONDS.fullmatch(retry_after)
    return float(known[0]) if known else None
