"""CloudEvents as AMQP messages: the AMQP protocol binding's binary mode (CloudEvents 1.0.2, section 3.1).

Attributes are headers named `cloudEvents_NAME` (`cloudEvents:NAME` is read too, and `ce-NAME`, which Knative's RabbitMQ
Broker writes), `datacontenttype` is the content type, data keeps its bytes. The SDK's own binding is not used: it
writes `time` as milliseconds, which loses what is finer, and sets it to now where an event has none, so that the same
event would be another one at each delivery.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

from aio_pika import DeliveryMode, Message

from eventing.event import Event, rfc3339

_PREFIX = "cloudEvents_"
_PREFIXES = (_PREFIX, "cloudEvents:", "ce-")
_ATTEMPTS = "wake-attempts"
_DUE = "wake-due"
_HOME = "wake-home"
# A short string of AMQP 0-9-1 has at most so many bytes; longer content types travel as a header.
_SHORT_BYTES_MAX = 255


class Received(Protocol):
    """A message as it came."""

    @property
    def headers(self) -> Mapping[str, Any]:
        """By their names."""

    @property
    def content_type(self) -> str | None:
        """The property of that name."""

    @property
    def body(self) -> bytes:
        """The data."""


def to_message(event: Event) -> Message:
    """The persistent message of an event."""
    attributes = event.attributes
    content_type = attributes.get("datacontenttype")
    if content_type is not None and len(content_type.encode()) <= _SHORT_BYTES_MAX:
        del attributes["datacontenttype"]
    else:
        content_type = None
    headers: dict[str, Any] = {_PREFIX + name: value for name, value in attributes.items()}
    return Message(event.data, headers=headers, content_type=content_type, delivery_mode=DeliveryMode.PERSISTENT)


def to_waiting(event: Event, attempts: int, due: float, home: str) -> Message:
    """The message of an event that was tried so often, and goes home to a queue at a time (seconds since 1970)."""
    message = to_message(event)
    message.headers |= {_ATTEMPTS: attempts, _DUE: math.ceil(due * 1000), _HOME: home}
    return message


def again(message: Received) -> Message:
    """The same message, to be published once more."""
    headers = {name: value for name, value in message.headers.items() if not name.startswith("x-")}
    return Message(
        message.body, headers=headers, content_type=message.content_type, delivery_mode=DeliveryMode.PERSISTENT
    )


def due(message: Received) -> float:
    """When a waiting message goes home, in seconds since 1970."""
    return _number(message.headers.get(_DUE)) / 1000


def home(message: Received) -> str:
    """The queue that a waiting message goes home to."""
    return str(message.headers.get(_HOME, ""))


def of_message(message: Received) -> Event | None:
    """The event of a message; None for one that is no event."""
    attributes: dict[str, str] = {}
    try:
        for name, value in message.headers.items():
            if attribute := _attribute(name):
                attributes[attribute] = value if isinstance(value, str) else _text(value)
        if message.content_type is not None:
            attributes["datacontenttype"] = message.content_type
        if not all(attributes.get(name) for name in ("id", "source", "type")):
            return None
        return Event.of_attributes(attributes, message.body)
    except ValueError:
        # Its time is none, or a text is not UTF-8.
        return None


def attempt(headers: Mapping[str, Any], *, redelivered: bool) -> int:
    """The number of this delivery, from 1: those that were answered `Again`, and those that nobody answered.

    A quorum queue counts the latter in `x-delivery-count`; from RabbitMQ 4.3 on it tells them apart, and those whose
    consumer went away are only in `x-acquired-count`.
    """
    counted = max(_number(headers.get("x-delivery-count")), _number(headers.get("x-acquired-count")))
    return _number(headers.get(_ATTEMPTS)) + max(counted, int(redelivered)) + 1


@lru_cache(1024)
def _attribute(name: str) -> str | None:
    """The attribute that a header of this name holds; the same few names come for ever."""
    prefix = next((one for one in _PREFIXES if name.startswith(one)), None)
    return None if prefix is None else name[len(prefix) :].lower()


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _text(value: Any) -> str:
    """An attribute that somebody else wrote in a type of AMQP's own, in its canonical text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return rfc3339(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value.decode() if isinstance(value, bytes) else str(value)
