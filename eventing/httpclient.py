"""The HTTP client that events, and calls between functions, go out with."""

from __future__ import annotations

from typing import TypeVar

import httpx

Client = TypeVar("Client", bound=httpx.AsyncClient)


def client(*, secure: bool, timeout: httpx.Timeout, connections_max: int = 100) -> httpx.AsyncClient:
    """A pooled HTTP client that follows no redirect and honours HTTP_PROXY and NO_PROXY."""
    return client_of(httpx.AsyncClient, secure=secure, timeout=timeout, connections_max=connections_max)


def client_of(kind: type[Client], *, secure: bool, timeout: httpx.Timeout, connections_max: int = 100) -> Client:
    """As `client`, of a class of one's own.

    Reading the machine's certificates takes some 15 ms of a cold start: it is done only where https is spoken.
    """
    return kind(
        verify=secure,
        timeout=timeout,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=connections_max, max_keepalive_connections=20, keepalive_expiry=2.0),
    )
