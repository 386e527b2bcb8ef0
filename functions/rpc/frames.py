"""HTTP/2's frames, as bytes (RFC 9113, section 4.1 and 6). Pure."""

from __future__ import annotations

import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20
HEADER_BYTES = 9
# What a peer that said nothing about it takes in one frame (section 6.5.2), and what we take.
PAYLOAD_BYTES_MAX = 16_384
WINDOW_MAX = LAST_STREAM = 2**31 - 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_HEADER = struct.Struct(">BHBBI")
# A frame's header and gRPC's prefix of an uncompressed message, which stand one behind the other.
_MESSAGE = struct.Struct(">BHBBIBI")
_WINDOW_UPDATE = struct.Struct(">BHBBII")
_GOAWAY = struct.Struct(">BHBBIII")


class Malformed(Exception):
    """The peer does not keep to HTTP/2: the connection cannot go on. `code` is the error code of section 7."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    length = len(payload)
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + payload


def message(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """One DATA frame with one whole gRPC message, which has to fit in."""
    length = len(payload) + 5
    return _MESSAGE.pack(length >> 16, length & 0xFFFF, DATA, END_STREAM if end else 0, stream, 0, length - 5) + payload


def reset(stream: int, code: int) -> bytes:
    """RST_STREAM."""
    return _WINDOW_UPDATE.pack(0, 4, RST_STREAM, 0, stream, code)


def window_update(stream: int, size: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return _WINDOW_UPDATE.pack(0, 4, WINDOW_UPDATE, 0, stream, size)


def goaway(last: int, code: int) -> bytes:
    """GOAWAY: streams above *last* were not, and will not be, processed."""
    return _GOAWAY.pack(0, 8, GOAWAY, 0, 0, last, code)


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding and priority.

    Raises:
        Malformed: there is more padding than payload.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0] if payload else -1
    if flags & PRIORITISED:
        start += 5
    if start > end:
        raise Malformed(1, "more padding than payload")
    return payload[start:end]
