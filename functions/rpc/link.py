"""The bytes that one connection sends: those of one turn go out together, and those that nobody reads are not kept."""

from __future__ import annotations

import asyncio
from typing import cast

from functions.rpc.limits import Limits

# Above this the transport says that it is full; it says so again when a quarter is left.
_WRITE_BUFFER_BYTES = 256 * 1024
# So much is put together in one turn, or the transport would learn too late that it is full.
_TOGETHER_BYTES = 64 * 1024


class Link(asyncio.Protocol):
    """What is below HTTP/2. `paused`: whoever sends messages has to wait, the peer does not read."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.paused = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def pause_writing(self) -> None:
        """Enough is waiting to be read."""
        self.paused = True

    def resume_writing(self) -> None:
        """Most of it was read."""
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whoever is above tells why.
        """It is over."""
        if self._giving_up is not None:
            self._giving_up.cancel()

    def write(self, data: bytes) -> None:
        """Send this at the end of the loop's turn, with all that others send in it.

        Waking the peer costs more than making an answer: with many calls in flight most share one wake-up.
        """
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > _TOGETHER_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._out and not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
            if self.paused and self.transport.get_write_buffer_size() > self.limits.unsent_bytes_max:
                # Messages wait while it is paused; what came here are answers to somebody who only asks.
                self.transport.abort()
        self._out.clear()
        self._out_bytes = 0

    def hang_up(self) -> None:
        """Close when the peer has read what was written, which it may not take for ever to do."""
        self._flush()
        self._giving_up = self.loop.call_later(self.limits.closing_seconds, self.transport.abort)
        self.transport.close()
