"""AMQP 0-9-1 frames that pass for every event, read and written without the library, which takes long for them. Pure.

A delivery is three frames (AMQP 0-9-1, sections 2.3.5 and 4.2.6): its method, a header with its properties, its body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pamqp import decode

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
# Type, channel, length of the payload; the payload and FRAME_END follow.
FRAME = struct.Struct(">BHI")
# Class and method.
DELIVER = b"\x00\x3c\x00\x3c"
CHANNEL_CLOSE, CHANNEL_CLOSE_OK = b"\x00\x14\x00\x28", b"\x00\x14\x00\x29"

_DELIVERY = struct.Struct(">QB")
# Class, weight (always 0), bytes of the body, which properties follow.
_CONTENT = struct.Struct(">HHQH")
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 1 << 15, 1 << 14, 1 << 13
_TEXT = ord("S")
_SETTLE = struct.Struct(">BHIHHQBB")
_SETTLE_BYTES = 14
_BASIC, _ACK, _REJECT = 60, 80, 90
# What reading bytes of no sense ends in, beside ValueError: too few of them, an impossible time, tables in tables.
_SENSELESS = (struct.error, IndexError, ArithmeticError, OSError, RecursionError)


def delivery(payload: bytes) -> tuple[int, bool]:
    """The delivery tag of `basic.deliver`, and whether it was delivered before."""
    tag, bits = _DELIVERY.unpack_from(payload, 5 + payload[4])
    return tag, bool(bits & 1)


def body_bytes(payload: bytes) -> int:
    """How many bytes of a body follow a content header."""
    return int(_CONTENT.unpack_from(payload)[2])


def properties(payload: bytes) -> tuple[str | None, dict[str, Any]]:
    """Content type and headers of a content header, the first properties; the others are not looked at.

    Raises:
        ValueError: it is none.
    """
    try:
        flags, at = _CONTENT.unpack_from(payload)[3], _CONTENT.size
        content_type = None
        if flags & _CONTENT_TYPE:
            begin, at = at + 1, at + 1 + payload[at]
            content_type = payload[begin:at].decode()
        if flags & _CONTENT_ENCODING:
            at += 1 + payload[at]
        return content_type, _table(payload, at) if flags & _HEADERS else {}
    except _SENSELESS as error:
        raise ValueError("this is no content header") from error


def _table(data: bytes, at: int) -> dict[str, Any]:
    """A field table, as pamqp's `field_table` reads it; most values are text, all others are left to it."""
    found: dict[str, Any] = {}
    at, end = at + 4, at + 4 + int.from_bytes(data[at : at + 4])
    if end > len(data):
        raise ValueError("a table that ends too late")
    while at < end:
        value = at + 1 + data[at]
        name = data[at + 1 : value].decode()
        if data[value] == _TEXT:
            begin = value + 5
            at = begin + int.from_bytes(data[value + 1 : begin])
            found[name] = _text(data[begin:at])
        else:
            consumed, found[name] = decode.embedded_value(data[value:end])
            at = value + consumed
    return found


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    """The frame of `basic.ack`; *multiple* is for everything up to that tag that is still in hand."""
    return _SETTLE.pack(METHOD, channel, _SETTLE_BYTES - 1, _BASIC, _ACK, tag, multiple, FRAME_END)


def requeue(channel: int, tag: int) -> bytes:
    """The frame of `basic.reject` that has a message delivered again."""
    return _SETTLE.pack(METHOD, channel, _SETTLE_BYTES - 1, _BASIC, _REJECT, tag, True, FRAME_END)


@dataclass
class Tags:
    """What of one channel is in hand, and what is done and the server has not been told."""

    in_hand: dict[int, None] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)

    def told(self) -> Iterable[tuple[int, bool]]:
        """What to acknowledge, and whether with all before it; from now on the server has been told.

        A quorum queue writes a log entry for each acknowledgement. The tag of one for several has to be in hand itself,
        or the server closes the channel.
        """
        first = next(iter(self.in_hand), None)
        before = [tag for tag in self.done if first is None or tag < first]
        if before:
            yield max(before), True
        yield from ((tag, False) for tag in self.done if first is not None and tag > first)
        self.done = []
