"""What follows an attempt: a table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventing.delivery import (
    NATS,
    RABBITMQ,
    DeadLetter,
    Delivered,
    DeliverySpec,
    GivenUp,
    InvalidDelivery,
    Outcome,
    RetryIn,
    back_off_seconds,
    next_step,
    parse_delivery,
    whole_seconds,
)

SPEC = DeliverySpec(retry=3)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    """On whichever attempt."""
    assert next_step(Outcome(status), 4, SPEC) == Delivered()


@pytest.mark.parametrize("status", [0, 404, 408, 409, 429, 500, 502, 503, 599])
def test_these_are_tried_again_until_the_retries_are_over(status: int) -> None:
    """Three retries are four attempts."""
    assert isinstance(next_step(Outcome(status), 3, SPEC), RetryIn)
    assert next_step(Outcome(status), 4, SPEC) == DeadLetter()


@pytest.mark.parametrize("status", [301, 400, 401, 403, 410, 413, 415, 422])
def test_these_are_final_at_once(status: int) -> None:
    """Another attempt would end the same."""
    assert next_step(Outcome(status), 1, SPEC) == DeadLetter()


def test_the_default_policy_waits_for_204_seconds_in_all() -> None:
    """0.2 s doubled ten times, as config-br-defaults has it."""
    waits = [back_off_seconds(attempt, DeliverySpec()) for attempt in range(1, 11)]

    assert (waits[0], waits[-1], round(sum(waits), 1)) == (0.2, 102.4, 204.6)


def test_linear_grows_by_the_delay_and_begins_at_once() -> None:
    """delay x (n-1), as Knative's code (not its documentation) has it."""
    spec = DeliverySpec(backoff_policy="linear", backoff_delay_seconds=0.5)

    assert [back_off_seconds(attempt, spec) for attempt in (1, 2, 3)] == [0.0, 0.5, 1.0]


@given(st.integers(1, 100_000), st.sampled_from(["linear", "exponential"]))
def test_no_wait_overflows(attempt: int, policy: str) -> None:
    """At most a day, however often."""
    assert 0 <= back_off_seconds(attempt, DeliverySpec(backoff_policy=policy)) <= 86_400


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT0.2S", 0.2), ("PT1M30S", 90.0), ("P1D", 86_400.0), ("P1DT1H", 90_000.0)]
)
def test_durations_are_iso_8601(text: str, seconds: float) -> None:
    """Days, hours, minutes, seconds."""
    assert parse_delivery({"backoffDelay": text}).backoff_delay_seconds == seconds


@pytest.mark.parametrize(
    "spec",
    [
        {"retry": -1},
        {"retry": True},
        {"retry": "3"},
        {"backoffPolicy": "Exponential"},
        {"backoffDelay": "1s"},
        {"backoffDelay": "PT"},
        {"backoffDelay": "P"},
        {"timeout": "PT0S"},
        {"retryAfterMax": "5s"},
        {"format": "xml"},
    ],
)
def test_what_knative_refuses_is_refused(spec: dict[str, Any]) -> None:
    """By the name of its field."""
    with pytest.raises(InvalidDelivery, match=f"delivery.{next(iter(spec))}"):
        parse_delivery(spec)


def test_a_delivery_without_retry_is_one_attempt() -> None:
    """A Trigger's own delivery replaces the Broker's wholesale: what it leaves out is not inherited."""
    spec = parse_delivery({"deadLetterSink": {"uri": "http://x/"}})

    assert (spec.retry, spec.dead_letter_sink) == (0, "http://x/")


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_over_a_nats_channel_a_4xx_is_given_up(status: int) -> None:
    """No retry, and a dead letter only from the last attempt."""
    spec = DeliverySpec(retry=3, rules=NATS)

    assert next_step(Outcome(status), 1, spec) == GivenUp()
    assert next_step(Outcome(status), 4, spec) == DeadLetter()
    assert next_step(Outcome(503), 1, spec) == RetryIn(0.4)


def test_behind_rabbitmq_a_4xx_counts_as_delivered() -> None:
    """It is acknowledged, and gone; those that are tried again are the strict rules' own."""
    spec = DeliverySpec(retry=3, rules=RABBITMQ)

    assert next_step(Outcome(422), 1, spec) == Delivered()
    assert isinstance(next_step(Outcome(404), 1, spec), RetryIn)


def test_retry_after_is_listened_to_as_far_as_is_allowed() -> None:
    """The longer of the two waits, capped; not at all without retryAfterMax."""
    allowed = parse_delivery({"retry": 3, "retryAfterMax": "PT5S"})

    assert next_step(Outcome(503, retry_after_seconds=2), 1, allowed) == RetryIn(2)
    assert next_step(Outcome(429, retry_after_seconds=60), 1, allowed) == RetryIn(5)
    assert next_step(Outcome(500, retry_after_seconds=60), 1, allowed) == RetryIn(0.2)
    assert next_step(Outcome(503, retry_after_seconds=60), 1, SPEC) == RetryIn(0.2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("0", 0.0), ("120", 120.0), ("\u00b2", None), ("9" * 400, None), ("-1", None), ("1\n", None)],
)
def test_a_retry_after_is_whole_seconds_or_nothing(text: str | None, seconds: float | None) -> None:
    """A date, too, is not listened to."""
    assert whole_seconds(text) == seconds
