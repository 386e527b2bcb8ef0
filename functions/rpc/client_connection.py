"""One connection to a server: opens streams on it, lets those in flight end when the server goes, closes when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes

from functions.rpc import frames
from functions.rpc.connection import Connection
from functions.rpc.headers import Headers
from functions.rpc.limits import Limits

if TYPE_CHECKING:
    from functions.rpc.client_stream import ClientStream

# What a code of RST_STREAM means to a caller (gRPC over HTTP/2, Errors); any other is INTERNAL.
_STATUSES: dict[int, Status] = {
    ErrorCodes.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCodes.CANCEL: Status.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}


class ClientConnection(Connection["ClientStream"]):
    """One connection; *changed* is called when a stream ended, or it takes no more of them."""

    def __init__(self, limits: Limits, changed: Callable[[ClientConnection], None]) -> None:
        super().__init__(limits, client_side=True)
        self.leaving = False
        self._changed = changed
        self._idle_since = self.loop.time()
        self._idle = self.loop.call_later(limits.client_idle_seconds, self._look_whether_idle)
        self._doubted: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether another stream can be opened."""
        return not (self.leaving or self.closed) and len(self.streams) < self.streams_max

    def open(self, stream: ClientStream) -> None:
        """Give the stream its number."""
        self.last_stream = self.last_stream + 2 if self.last_stream else 1
        stream.attach(self, self.last_stream, self.limits.message_bytes_max)
        if self.last_stream >= frames.LAST_STREAM - 2:
            self.leaving = True

    def headers_received(self, stream_id: int, fields: Headers, *, ended: bool) -> None:
        """The beginning of an answer, or its end; of one that nobody waits for, nothing."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.headers_received(fields, ended=ended)
        else:
            self.require_begun(stream_id)

    def headers_too_long(self, stream_id: int, *, ended: bool) -> None:  # noqa: ARG002 - it is over either way.
        """Nobody can say how that call went."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.refuse(GRPCError(Status.RESOURCE_EXHAUSTED, "The metadata of the answer is too long."))

    def settings_changed(self, changed: dict[int, int]) -> None:
        """Perhaps it takes more calls than before."""
        super().settings_changed(changed)
        self._changed(self)

    def reset_received(self, stream: ClientStream, code: int) -> None:
        """The server broke it off; REFUSED_STREAM promises that nothing was done (RFC 9113, section 8.7)."""
        error = GRPCError(_STATUSES.get(code, Status.INTERNAL), f"The server broke the call off (HTTP/2 error {code}).")
        stream.fail(error, unprocessed=code == ErrorCodes.REFUSED_STREAM)

    def goaway_received(self, last: int, code: int) -> None:
        """No new streams here; those up to *last* may end, the others were not looked at."""
        self.leaving = True
        error = GRPCError(Status.UNAVAILABLE, f"The server is going away (HTTP/2 error code {code}).")
        for stream in [one for number, one in self.streams.items() if number > last]:
            stream.fail(error, unprocessed=True)
        self.leave()

    def leave(self) -> None:
        """Open no more streams here; close when the last one ended."""
        self.leaving = True
        self.settled()

    def settled(self) -> None:
        """A stream ended, or none will begin."""
        self._idle_since = self.loop.time()
        if self.leaving and not self.streams:
            self.close()
        self._changed(self)

    def doubt(self) -> None:
        """A call was not answered in time: ask whether anybody is there, and close the connection if not.

        A machine that is gone says nothing, and every call would wait for it until its own deadline.
        """
        if self._doubted is None and not self.closed:
            self.ping()
            self._doubted = self.loop.call_later(
                self.limits.connect_seconds, self.close, ErrorCodes.NO_ERROR, "nobody answers on the connection"
            )

    def ping_answered(self) -> None:
        """Somebody is there."""
        if self._doubted is not None:
            self._doubted.cancel()
            self._doubted = None

    def ended(self, reason: str) -> None:
        """Whatever is in flight may have been processed, or not."""
        self._idle.cancel()
        self.ping_answered()
        self.leaving = True
        for stream in list(self.streams.values()):
            stream.fail(GRPCError(Status.UNAVAILABLE, f"{reason[0].upper()}{reason[1:]}."), unprocessed=False)
        self._changed(self)

    def _look_whether_idle(self) -> None:
        seconds = self.limits.client_idle_seconds
        left = self._idle_since + seconds - self.loop.time()
        if self.streams or left > 0:
            self._idle = self.loop.call_later(seconds if self.streams else left, self._look_whether_idle)
        else:
            self.close()
