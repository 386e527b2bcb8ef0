"""One HTTP/2 connection, of either side, as gRPC needs it.

h2 keeps what belongs to the connection as a whole: SETTINGS, PING, what is unknown. The frames that carry calls
(HEADERS, DATA, WINDOW_UPDATE, RST_STREAM, GOAWAY) are handled here, in a single loop without an object or a state
machine for each frame; that is most of what keeps grpclib's own server from twice its calls a second
(docs/decisions/0030).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

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

if TYPE_CHECKING:
    from functions.rpc.stream import Stream

# HPACK's tables when nobody says anything (RFC 9113, section 6.5.2).
_TABLE_BYTES = 4096
# Above this the transport says that it is full; it says so again when a quarter is left.
_WRITE_BUFFER_BYTES = 256 * 1024


class Connection(asyncio.Protocol):
    """What both sides share. A subclass says what a header block and an end mean."""

    def __init__(self, limits: Limits, *, client_side: bool) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.decoder = Decoder(limits.header_bytes_max)
        self.send_window = 65_535
        self.stream_send_window = 65_535
        self.streams_max = 100
        self.paused = False
        self.closed = False
        self.last_stream = 0
        self._client_side = client_side
        self._h2 = _h2(limits, client_side=client_side)
        self._rest = b"" if client_side else None
        self._unread = 0
        self._out: list[bytes] = []
        # A change of our table's size, which the next header block has to begin with (RFC 7541, section 4.2).
        self._resized = b""
        self._replies = 0
        # A header block whose CONTINUATION has not come: its stream, its flags, its beginning.
        self._block: tuple[int, int, bytearray] | None = None
        self.loop = asyncio.get_running_loop()

    # What a subclass adds.

    def headers_received(self, stream_id: int, fields: Headers, *, ended: bool) -> None:
        """A header block: a request, a response's beginning, or trailers."""
        raise NotImplementedError

    def reset_received(self, stream: Stream, code: int) -> None:
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
        self.write(self._h2.data_to_send() + frames.window_update(0, self.limits.connection_window - self.send_window))

    def data_received(self, data: bytes) -> None:
        """Handle every whole frame; the rest waits for more."""
        try:
            if self._rest is None:
                data = self._after_preface(data)
            elif self._rest:
                data = self._rest + data
            if self._rest is not None:
                self._rest = data[self._handle(data) :]
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
        """Send this at the end of the loop's turn, with all that others send in it.

        Waking the peer costs more than making an answer: with many calls in flight most share one wake-up.
        """
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._out and not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
        self._out.clear()

    # Frames.

    def _after_preface(self, data: bytes) -> bytes:
        """What follows the client's preface (RFC 9113, section 3.4), once all of it is here."""
        self._hello = getattr(self, "_hello", b"") + data
        if not self._hello.startswith(frames.PREFACE):
            if not frames.PREFACE.startswith(self._hello):
                raise Malformed(ErrorCodes.PROTOCOL_ERROR, "this is not HTTP/2")
            return b""
        self._rest = b""
        self._h2.receive_data(frames.PREFACE)
        return self._hello[len(frames.PREFACE) :]

    def _handle(self, data: bytes) -> int:
        """Every frame that is whole; answers how much of *data* they are."""
        at, end = 0, len(data)
        while end - at >= frames.HEADER_BYTES and not self.closed:
            length = int.from_bytes(data[at : at + 3])
            if length > frames.PAYLOAD_BYTES_MAX:
                raise Malformed(ErrorCodes.FRAME_SIZE_ERROR, "a frame is too long")
            start = at + frames.HEADER_BYTES
            stop = start + length
            if stop > end:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream_id = int.from_bytes(data[at + 5 : start]) & frames.LAST_STREAM
            if self._block is not None and kind != frames.CONTINUATION:
                raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a frame within a header block")
            if kind == frames.DATA:
                self._data(stream_id, flags, data[start:stop])
            elif kind == frames.HEADERS:
                self._headers(stream_id, flags, data[start:stop])
            elif kind == frames.WINDOW_UPDATE and length == 4:
                self._window_update(stream_id, int.from_bytes(data[start:stop]) & frames.WINDOW_MAX)
            else:
                self._rarer(kind, stream_id, flags, data[at:stop])
            at = stop
        return at

    def _rarer(self, kind: int, stream_id: int, flags: int, whole: bytes) -> None:
        payload = whole[frames.HEADER_BYTES :]
        if kind == frames.RST_STREAM and len(payload) == 4:
            stream = self.streams.get(stream_id)
            if stream is not None:
                self.reset_received(stream, int.from_bytes(payload))
            elif stream_id == 0 or stream_id > self.last_stream:
                raise Malformed(ErrorCodes.PROTOCOL_ERROR, "RST_STREAM of no stream")
        elif kind == frames.GOAWAY and len(payload) >= 8:
            last = int.from_bytes(payload[:4]) & frames.LAST_STREAM
            self.goaway_received(last, int.from_bytes(payload[4:8]))
        elif kind == frames.CONTINUATION:
            self._continued(stream_id, flags, payload)
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

    def _data(self, stream_id: int, flags: int, payload: bytes) -> None:
        self._unread += len(payload)
        if self._unread > self.limits.connection_window:
            raise Malformed(ErrorCodes.FLOW_CONTROL_ERROR, "more than the window of the connection")
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id == 0 or stream_id > self.last_stream:
                raise Malformed(ErrorCodes.PROTOCOL_ERROR, "DATA of no stream")
            return
        if flags & frames.PADDED:
            stream.credit += len(payload)
            payload = frames.unpadded(payload, flags & frames.PADDED)
            stream.credit -= len(payload)
        try:
            stream.data_received(payload, ended=bool(flags & frames.END_STREAM))
        except GRPCError as error:
            stream.refuse(error)

    def _headers(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id == 0:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "HEADERS of no stream")
        payload = frames.unpadded(payload, flags) if flags & (frames.PADDED | frames.PRIORITISED) else payload
        if not flags & frames.END_HEADERS:
            self._block = (stream_id, flags, bytearray(payload))
            return
        self.headers_received(stream_id, self.decoder.fields(payload), ended=bool(flags & frames.END_STREAM))

    def _continued(self, stream_id: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        _, first, block = self._block
        block += payload
        # An empty one lengthens nothing: it may come only as the last (CVE-2024-27316 and its kin).
        if len(block) > self.limits.header_bytes_max or not (payload or flags & frames.END_HEADERS):
            raise Malformed(ErrorCodes.ENHANCE_YOUR_CALM, "the headers are too long")
        if flags & frames.END_HEADERS:
            self._block = None
            self.headers_received(stream_id, self.decoder.fields(bytes(block)), ended=bool(first & frames.END_STREAM))

    def _window_update(self, stream_id: int, size: int) -> None:
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
