"""Posts events to subscribers over pooled connections, honours HTTP_PROXY and NO_PROXY, follows no redirect.

Plain http goes over connections of our own (`eventing.http1`), everything else (https, a URL or a proxy with a user and
password, a host name that is not ASCII) through httpx. Delivery is at least once: what was sent on a connection that
its peer closed while it was idle is sent again.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from eventing.http1 import BODY_BYTES_MAX, Answer, Connection, NoAnswer, Stale
from eventing.httpclient import client

CONNECT_SECONDS = 5.0
_CONNECTIONS_MAX = 1000
# Shorter than what servers allow (uvicorn: five seconds), so that they seldom close one that is about to be used.
_IDLE_SECONDS = 2.0
_ROUTES_MAX = 10_000
_NAME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
_LINES = str.maketrans("", "", "\r\n\0")
Address = tuple[str, int]


@dataclass(frozen=True)
class Route:
    """Whom to connect to for a URL, and how every request to it begins."""

    address: Address
    head: str


class Poster:
    """A pool. Calls beyond a thousand at once wait for their turn."""

    def __init__(self) -> None:
        self._routes: dict[str, Route | None] = {}
        self._idle = _Idle()
        self._places = asyncio.Semaphore(_CONNECTIONS_MAX)
        self._secure: httpx.AsyncClient | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> Answer:
        """Return the answer, its body cut at a mebibyte; the time is for all of it, from the connection on.

        Raises:
            NoAnswer: with the reason.
        """
        route = self._route(url)
        async with self._places:
            try:
                async with asyncio.timeout(timeout_seconds):
                    if route is None:
                        return await self._through_httpx(url, headers, body)
                    return await self._exchange(route.address, encode(route.head, headers, body))
            except TimeoutError:
                raise NoAnswer(f"no answer within {timeout_seconds:g} s") from None

    @property
    def idle(self) -> int:
        """How many connections wait for their next request."""
        return self._idle.number()

    async def close(self) -> None:
        """Close every connection."""
        self._idle.close()
        if self._secure is not None:
            await self._secure.aclose()

    def _route(self, url: str) -> Route | None:
        if url not in self._routes:
            if len(self._routes) >= _ROUTES_MAX:
                self._routes.clear()
            self._routes[url] = route_of(url)
        return self._routes[url]

    async def _exchange(self, address: Address, request: bytes) -> Answer:
        connection = self._idle.take(address)
        if connection is not None:
            try:
                return await self._ask(connection, address, request)
            except Stale:
                # It was closed while it was idle; a new one tells whether anybody is there.
                pass
        return await self._ask(await _connect(address), address, request)

    async def _ask(self, connection: Connection, address: Address, request: bytes) -> Answer:
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._idle.put(address, connection)
        else:
            connection.close()
        return answer

    async def _through_httpx(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if self._secure is None:
            timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
            self._secure = client(secure=True, timeout=timeout, connections_max=_CONNECTIONS_MAX)
        try:
            async with self._secure.stream("POST", url, content=body, headers=dict(headers)) as answer:
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > BODY_BYTES_MAX:
                        break
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        fields = {
            name: value.encode(answer.headers.encoding).decode("latin-1") for name, value in answer.headers.items()
        }
        return Answer(answer.status_code, fields, bytes(content[:BODY_BYTES_MAX]))


class _Idle:
    """Connections that wait for their next request, the one that was used last first."""

    def __init__(self) -> None:
        self._of: dict[Address, list[tuple[float, Connection]]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def take(self, address: Address) -> Connection | None:
        """One that is open, as far as is known."""
        waiting = self._of.get(address, [])
        while waiting:
            since, connection = waiting.pop()
            if not connection.closed and time.monotonic() - since < _IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def put(self, address: Address, connection: Connection) -> None:
        """This one may be used again."""
        self._of.setdefault(address, []).append((time.monotonic(), connection))
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._sweep)

    def number(self) -> int:
        """How many are open."""
        return sum(not connection.closed for waiting in self._of.values() for _, connection in waiting)

    def close(self) -> None:
        """Close all."""
        for waiting in self._of.values():
            for _, connection in waiting:
                connection.close()
        self._of.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _sweep(self) -> None:
        """Close what nobody has used for a while."""
        oldest = time.monotonic() - _IDLE_SECONDS
        for address, waiting in list(self._of.items()):
            kept = [one for one in waiting if one[0] > oldest and not one[1].closed]
            for _, connection in waiting[: len(waiting) - len(kept)]:
                connection.close()
            self._of[address] = kept
            if not kept:
                del self._of[address]
        self._sweeping = None
        if self._of:
            self._sweeping = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._sweep)


async def _connect(address: Address) -> Connection:
    host, port = address
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    except TimeoutError:
        raise NoAnswer(f"no connection to {host}:{port} within {CONNECT_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:
        raise NoAnswer(f"no connection to {host}:{port}: {error}") from error
    return connection


def route_of(url: str) -> Route | None:
    """The way to a URL, through the proxy of the environment if there is one; None where httpx has to go it.

    Raises:
        NoAnswer: it is no URL.
    """
    try:
        where = urlsplit(url)
        proxy = _proxy(where)
        plain = _is_plain(where) and (proxy is None or _is_plain(proxy))
    except ValueError as error:
        raise NoAnswer(f"{url} is no URL: {error}") from error
    if any(character <= " " for character in url):
        raise NoAnswer(f"{url!r} is no URL")
    if not plain:
        return None
    target = f"{where.path or '/'}{f'?{where.query}' if where.query else ''}"
    if proxy is not None:
        # A proxy is asked for the whole URL (RFC 9112, section 3.2.2).
        target = f"http://{where.netloc}{target}"
    head = f"POST {target} HTTP/1.1\r\nhost: {where.netloc}\r\nuser-agent: wake\r\naccept-encoding: identity\r\n"
    return Route(_address(proxy or where), head)


def _is_plain(where: SplitResult) -> bool:
    """Whether it is http, and has nothing that would have to be encoded or told to somebody."""
    return (
        where.scheme == "http"
        and bool(where.hostname)
        and "@" not in where.netloc
        and where.port != 0
        and re.fullmatch(r"[!-~]+", where.geturl()) is not None
    )


def _address(where: SplitResult) -> Address:
    return str(where.hostname), where.port or 80


def _proxy(where: SplitResult) -> SplitResult | None:
    proxies = getproxies()
    proxy = proxies.get("http") or proxies.get("all")
    if not proxy or proxy_bypass(where.netloc):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def encode(head: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request. What would end a line is left out of values, so that no event writes a field of its own."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if _is_name(name)]
    fields = "".join(lines)
    if fields.count("\n") > len(lines) or fields.count("\r") > len(lines) or "\0" in fields:
        return encode(head, {name: value.translate(_LINES) for name, value in headers.items()}, body)
    return f"{head}{fields}content-length: {len(body)}\r\n\r\n".encode("latin-1", "replace") + body


@lru_cache(maxsize=1000)
def _is_name(name: str) -> bool:
    return _NAME.match(name) is not None
