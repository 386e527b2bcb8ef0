"""One HTTP/2 connection, of either side, as gRPC needs it.

Every frame is handled here, without an object or a state machine for each: that is most of what a call costs grpclib's
own server and client (docs/decisions/0030-grpclib-on-connections-of-our-own.md), and what a flood costs h2
(docs/decisions/0064-no-frame-is-dear.md).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack.exceptions import HPACKError

from functions.rpc import frames, settings
from functions.rpc.frames import Malformed
from functions.rpc.headers import Decoder, Headers, TooLong
from functions.rpc.limits import Limits
from functions.rpc.link import Link
from functions.rpc.reader import Reader

if TYPE_CHECKING:
    from functions.rpc.stream import Stream

Kind = TypeVar("Kind", bound="Stream")
# HPACK's tables when nobody says anything (RFC 9113, section 6.5.2).
_TABLE_BYTES = 4096
# How long the kinds of frames are that have one length only (sections 6.3, 6.4, 6.7 and 6.9).
_LENGTHS = {frames.PRIORITY: 5, frames.RST_STREAM: 4, frames.PING: 8, frames.WINDOW_UPDATE: 4}
# Those that are about the connection, and no stream.
_OF_NO_STREAM = frozenset({frames.SETTINGS, frames.PING, frames.GOAWAY})
_PING = b"wake-rpc"


class Connection(Link, Generic[Kind]):
    """What both sides share. A subclass says what a header block and an end mean."""

    def __init__(self, limits: Limits, *, client_side: bool) -> None:
        super().__init__(limits)
        self.streams: dict[int, Kind] = {}
        self.decoder = Decoder(limits.header_bytes_max, limits.block_bytes_max)
        self.send_window = 65_535
        self.stream_send_window = 65_535
        self.streams_max = 100
        self.closed = False
        #: Whether it ended because the peer does not keep to HTTP/2.
        self.broken = False
        self.last_stream = 0
        self._client_side = client_side
        preface = b"" if client_side else frames.PREFACE
        self._reader = Reader(self, limits.block_bytes_max, preface, limits.frames_a_turn)
        self._unread = 0
        #: Those that wait for room to send.
        self.waiting: set[Kind] = set()
        # A change of our table's size, which the next header block has to begin with (RFC 7541, section 4.2).
        self._resized = b""

    # What a subclass adds.

    def headers_received(self, stream_id: int, fields: Headers, *, ended: bool) -> None:
        """A header block: a request, a response's beginning, or trailers."""
        raise NotImplementedError

    def headers_too_long(self, stream_id: int, *, ended: bool) -> None:
        """A header block of more than is taken: its fields are gone, the connection goes on."""
        raise NotImplementedError

    def reset_received(self, stream: Kind, code: int) -> None:
        """The peer broke this stream off."""
        raise NotImplementedError

    def goaway_received(self, last: int, code: int) -> None:
        """The peer takes no more streams, and ignores those above *last*."""

    def ping_answered(self) -> None:
        """The peer has seen what was written before the last `ping`."""

    def ended(self, reason: str) -> None:
        """The connection is gone, with every stream on it."""
        raise NotImplementedError

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        super().connection_made(transport)
        self.say_hello()

    def say_hello(self) -> None:
        """Settings, and a window for the connection that is larger than HTTP/2's default."""
        hello = frames.PREFACE if self._client_side else b""
        window = frames.window_update(0, self.limits.connection_window - self.send_window)
        self.write(hello + settings.announced(self._announced()) + window)

    def _announced(self) -> dict[SettingCodes, int]:
        own = {SettingCodes.MAX_HEADER_LIST_SIZE: self.limits.header_bytes_max}
        if self._client_side:
            return own | {SettingCodes.ENABLE_PUSH: 0}
        return own | {SettingCodes.MAX_CONCURRENT_STREAMS: self.limits.streams_max}

    def data_received(self, data: bytes) -> None:
        """Handle every whole frame; what is malformed ends the connection."""
        try:
            self._reader.feed(data)
        except Malformed as error:
            self.close(error.code, str(error))
        except HPACKError as error:
            self.close(ErrorCodes.COMPRESSION_ERROR, str(error))
        if self.closed or self.transport.is_closing():
            return
        if self._unread >= self.limits.connection_window // 2:
            self.write(frames.window_update(0, self._unread))
            self._unread = 0
        if self._reader.left <= 0:
            # Nothing more is read before others had their turn: the loop reads as long as something is there.
            self.transport.pause_reading()
            self.loop.call_soon(self._go_on_reading)

    def _go_on_reading(self) -> None:
        if not self.closed and not self.transport.is_closing():
            self._reader.left = self.limits.frames_a_turn
            self.transport.resume_reading()
            self.data_received(b"")

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._wake_senders()

    def connection_lost(self, exc: Exception | None) -> None:
        """Everything on it ends."""
        super().connection_lost(exc)
        if not self.closed:
            self.closed = True
            self.ended("the connection was lost" if exc is None else f"the connection was lost: {exc}")

    def close(self, code: int = ErrorCodes.NO_ERROR, reason: str = "the connection was closed") -> None:
        """Say goodbye and hang up."""
        if self.closed:
            return
        self.closed, self.broken = True, code != ErrorCodes.NO_ERROR
        self.write(frames.goaway(self.last_stream, code))
        self.hang_up()
        self.ended(reason)

    def headers(self, stream_id: int, block: bytes, *, end: bool = False) -> bytes:
        """A header block as a frame, or as several (RFC 9113, section 6.10)."""
        block, self._resized = self._resized + block, b""
        flags = frames.END_STREAM if end else 0
        if len(block) <= frames.PAYLOAD_BYTES_MAX:
            return frames.frame(frames.HEADERS, flags | frames.END_HEADERS, stream_id, block)
        parts = [block[at : at + frames.PAYLOAD_BYTES_MAX] for at in range(0, len(block), frames.PAYLOAD_BYTES_MAX)]
        return b"".join(
            (
                frames.frame(frames.HEADERS, flags, stream_id, parts[0]),
                *(frames.frame(frames.CONTINUATION, 0, stream_id, part) for part in parts[1:-1]),
                frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream_id, parts[-1]),
            )
        )

    def ping(self) -> None:
        """Ask for a sign of life: `ping_answered` follows."""
        self.write(frames.frame(frames.PING, 0, 0, _PING))

    # What the reader tells.

    def rarer_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """What is neither of a message nor of headers; what is unknown means nothing (section 5.5)."""
        if len(payload) != _LENGTHS.get(kind, len(payload)):
            raise Malformed(ErrorCodes.FRAME_SIZE_ERROR, "a frame of the wrong length")
        if kind <= frames.GOAWAY and (stream_id == 0) is not (kind in _OF_NO_STREAM):
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a frame of no stream, or of one that should have none")
        if kind == frames.RST_STREAM:
            self._reset_received(stream_id, int.from_bytes(payload))
        elif kind == frames.SETTINGS:
            self._settings_received(flags, payload)
        elif kind == frames.PING:
            self._ping_received(flags, payload)
        elif kind == frames.GOAWAY:
            if len(payload) < 8:
                raise Malformed(ErrorCodes.FRAME_SIZE_ERROR, "a GOAWAY that is cut off")
            last = int.from_bytes(payload[:4]) & frames.LAST_STREAM
            self.goaway_received(last, int.from_bytes(payload[4:8]))
        elif kind == frames.PUSH_PROMISE:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "nothing is pushed here")

    def _reset_received(self, stream_id: int, code: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self.require_begun(stream_id)
        else:
            self.reset_received(stream, code)

    def _ping_received(self, flags: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == _PING:
            self.ping_answered()

    def _settings_received(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise Malformed(ErrorCodes.FRAME_SIZE_ERROR, "settings that acknowledge settings")
            return
        self.settings_changed(settings.received(payload))
        self.write(settings.ACKNOWLEDGED)

    def settings_changed(self, changed: dict[int, int]) -> None:
        """What the peer takes from here on."""
        self.streams_max = changed.get(SettingCodes.MAX_CONCURRENT_STREAMS, self.streams_max)
        if changed.get(SettingCodes.HEADER_TABLE_SIZE, _TABLE_BYTES) < _TABLE_BYTES:
            # It is never used, so it may as well be empty.
            self._resized = b"\x20"
        window = changed.get(SettingCodes.INITIAL_WINDOW_SIZE, self.stream_send_window)
        if window != self.stream_send_window:
            for stream in self.streams.values():
                stream.send_window += window - self.stream_send_window
                _require_window(stream.send_window)
            self.stream_send_window = window
            self._wake_senders()

    def data_frame(self, stream_id: int, payload: bytes, padding: int, *, ended: bool) -> None:
        """Part of a message, to whoever it is for; what it took of the connection's window is given back at once."""
        self._unread += len(payload) + padding
        if self._unread > self.limits.connection_window:
            raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "more than the window of the connection")
        stream = self.streams.get(stream_id)
        if stream is None:
            self.require_begun(stream_id)
            return
        if padding:
            stream.give_back(padding)
        try:
            stream.data_received(payload, ended=ended)
        except GRPCError as error:
            stream.refuse(error)

    def require_begun(self, stream_id: int) -> None:
        """A stream that has ended may still get what was under way to it; one that never began may not.

        Raises:
            Malformed: it never did.
        """
        if not stream_id % 2 or stream_id > self.last_stream:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a frame of no stream")

    def header_block(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """Unpacked, whoever it is for: the tables change with every block."""
        try:
            fields = self.decoder.fields(block)
        except TooLong:
            self.headers_too_long(stream_id, ended=ended)
        else:
            self.headers_received(stream_id, fields, ended=ended)

    def window_update(self, stream_id: int, size: int) -> None:
        """Room to send."""
        if size == 0:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a window that grows by nothing")
        if stream_id == 0:
            self.send_window += size
            _require_window(self.send_window)
            self._wake_senders()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self.require_begun(stream_id)
            return
        stream.send_window += size
        _require_window(stream.send_window)
        stream.wake_sender()

    def _wake_senders(self) -> None:
        waiting, self.waiting = self.waiting, set()
        for stream in waiting:
            stream.wake_sender()


def _require_window(size: int) -> None:
    if size > frames.WINDOW_MAX:
        raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "a window that is too large")
