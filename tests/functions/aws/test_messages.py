"""What a Lambda invocation holds, without Lambda."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventing.event import Event, to_json
from eventing.gate import NotAnEvent, from_json
from functions.aws import http, messages
from functions.aws.messages import Message, UnknownInvocation
from tests.functions.aws.runtime_api import sample

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"), exclude_characters="\ufffd"))
EVENTS = st.builds(
    Event,
    id=TEXT.filter(str.strip),
    source=st.just("/wake/payments"),
    type=st.just("payments.captured.v1"),
    datacontenttype=st.just("application/json"),
    data=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(
        lambda data: json.dumps(data).encode() if data is not None else b""
    ),
)


def queued(body: str, **attributes: str) -> Message:
    """The message of a batch of one."""
    record = sample("sqs_record", id="1", event=body)
    record["attributes"] |= attributes
    (message,) = messages.of_sqs({"Records": [record]})
    return message


@given(EVENTS)
def test_an_event_is_the_same_in_every_envelope(event: Event) -> None:
    """To the byte: an inbox would take it for another."""
    bare = to_json(event, exact=True).decode()
    envelope = sample("eventbridge", event=json.loads(bare))
    in_eventbridge = json.dumps(envelope)
    (notified,) = messages.of_sns(sample("sns", event=bare))
    bodies = [
        messages.of_event(envelope).body,
        messages.of_event(json.loads(bare)).body,
        notified.body,
        *(queued(one).body for one in (bare, in_eventbridge)),
        *(queued(json.dumps(sample("sns_in_sqs", event=one))).body for one in (bare, in_eventbridge)),
    ]

    assert [from_json(body) for body in bodies] == [event] * 7


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_what_is_in_no_envelope_is_left_for_the_gate(body: str) -> None:
    """Nothing is judged in two places."""
    message = queued(body)

    assert message.body == body.encode(errors="surrogatepass")
    with pytest.raises(NotAnEvent):
        from_json(message.body)


def test_envelopes_end_somewhere() -> None:
    """Whoever may send to a queue cannot have us open them for ever."""
    body = "{}"
    for _ in range(10):
        body = json.dumps(sample("sns_in_sqs", event=body))

    with pytest.raises(NotAnEvent, match="no id"):
        from_json(queued(body).body)


def test_an_event_of_aws_own_becomes_one() -> None:
    """Its envelope has all that a CloudEvent needs."""
    envelope = sample("eventbridge", event={"bucket": {"name": "receipts"}})
    event = from_json(messages.of_event(envelope | {"source": "aws.s3", "detail-type": "Object Created"}).body)

    assert ("aws.s3", "Object Created", envelope["id"]) == (event.source, event.type, event.id)
    assert json.loads(event.data) == {"bucket": {"name": "receipts"}}


def test_a_dead_letter_says_which_queue_gave_it_up() -> None:
    """As Knative's Broker says which subscriber; deadletters-keep shows it."""
    event = Event(id="1", source="/wake/orders", type="orders.placed.v1")
    arn = "arn:aws:sqs:eu-central-1:123456789012:wake-payments-charge"
    letter = from_json(queued(to_json(event).decode(), DeadLetterQueueSourceArn=arn).body)

    assert letter == event.with_extensions(knativeerrordest="wake-payments-charge")
    assert queued("no event", DeadLetterQueueSourceArn=arn).body == b"no event"


@pytest.mark.parametrize("event", [None, [], "text", {}, {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}])
def test_anything_else_is_no_invocation(event: Any) -> None:
    """An S3 notification, a test from the console."""
    with pytest.raises(UnknownInvocation):
        messages.kind_of(event)


@pytest.mark.parametrize(
    ("version", "stage", "base", "path", "expected"),
    [
        ("2.0", "$default", "", "/orders/", "/orders/"),
        ("2.0", "prod", "", "/prod/orders/", "/orders/"),
        ("2.0", "prod", "", "/prod", "/"),
        ("2.0", "prod", "", "/production/", "/production/"),
        ("2.0", "$default", "v1", "/v1/orders/7", "/orders/7"),
        ("2.0", "prod", "/v1", "/orders/v1", "/orders/v1"),
        (None, "prod", "", "/prod/orders/", "/prod/orders/"),
        (None, "prod", "v1", "/v1/orders/", "/orders/"),
    ],
)
def test_the_path_is_the_apis(version: str | None, stage: str, base: str, path: str, expected: str) -> None:
    """An HTTP API puts its stage before it, a domain's mapping stays; a REST API has taken the stage off."""
    assert http.path_of({"version": version, "requestContext": {"stage": stage}}, path, base) == expected


def test_several_values_of_a_header_stay_several() -> None:
    """And the word of the gateway cannot be said by a caller."""
    event = {"multiValueHeaders": {"Cookie": ["a=1", "b=2"], "X-Envoy-Expected-Rq-Timeout-Ms": ["60000"]}}

    assert http.headers_of(event, []) == [(b"cookie", b"a=1"), (b"cookie", b"b=2")]
    assert http.headers_of({}, [(b"x-envoy-expected-rq-timeout-ms", b"1"), (b"host", b"x")]) == [(b"host", b"x")]
