"""The HTTP client that events, and calls between functions, go out with."""

from __future__ import annotations

import httpx


def client(*, secure: bool, timeout: httpx.Timeout, connections_max: int = 100) -> httpx.AsyncClient:
    """A pooled HTTP client that follows no redirect and honours HTTP_PROXY and NO_PROXY.

    Reading the machine's certificates takes some 15 ms of a cold start: it is done only where https is spoken.
    """
    return httpx.AsyncClient(
        verify=secure,
        timeout=timeout,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=connections_max, max_keepalive_connections=20, keepalive_expiry=2.0),
    )
