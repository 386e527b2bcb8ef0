"""One HTTP/2 connection, of either side, as gRPC needs it.

h2 keeps what belongs to the connection as a whole: SETTINGS, PING, what is unknown. The frames that carry calls
(HEADERS, DATA, WINDOW_UPDATE, RST_STREAM, GOAWAY) are handled here, without an object or a state machine for each: that
is most of what a call costs grpclib's own server and client (docs/decisions/0030-grpclib-on-connections-of-our-own.md).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from grpclib.exceptions import GRPCError
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import PingAckReceived, RemoteSettingsChanged
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError

from functions.rpc import frames
from functions.rpc.frames import Malformed
from functions.rpc.headers import Decoder, Headers
from functions.rpc.limits import Limits
from functions.rpc.reader import Reader

if TYPE_CHECKING:
    from functions.rpc.stream import Stream

_PATIENCE_SECONDS = 0.001
Kind = TypeVar("Kind", bound="Stream")
# HPACK's tables when nobody says anything (RFC 9113, section 6.5.2).
_TABLE_BYTES = 4096
# Above this the transport says that it is full; it says so again when a quarter is left.
_WRITE_BUFFER_BYTES = 256 * 1024


class Connection(asyncio.Protocol, Generic[Kind]):
    """What both sides share. A subclass says what a header block and an end mean."""

    def __init__(self, limits: Limits, *, client_side: bool) -> None:
        self.limits = limits
        self.streams: dict[int, Kind] = {}
        self.decoder = Decoder(limits.header_bytes_max)
        self.send_window = 65_535
        self.stream_send_window = 65_535
        self.streams_max = 100
        self.paused = False
        self.closed = False
        self.last_stream = 0
        self._h2 = _h2(limits, client_side=client_side)
        self._reader = Reader(self, limits.header_bytes_max, b"" if client_side else frames.PREFACE)
        self._unread = 0
        self._out: list[bytes] = []
        self._patience = 0
        # A change of our table's size, which the next header block has to begin with (RFC 7541, section 4.2).
        self._resized = b""
        self._replies = 0
        self.loop = asyncio.get_running_loop()

    # What a subclass adds.

    def headers_received(self, stream_id: int, fields: Headers, *, ended: bool) -> None:
        """A header block: a request, a response's beginning, or trailers."""
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
        """Say hello: settings, and a window for the connection that is larger than HTTP/2's default."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._h2.initiate_connection()
        if not self._h2.config.client_side:
            # Of the preface the reader makes sure; h2 is shown it, or it would wait for one.
            self._h2.receive_data(frames.PREFACE)
        self.write(self._h2.data_to_send() + frames.window_update(0, self.limits.connection_window - self.send_window))

    def data_received(self, data: bytes) -> None:
        """Handle every whole frame; what is malformed ends the connection."""
        try:
            self._reader.feed(data)
        except Malformed as error:
            self.close(error.code, str(error))
        except ProtocolError as error:
            self.close(error.error_code, str(error))
        except HPACKError as error:
            self.close(ErrorCodes.COMPRESSION_ERROR, str(error))
        if self._unread >= self.limits.connection_window // 2 and not self.closed:
            self.write(frames.window_update(0, self._unread))
            self._unread = 0

    def pause_writing(self) -> None:
        """Whoever sends waits: the peer does not read."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        self._replies = 0
        self._wake_senders()

    def connection_lost(self, exc: Exception | None) -> None:
        """Everything on it ends."""
        if not self.closed:
            self.closed = True
            self.ended("the connection was lost" if exc is None else f"the connection was lost: {exc}")

    def close(self, code: int = ErrorCodes.NO_ERROR, reason: str = "the connection was closed") -> None:
        """Say goodbye and close, at once."""
        if self.closed:
            return
        self.closed = True
        self.write(frames.goaway(self.last_stream, code))
        self._flush()
        self.transport.close()
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
        self._h2.ping(b"wake-rpc")
        self.write(self._h2.data_to_send())

    def write(self, data: bytes) -> None:
        """Send this at the end of the loop's turn, with all that others send in it; or somewhat later, see `patience`.

        Waking the peer costs more than making an answer: with many calls in flight most share one wake-up.
        """
        self._out.append(data)
        if len(self._out) == 1:
            self._patience = self.patience()
            if self._patience:
                self._flushing = self.loop.call_later(_PATIENCE_SECONDS, self._flush)
            else:
                self.loop.call_soon(self._flush)
        elif len(self._out) == self._patience:
            self._flushing.cancel()
            self.loop.call_soon(self._flush)

    def patience(self) -> int:
        """For how many writes to wait, a millisecond at most; 0 is for none."""
        return 0

    def _flush(self) -> None:
        if self._out and not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
        self._out.clear()

    # What the reader tells.

    def rarer_frame(self, kind: int, stream_id: int, whole: bytes) -> None:
        """RST_STREAM, GOAWAY, and what h2 knows better."""
        payload = whole[frames.HEADER_BYTES :]
        if kind == frames.RST_STREAM and len(payload) == 4:
            stream = self.streams.get(stream_id)
            if stream is not None:
                self.reset_received(stream, int.from_bytes(payload))
            else:
                self._require_begun(stream_id)
        elif kind == frames.GOAWAY and len(payload) >= 8:
            last = int.from_bytes(payload[:4]) & frames.LAST_STREAM
            self.goaway_received(last, int.from_bytes(payload[4:8]))
        elif kind == frames.PUSH_PROMISE:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "nothing is pushed here")
        else:
            self._by_h2(whole)

    def _by_h2(self, whole: bytes) -> None:
        for event in self._h2.receive_data(whole):
            if isinstance(event, RemoteSettingsChanged):
                self._settings_changed({code: one.new_value for code, one in event.changed_settings.items()})
            elif isinstance(event, PingAckReceived):
                self.ping_answered()
        reply = self._h2.data_to_send()
        if reply:
            self._replies += self.paused
            if self._replies > self.limits.replies_waiting_max:
                raise Malformed(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames to answer, and nothing is read")
            self.write(reply)

    def _settings_changed(self, changed: dict[int, int]) -> None:
        self.streams_max = changed.get(SettingCodes.MAX_CONCURRENT_STREAMS, self.streams_max)
        if changed.get(SettingCodes.HEADER_TABLE_SIZE, _TABLE_BYTES) < _TABLE_BYTES:
            # It is never used, so it may as well be empty.
            self._resized = b"\x20"
        window = changed.get(SettingCodes.INITIAL_WINDOW_SIZE)
        if window is not None:
            for stream in self.streams.values():
                stream.send_window += window - self.stream_send_window
            self.stream_send_window = window
            self._wake_senders()

    def data_frame(self, stream_id: int, payload: bytes, padding: int, *, ended: bool) -> None:
        """Part of a message, to whoever it is for; what it took of the connection's window is given back at once."""
        self._unread += len(payload) + padding
        if self._unread > self.limits.connection_window:
            raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "more than the window of the connection")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._require_begun(stream_id)
            return
        stream.credit += padding
        try:
            stream.data_received(payload, ended=ended)
        except GRPCError as error:
            stream.refuse(error)

    def _require_begun(self, stream_id: int) -> None:
        """A stream that has ended may still get what was under way to it; one that never began may not."""
        if stream_id == 0 or stream_id > self.last_stream:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a frame of no stream")

    def header_block(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """Unpacked, whoever it is for: the tables change with every block."""
        self.headers_received(stream_id, self.decoder.fields(block), ended=ended)

    def window_update(self, stream_id: int, size: int) -> None:
        """Room to send."""
        if stream_id == 0:
            self.send_window += size
            if size == 0 or self.send_window > frames.WINDOW_MAX:
                raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "a window of that size")
            self._wake_senders()
            return
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.send_window += size
            if size == 0 or stream.send_window > frames.WINDOW_MAX:
                raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "a window of that size")
            stream.wake_sender()

    def _wake_senders(self) -> None:
        for stream in self.streams.values():
            stream.wake_sender()


def _h2(limits: Limits, *, client_side: bool) -> H2Connection:
    """h2's part, with what we announce."""
    made = H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
    announced: dict[SettingCodes, int] = {SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes_max}
    if client_side:
        announced[SettingCodes.ENABLE_PUSH] = 0
    else:
        announced[SettingCodes.MAX_CONCURRENT_STREAMS] = limits.streams_max
    made.local_settings = Settings(client=client_side, initial_values=announced)
    return made
