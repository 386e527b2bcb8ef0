"""HTTP calls that are made for a call: on one pooled client, within the time that is left, repeated within a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from eventing.httpclient import client, client_of
from functions import correlation, deadlines
from functions.errors import DeadlineExceeded, Unavailable

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
# What says that the other side went away before it answered: it fell asleep, or another one takes its place.
_GONE = (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


class BoundedClient(httpx.AsyncClient):
    """A client whose requests, answers included, end at the deadline of the call that they are made for."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As always.

        Raises:
            httpx.ReadTimeout: also when the deadline came.
        """
        try:
            async with deadlines.bounded():
                return await super().send(request, **options)
        except DeadlineExceeded as error:
            raise httpx.ReadTimeout("the time of the call that it was made for is over", request=request) from error


def bounded_client(*, secure: bool, timeout: httpx.Timeout) -> BoundedClient:
    """The client for calls to others; not for what is done when the answer is out."""
    return client_of(BoundedClient, secure=secure, timeout=timeout)


class Budget:
    """How many calls may be repeated: a share of them all, and a few to begin with.

    Without one, a function in trouble would get as many calls again, just when it can bear them least.
    """

    def __init__(self, share: float = 0.1, most: float = 5.0) -> None:
        self._share = share
        self._most = most
        self._left = most

    def earn(self) -> None:
        """A call was made."""
        self._left = min(self._most, self._left + self._share)

    def spend(self) -> bool:
        """Whether one may be repeated; if so, it is counted."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Peer:
    """Another function, or any HTTP service of ours, at a URL.

    It is told under which id the call is known, what it traces to, and how long somebody waits for it.
    """

    def __init__(self, url: str, timeout_seconds: float = 2.0) -> None:
        """*timeout_seconds* is for one try, its answer included."""
        timeout = httpx.Timeout(timeout_seconds, connect=min(1.0, timeout_seconds))
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._client = client(secure=url.startswith("https:"), timeout=timeout)
        self._budget = Budget()

    async def __aenter__(self) -> Self:
        """Nothing connects yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **sent: Any
    ) -> httpx.Response:
        """The answer, whatever it says below 500. *sent* is as httpx takes it: json, params, content.

        A method that may be repeated (RFC 9110, section 9.2.2) is, once, where the connection broke.

        Raises:
            Unavailable: no answer, or one of 500 or more.
            DeadlineExceeded: the current call's time is over.
        """
        self._budget.earn()
        try:
            try:
                answer = await self._once(method, path, headers or {}, sent)
            except _GONE:
                if method not in _IDEMPOTENT or not self._budget.spend():
                    raise
                answer = await self._once(method, path, headers or {}, sent)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unavailable("Another function that this needs does not answer: try again.") from error
        if answer.status_code >= 500:
            raise Unavailable("Another function that this needs is not available at the moment: try again.")
        return answer

    async def _once(
        self, method: str, path: str, headers: Mapping[str, str], sent: Mapping[str, Any]
    ) -> httpx.Response:
        left = deadlines.seconds_left()
        seconds = self._timeout_seconds if left is None else min(left, self._timeout_seconds)
        cause = correlation.current().cause
        told = {
            "x-request-timeout-ms": str(max(1, int(seconds * 1000))),
            "x-request-id": cause.correlation_id,
            "traceparent": cause.traceparent or "",
        }
        told = {name: value for name, value in told.items() if value}
        # httpx' own time-outs are for each step; this one is for all of them.
        async with deadlines.bounded(), asyncio.timeout(self._timeout_seconds):
            return await self._client.request(method, self._url + path, headers={**told, **headers}, **sent)
