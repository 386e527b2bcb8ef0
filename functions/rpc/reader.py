"""Splits what a peer sends into frames, in one loop, without an object for each."""

from __future__ import annotations

from typing import Protocol

from h2.errors import ErrorCodes

from functions.rpc import frames
from functions.rpc.frames import Malformed


class Receives(Protocol):
    """What a reader tells of."""

    closed: bool

    def data_frame(self, stream_id: int, payload: bytes, padding: int, *, ended: bool) -> None:
        """DATA; *padding* bytes came beside it, which count for the windows."""

    def header_block(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """HEADERS, with every CONTINUATION."""

    def window_update(self, stream_id: int, size: int) -> None:
        """WINDOW_UPDATE."""

    def rarer_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Any other, also a WINDOW_UPDATE of the wrong length."""


class Reader:
    """What has come on one connection and is no whole frame yet.

    `left` is how many frames it may tell of before somebody sets it again; what is behind them stays here.
    """

    def __init__(self, to: Receives, block_bytes_max: int, preface: bytes, frames_a_turn: int) -> None:
        """*preface* is what has to come first: of a client RFC 9113's, section 3.4; of a server nothing."""
        self._to = to
        self._block_bytes_max = block_bytes_max
        self._preface = preface
        self._rest = b""
        self._greeted = False
        self.left = frames_a_turn
        # A header block whose CONTINUATION has not come: its stream, its flags, its beginning.
        self._block: tuple[int, int, bytearray] | None = None

    def feed(self, data: bytes) -> None:
        """Tell of every frame that is whole.

        Raises:
            Malformed: it is no HTTP/2, or more than is taken.
        """
        if self._rest:
            data = self._rest + data
        if self._preface:
            if not data.startswith(self._preface):
                if not self._preface.startswith(data):
                    raise Malformed(ErrorCodes.PROTOCOL_ERROR, "this is not HTTP/2")
                self._rest = data
                return
            data, self._preface = data[len(self._preface) :], b""
        if not self._greeted and len(data) >= frames.HEADER_BYTES:
            self._greeted = True
            if data[3] != frames.SETTINGS or data[4] & frames.ACK:
                raise Malformed(ErrorCodes.PROTOCOL_ERROR, "this does not begin with settings")
        self._rest = data[self._split(data) :]

    def _split(self, data: bytes) -> int:
        """Every whole frame; answers how much of *data* they are."""
        at, end, to = 0, len(data), self._to
        while end - at >= frames.HEADER_BYTES and self.left > 0 and not to.closed:
            length = int.from_bytes(data[at : at + 3])
            if length > frames.PAYLOAD_BYTES_MAX:
                raise Malformed(ErrorCodes.FRAME_SIZE_ERROR, "a frame is too long")
            start = at + frames.HEADER_BYTES
            stop = start + length
            if stop > end:
                break
            self.left -= 1
            kind, flags = data[at + 3], data[at + 4]
            stream_id = int.from_bytes(data[at + 5 : start]) & frames.LAST_STREAM
            if self._block is not None and kind != frames.CONTINUATION:
                raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a frame within a header block")
            if kind == frames.DATA:
                payload = data[start:stop]
                if flags & frames.PADDED:
                    payload = frames.unpadded(payload, frames.PADDED)
                to.data_frame(stream_id, payload, length - len(payload), ended=bool(flags & frames.END_STREAM))
            elif kind == frames.HEADERS:
                self._headers(stream_id, flags, data[start:stop])
            elif kind == frames.WINDOW_UPDATE and length == 4:
                to.window_update(stream_id, int.from_bytes(data[start:stop]) & frames.WINDOW_MAX)
            elif kind == frames.CONTINUATION:
                self._continued(stream_id, flags, data[start:stop])
            else:
                to.rarer_frame(kind, flags, stream_id, data[start:stop])
            at = stop
        return at

    def _headers(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id == 0:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "HEADERS of no stream")
        if flags & (frames.PADDED | frames.PRIORITISED):
            payload = frames.unpadded(payload, flags)
        if flags & frames.END_HEADERS:
            self._to.header_block(stream_id, payload, ended=bool(flags & frames.END_STREAM))
        else:
            self._block = (stream_id, flags, bytearray(payload))

    def _continued(self, stream_id: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        _, first, block = self._block
        block += payload
        # An empty one lengthens nothing: it may come only as the last (CVE-2024-27316 and its kin).
        if len(block) > self._block_bytes_max or not (payload or flags & frames.END_HEADERS):
            raise Malformed(ErrorCodes.ENHANCE_YOUR_CALM, "the headers are too long")
        if flags & frames.END_HEADERS:
            self._block = None
            self._to.header_block(stream_id, bytes(block), ended=bool(first & frames.END_STREAM))
