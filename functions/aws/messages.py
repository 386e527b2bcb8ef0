"""The CloudEvents that a Lambda invocation holds, each as the body of a structured one. Pure.

They arrive in the envelopes of whoever carried them: EventBridge's, SNS', SQS', or one in the other. Nothing is judged
here: what is in no envelope that is known is passed on as it is, and the gate that stands before every event over HTTP
(`eventing.gate`) says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from eventing import strictjson
from eventing.event import compact

Kind = Literal["http", "sqs", "sns", "event"]
_DEPTH_MAX = 64
# SQS holds what SNS holds what EventBridge holds an event: nothing goes deeper.
_ENVELOPES_MAX = 3


class UnknownInvocation(ValueError):
    """A Lambda invocation of none of the kinds that are taken."""

    def __init__(self, event: object) -> None:
        found = ", ".join(sorted(event)[:10]) if isinstance(event, Mapping) else type(event).__name__
        super().__init__(
            "this is no event of API Gateway, a load balancer, a function URL, EventBridge, SQS or SNS, "
            f"and no CloudEvent; it has {found or 'nothing'}"
        )


@dataclass(frozen=True)
class Message:
    """One event: the id that its carrier gave it, its structured body, and its group where the queue is a FIFO one."""

    id: str
    body: bytes
    group: str | None = None


def kind_of(event: Any) -> Kind:
    """Who calls.

    Raises:
        UnknownInvocation: nobody that is known.
    """
    if isinstance(event, Mapping):
        if "requestContext" in event:
            return "http"
        if "detail-type" in event or "specversion" in event:
            return "event"
        first: Mapping[str, Any] = next(iter(event.get("Records") or ()), {})
        # SQS writes it small, SNS large.
        carrier = first.get("eventSource") or first.get("EventSource")
        if carrier == "aws:sqs":
            return "sqs"
        if carrier == "aws:sns":
            return "sns"
    raise UnknownInvocation(event)


def of_sqs(event: Mapping[str, Any]) -> list[Message]:
    """Every message of a batch, in its order."""
    return [_of_record(record) for record in event["Records"]]


def _of_record(record: Mapping[str, Any]) -> Message:
    attributes = record.get("attributes") or {}
    body = _unwrapped(record["body"].encode(errors="surrogatepass"), _ENVELOPES_MAX)
    source = attributes.get("DeadLetterQueueSourceArn")
    if source is not None:
        body = _given_up_by(source.rpartition(":")[2], body)
    return Message(record["messageId"], body, attributes.get("MessageGroupId"))


def of_sns(event: Mapping[str, Any]) -> list[Message]:
    """Every notification; Lambda is given one at a time."""
    return [
        Message(one["Sns"]["MessageId"], _unwrapped(one["Sns"]["Message"].encode(), _ENVELOPES_MAX))
        for one in event["Records"]
    ]


def of_event(event: Mapping[str, Any]) -> Message:
    """EventBridge's envelope, or a structured CloudEvent as a schedule sends it."""
    return Message(str(event.get("id", "")), _structured(event))


def _unwrapped(text: bytes, envelopes: int) -> bytes:
    try:
        found = strictjson.parse(text, depth_max=_DEPTH_MAX)
    except strictjson.InvalidJson:
        return text
    if not isinstance(found, dict):
        return text
    if "specversion" not in found and found.get("Type") == "Notification" and isinstance(found.get("Message"), str):
        inner = found["Message"].encode(errors="surrogatepass")
        return _unwrapped(inner, envelopes - 1) if envelopes else inner
    return _structured(found) if "detail-type" in found else text


def _structured(envelope: Mapping[str, Any]) -> bytes:
    """The CloudEvent in an EventBridge envelope; an event of AWS' own becomes one."""
    if "specversion" in envelope:
        return compact(envelope)
    detail = envelope.get("detail")
    if isinstance(detail, dict) and "specversion" in detail:
        return compact(detail)
    return compact(
        {
            "specversion": "1.0",
            "id": envelope.get("id"),
            "source": envelope.get("source"),
            "type": envelope.get("detail-type"),
            "time": envelope.get("time"),
            "data": detail,
        }
    )


def _given_up_by(queue: str, body: bytes) -> bytes:
    """A dead letter says whose it is, as Knative has it: by the name of the queue that gave it up."""
    try:
        found = strictjson.parse(body, depth_max=_DEPTH_MAX)
    except strictjson.InvalidJson:
        return body
    return compact({"knativeerrordest": queue, **found}) if isinstance(found, dict) else body
