"""One connection of a caller: its calls, how many may run, and its end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes

from functions.rpc import frames, scrape
from functions.rpc.connection import Connection
from functions.rpc.frames import Malformed
from functions.rpc.headers import REQUEST, STATUS_200, TRAILERS, Headers, block, sound

if TYPE_CHECKING:
    from functions.rpc.server import Server
    from functions.rpc.server_stream import ServerStream

# How long a peer may take to say that it has seen our first GOAWAY.
_SEEN_SECONDS = 1.0
_TOO_LONG = STATUS_200 + block(
    (b"content-type", b"application/grpc"), (b"grpc-status", b"8"), (b"grpc-message", b"The metadata is too long.")
)


class ServerConnection(Connection["ServerStream"]):
    """One connection. `running` are its calls whose handlers are not done, also those that were broken off."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.limits, client_side=False)
        self.running: set[ServerStream] = set()
        self._spoken = False
        self._scrape: bytes | None = None
        self._server = server
        self._last_taken = frames.LAST_STREAM
        self._leaving = False
        self._resets = float(server.limits.resets_burst)
        self._resets_at = self._idle_since = self.loop.time()
        self._idle = self.loop.call_later(server.limits.idle_seconds, self._look_whether_idle)
        age = server.limits.connection_seconds * random.uniform(0.9, 1.1)  # noqa: S311 - no secret.
        self._timers = [self.loop.call_later(age, self.go_away)]
        server.connections.add(self)

    def say_hello(self) -> None:
        """Only once the peer has spoken: to Prometheus, which speaks HTTP/1.1, this would be no answer."""
        if self._spoken:
            super().say_hello()

    def data_received(self, data: bytes) -> None:
        """Handle it; a scrape is told from HTTP/2 by its first bytes."""
        if not self._spoken:
            self._spoken = True
            if scrape.is_scrape(data):
                self._scrape = b""
            else:
                self.say_hello()
        if self._scrape is None:
            super().data_received(data)
        elif not scrape.is_whole(self._scrape):
            self._scrape += data
            self._scrape_received(self._scrape)

    def _scrape_received(self, head: bytes) -> None:
        if scrape.is_whole(head):
            self._server.scraped(self, head)
        elif len(head) > self.limits.block_bytes_max:
            self.answer_and_close(scrape.too_long())

    def answer_and_close(self, answer: bytes) -> None:
        """Answer what is not HTTP/2."""
        if not self.closed:
            self.closed = True
            self.write(answer)
            self.hang_up()
            self.ended("it was a scrape")

    def headers_received(self, stream_id: int, fields: Headers, *, ended: bool) -> None:
        """A new call, or trailers, which mean nothing in gRPC but that the caller has sent everything."""
        if not stream_id % 2:
            raise Malformed(ErrorCodes.PROTOCOL_ERROR, "a stream of the server's own")
        stream = self.streams.get(stream_id)
        if stream is not None:
            if not (ended and sound(fields, TRAILERS)):
                self._break_off(stream_id)
                stream.stop(GRPCError(Status.CANCELLED, "the caller's trailers were none"), gone=True)
            else:
                stream.data_received(b"", ended=True)
        elif stream_id > self.last_stream:
            self._called(stream_id, fields, ended=ended)

    def _break_off(self, stream_id: int) -> None:
        """A stream of its own does not keep to HTTP/2: it is over, the connection is not (RFC 9113, section 8.1.1)."""
        self.write(frames.reset(stream_id, ErrorCodes.PROTOCOL_ERROR))

    def _called(self, stream_id: int, fields: Headers, *, ended: bool) -> None:
        self.last_stream = stream_id
        if stream_id > self._last_taken:
            return
        if not sound(fields, REQUEST):
            self._break_off(stream_id)
            return
        if len(self.running) >= self.limits.streams_max:
            self._count_reset()
            self.write(frames.reset(stream_id, ErrorCodes.REFUSED_STREAM))
            return
        stream = self._server.called(self, stream_id, fields)
        if stream is not None and (ended or stream.handler.cardinality.client_streaming):
            stream.messages.ended = ended
            self.start(stream)

    def headers_too_long(self, stream_id: int, *, ended: bool) -> None:
        """Refuse that call, and no other: many callers may share this connection."""
        if stream_id in self.streams or stream_id <= self.last_stream or not stream_id % 2:
            self.headers_received(stream_id, Headers(), ended=False)
            return
        self.last_stream = stream_id
        answer = self.headers(stream_id, _TOO_LONG, end=True)
        self.write(answer if ended else answer + frames.reset(stream_id, ErrorCodes.NO_ERROR))

    def start(self, stream: ServerStream) -> None:
        """Let the handler run."""
        self._server.start_call(stream)

    def reset_received(self, stream: ServerStream, code: int) -> None:
        """The caller needs no answer any more."""
        self._count_reset()
        stream.stop(GRPCError(Status.CANCELLED, f"the caller broke off (HTTP/2 error code {code})"), gone=True)

    def _count_reset(self) -> None:
        now, limits = self.loop.time(), self.limits
        self._resets = min(limits.resets_burst, self._resets + (now - self._resets_at) * limits.resets_per_second) - 1
        self._resets_at = now
        if self._resets < 0:
            raise Malformed(ErrorCodes.ENHANCE_YOUR_CALM, "too many calls that are broken off")

    def over(self, stream: ServerStream) -> None:
        """Its handler is done."""
        self.running.discard(stream)
        if not self.running:
            self._idle_since = self.loop.time()
            self._leave_if_done()

    def never_started(self, stream: ServerStream) -> None:
        """It ended before its handler began."""
        self._server.note(stream, stream.stopped)
        self.over(stream)

    def _look_whether_idle(self) -> None:
        left = self._idle_since + self.limits.idle_seconds - self.loop.time()
        if self.running or left > 0:
            wait = self.limits.idle_seconds if self.running else left
            self._idle = self.loop.call_later(wait, self._look_whether_idle)
        else:
            self.go_away()

    def go_away(self) -> None:
        """Let what runs end, take nothing new, close (RFC 9113, section 6.8).

        Two steps, or a call that is under way to us would be lost: the first GOAWAY leaves every stream open; once the
        peer has seen it, the second names the last that we took.
        """
        if self._leaving or self.closed:
            return
        self._leaving = True
        self.write(frames.goaway(frames.LAST_STREAM, ErrorCodes.NO_ERROR))
        self.ping()
        self._timers.append(self.loop.call_later(_SEEN_SECONDS, self.ping_answered))

    def ping_answered(self) -> None:
        """The peer knows that we go."""
        if self._leaving and self._last_taken == frames.LAST_STREAM and not self.closed:
            self._last_taken = self.last_stream
            self.write(frames.goaway(self.last_stream, ErrorCodes.NO_ERROR))
            self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._last_taken != frames.LAST_STREAM and not self.running:
            self.close()

    def goaway_received(self, last: int, code: int) -> None:  # noqa: ARG002 - we open no streams.
        """The caller begins no more; its connection is closed by whoever is done first."""
        self._last_taken = self.last_stream
        self._leave_if_done()

    def ended(self, reason: str) -> None:
        """Nobody waits for the answers any more."""
        self._idle.cancel()
        for timer in self._timers:
            timer.cancel()
        self._server.connections.discard(self)
        for stream in list(self.streams.values()):
            stream.stop(GRPCError(Status.CANCELLED, reason), gone=True)
