"""One HTTP/1.1 connection, for requests one after the other (RFC 9112), as deliveries need it.

httpx takes about a millisecond of processor time a call, ten times what is to be done: build a head, write, let
httptools parse. What is not done here goes out through httpx (`eventing.poster`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

BODY_BYTES_MAX = 1024 * 1024
# Of everything before the body, interim answers (1xx) included.
_HEAD_BYTES_MAX = 64 * 1024
# Of what is around the parts of a body, and of a trailer behind it: a body in single bytes has six around each.
_AROUND_BYTES_MAX = BODY_BYTES_MAX
# What a field costs beside its text.
_FIELD_BYTES = 32


@dataclass(frozen=True)
class Answer:
    """An answer; names are lower case, a field that came several times is joined by commas (RFC 9110, section 5.2)."""

    status: int
    headers: dict[str, str]
    body: bytes


class NoAnswer(Exception):
    """There is no answer, or none that can be understood; the request may or may not have been handled."""


class Stale(NoAnswer):
    """The peer closed the connection without a byte of an answer, as it may while a connection is idle."""


class Connection(asyncio.Protocol):
    """A connection. An answer's body is kept up to a mebibyte; a longer one is cut there, and the connection closed."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._begin()

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request and return its answer; nothing else may be asked meanwhile.

        Raises:
            Stale: the peer closed the connection before it answered anything.
            NoAnswer: it answered something else than HTTP, or half of it.
        """
        self._begin()
        if self.closed:
            raise Stale("the connection was closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            self._waiting = None

    @property
    def reusable(self) -> bool:
        """Whether another request may follow: the last answer ended where it said, and so did the request."""
        return not self.closed and self._complete and self._clean and self._transport.get_write_buffer_size() == 0

    def close(self) -> None:
        """Close it at once."""
        self.closed = True
        self._transport.abort()

    def _begin(self) -> None:
        self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        # Of fields that were read, of all that came, and of what of it was the body's.
        self._head_bytes = self._came_bytes = self._body_bytes = 0
        self._in_body = self._complete = self._said_anything = False
        self._clean = True

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some bytes of an answer; what was not asked for ends the connection."""
        if self._waiting is None or self._waiting.done():
            self.close()
            return
        self._said_anything = True
        reason = ""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            reason = "it answered by another protocol"
        except httptools.HttpParserError as error:
            reason = f"its answer is no HTTP: {error or type(error).__name__}"
        if self._complete:
            self._clean = self._clean and not reason
            self._answered()
            return
        self._came_bytes += len(data)
        around = self._came_bytes - self._body_bytes
        if reason or self._head_bytes > _HEAD_BYTES_MAX or (not self._in_body and around > _HEAD_BYTES_MAX):
            self._failed(NoAnswer(reason or f"the head of its answer is longer than {_HEAD_BYTES_MAX} bytes"))
        elif around > _AROUND_BYTES_MAX:
            self._failed(NoAnswer(f"there are more than {_AROUND_BYTES_MAX} bytes around the body of its answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has closed it, which ends an answer that has no length of its own (RFC 9112, section 6.3)."""
        self.closed = True
        if self._waiting is None or self._waiting.done():
            return
        if not self._said_anything:
            self._failed(Stale("it closed the connection without an answer"))
        elif self._in_body and exc is None and not {"content-length", "transfer-encoding"} & self._headers.keys():
            self._answered()
        else:
            self._failed(NoAnswer("it closed the connection in the middle of its answer"))

    def _answered(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            body = b"".join(self._parts)[:BODY_BYTES_MAX]
            self._waiting.set_result(Answer(self._status, self._headers, body))
        if not self._clean:
            self.close()

    def _failed(self, error: NoAnswer) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
        self.close()

    # What httptools calls.

    def on_message_begin(self) -> None:
        """An answer begins; a second one was not asked for."""
        self._clean = self._clean and not self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; those after the body are thrown away."""
        self._head_bytes += len(name) + len(value) + _FIELD_BYTES
        if self._in_body or self._complete or self._head_bytes > _HEAD_BYTES_MAX:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The head is over."""
        if not self._complete:
            self._status = self._parser.get_status_code()
            self._in_body = self._status >= 200

    def on_body(self, body: bytes) -> None:
        """Some bytes of the body."""
        if self._complete:
            return
        self._parts.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._complete, self._clean = True, False

    def on_message_complete(self) -> None:
        """The answer is over, or one that only announces it (RFC 9110, section 15.2)."""
        if self._complete:
            return
        if self._status < 200:
            self._headers = {}
            return
        self._complete = True
        # Both would have to be read as an attempt to smuggle something (RFC 9112, section 6.3).
        both = {"content-length", "transfer-encoding"} <= self._headers.keys()
        self._clean = self._clean and not both and bool(self._parser.should_keep_alive())
