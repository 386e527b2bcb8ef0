"""NATS messages as they come: the event, how often it was delivered, and headers read faster than by the library."""

from __future__ import annotations

import logging
from typing import NamedTuple
from urllib.parse import unquote

from nats.aio.client import Client
from nats.aio.msg import Msg

from eventing.event import Event

_log = logging.getLogger(__name__)
HEADER = "ce-"
_WHITE = " \t\n\r\x0b\x0c"


class WireClient(Client):
    """nats-py, with its headers parsed in a sixth of the time: of a delivery's cost that was a quarter.

    If a later nats-py calls its parser by another name, it is its own again.
    """

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """See there: names are ASCII without white space, values UTF-8; what is not is left out, or replaced."""
        found: dict[str, str] = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            key = name.strip(_WHITE)
            if colon and key.isascii() and (not key or key.split() == [key]):
                found[key] = value.strip(_WHITE)
        return found


class Reply(NamedTuple):
    """What a delivery's reply subject says, which nats-py's `metadata` parses into much more."""

    delivered: int
    place: str


def reply_of(message: Msg) -> Reply:
    """How often it was delivered, and what names it: its number, and when it was stored (a new stream counts from 1).

    `$JS.ACK.STREAM.CONSUMER.DELIVERED.NUMBER.….TIME.PENDING`; newer servers put a domain and an account before STREAM
    (NATS ADR-15).
    """
    words = message.reply.split(".")
    first = 2 if len(words) == 9 else 4
    return Reply(int(words[first + 2]), f"{words[first + 3]}.{words[first + 5]}")


def event_of(message: Msg) -> Event | None:
    """The stored event; None for something that was not stored by a Broker."""
    attributes = {
        name[len(HEADER) :].lower(): unquote(value) if "%" in value else value
        for name, value in (message.headers or {}).items()
        if name[: len(HEADER)].lower() == HEADER
    }
    if not {"id", "source", "type"} <= attributes.keys():
        _log.error("foreign_message_in_stream", extra={"subject": message.subject})
        return None
    return Event.of_attributes(attributes, message.data)
