"""A small HTTP/1.1 client for deliveries: POST over pooled connections, parsed by httptools.

httpx spends about a millisecond of processor time on a call, which is ten times what the rest of a delivery takes. This
one does what a dispatcher needs of it and no more: no redirect, no cookie, no compression. HTTP_PROXY and NO_PROXY are
honoured; https goes to its host directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httptools

# Shorter than the time after which any server in between closes a connection that nobody uses.
_IDLE_SECONDS = 2.0
_CONNECT_SECONDS = 5.0
_BODY_BYTES_MAX = 1024 * 1024
_LINES = str.maketrans("", "", "\r\n\0")


class NoAnswer(Exception):
    """Nothing answered, or not in HTTP; the message says what happened."""


@dataclass(frozen=True)
class Answer:
    """What came back: a code, headers by their lower-case names, and at most a mebibyte of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Route:
    """Where a URL is connected to, and how its request begins."""

    host: str
    port: int
    secure: bool
    head: bytes


class Client:
    """Posts to any number of servers, over connections that are kept for the next request to the same one."""

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}
        self._idle: defaultdict[tuple[str, int, bool], deque[_Connection]] = defaultdict(deque)
        self._open: set[_Connection] = set()
        self._context: ssl.SSLContext | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> Answer:
        """The answer, whatever its code.

        Raises:
            NoAnswer: there was none.
            TimeoutError: there was none within so many seconds.
        """
        route = self._routes.get(url) or self._routes.setdefault(url, _route(url))
        request = _request(route, headers, body)
        async with asyncio.timeout(timeout_seconds):
            connection = self._pooled(route)
            if connection is not None:
                with contextlib.suppress(_Stale):
                    return await self._exchange(route, connection, request)
            return await self._exchange(route, await self._connected(route), request)

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.abort()

    async def _exchange(self, route: _Route, connection: _Connection, request: bytes) -> Answer:
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.abort()
            raise
        if connection.reusable:
            connection.idle_since = time.monotonic()
            self._idle[route.host, route.port, route.secure].append(connection)
        else:
            connection.abort()
        return answer

    def _pooled(self, route: _Route) -> _Connection | None:
        """The connection used last that is still good; those idle for too long are closed."""
        idle = self._idle.get((route.host, route.port, route.secure))
        oldest = time.monotonic() - _IDLE_SECONDS
        while idle and idle[0].idle_since < oldest:
            idle.popleft().abort()
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        return None

    async def _connected(self, route: _Route) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._open), route.host, route.port, ssl=self._tls() if route.secure else None
                )
        except TimeoutError as error:
            raise NoAnswer(f"no connection to {route.host}:{route.port} within {_CONNECT_SECONDS:g} s") from error
        except OSError as error:
            raise NoAnswer(f"{route.host}:{route.port}: {error.strerror or error}") from error
        return connection

    def _tls(self) -> ssl.SSLContext:
        """Made where https is spoken: reading the machine's certificates takes some 15 ms."""
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


class _Stale(NoAnswer):
    """A kept connection had been closed: nothing of this request was answered, and it may go over another."""


@dataclass(eq=False)
class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time. httptools calls `on_…`."""

    open: set[_Connection]
    idle_since: float = 0.0
    reusable: bool = False
    _used: bool = False
    _began: bool = False
    _status: int = 0
    _headers: dict[str, str] = field(default_factory=dict)
    _body: bytearray = field(default_factory=bytearray)
    _waiting: asyncio.Future[Answer] | None = None
    _transport: asyncio.Transport | None = None
    _until_end: bool = False

    async def exchange(self, request: bytes) -> Answer:
        """Send a request, and wait for its answer.

        Raises:
            NoAnswer: the connection ended first.
        """
        if self._transport is None:
            raise _Stale("the connection is closed")
        self.reusable = self._began = self._until_end = False
        self._headers, self._body = {}, bytearray()
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            self._waiting = None
            self._used = True

    def abort(self) -> None:
        """Close it now."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self.open.add(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._waiting is None:
            # Nobody asked: whatever it is, the next answer would not be trusted.
            self.abort()
            return
        self._began = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(NoAnswer(f"it does not answer in HTTP/1.1: {error}"))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.open.discard(self)
        self._transport, self.reusable = None, False
        if self._until_end:
            self._finish()
        elif self._used and not self._began:
            self._fail(_Stale("the connection had been closed"))
        else:
            self._fail(NoAnswer(str(error or "") or "the connection ended before the answer did"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; one that comes again is added to the first (RFC 9110, section 5.2)."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The code is known; without a length the body ends with the connection."""
        self._status = self._parser.get_status_code()
        bodiless = self._status < 200 or self._status in {204, 304}
        self._until_end = not bodiless and not {"content-length", "transfer-encoding"} & self._headers.keys()

    def on_body(self, body: bytes) -> None:
        """A part of the body: a subscriber does not decide how much memory we have."""
        self._body += body
        if len(self._body) > _BODY_BYTES_MAX:
            self._finish()
            self.abort()

    def on_message_complete(self) -> None:
        """The answer is whole; one that announces another (1xx) is passed over."""
        if self._status < 200:
            self._headers = {}
            return
        self.reusable = self._parser.should_keep_alive() and not self._until_end
        self._finish()

    def _finish(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(self._status, self._headers, bytes(self._body[:_BODY_BYTES_MAX])))

    def _fail(self, error: NoAnswer) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _request(route: _Route, headers: Mapping[str, str], body: bytes) -> bytes:
    # Values come from events: what would end a line is left out, so that no event writes a header of its own.
    lines = "".join(f"{name}: {value.translate(_LINES)}\r\n" for name, value in headers.items())
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (route.head, lines.encode("latin-1", "replace"), len(body), body)


def _route(url: str) -> _Route:
    """Where to connect to: the URL's host, or the proxy for it.

    Raises:
        NoAnswer: it is no http URL.
    """
    try:
        where = urlsplit(url)
        port = where.port or (443 if where.scheme == "https" else 80)
    except ValueError as error:
        raise NoAnswer(f"{url} is no URL: {error}") from error
    if where.scheme not in {"http", "https"} or not where.hostname or any(letter <= " " for letter in url):
        raise NoAnswer(f"{url} is no http URL")
    secure = where.scheme == "https"
    target = f"{where.path or '/'}{'?' + where.query if where.query else ''}"
    host, name = where.hostname, where.netloc.rpartition("@")[2]
    proxy = urlsplit(getproxies().get("http", ""))
    if proxy.hostname and not secure and not proxy_bypass(f"{where.hostname}:{port}"):
        target, host, port = f"http://{name}{target}", proxy.hostname, proxy.port or 80
    return _Route(host, port, secure, f"POST {target} HTTP/1.1\r\nhost: {name}\r\nuser-agent: wake\r\n".encode())
