"""Asks users-get whether somebody is there (GET /users/{username})."""

from __future__ import annotations

import contextlib

import httpx

from eventing.httpclient import client
from functions import correlation
from functions.errors import Unauthenticated
from functions.orders.buyers import BuyersSettings, MayNotBuy, UsersAway, seconds_left

_CONNECT_SECONDS = 2.0


class BuyersByHttp(contextlib.AbstractAsyncContextManager["BuyersByHttp"]):
    """users-get, over one pooled client."""

    def __init__(self, settings: BuyersSettings) -> None:
        self._settings = settings
        secure = settings.get_url.startswith("https:")
        self._client = client(secure=secure, timeout=httpx.Timeout(settings.timeout_seconds))

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def verify(self, username: str) -> None:
        """As `Buyers` has it."""
        status = await self._asked(username)
        if status == httpx.codes.NOT_FOUND:
            raise MayNotBuy
        if status == httpx.codes.UNAUTHORIZED:
            raise Unauthenticated
        if status != httpx.codes.OK:
            raise UsersAway

    async def _asked(self, username: str) -> int:
        call, seconds = correlation.current(), seconds_left(self._settings.until())
        headers = {"authorization": f"Bearer {call.token}", "x-request-id": call.cause.correlation_id}
        if call.cause.traceparent is not None:
            headers["traceparent"] = call.cause.traceparent
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        try:
            answer = await self._client.get(
                f"{self._settings.get_url}/users/{username}", headers=headers, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise UsersAway from error
        return answer.status_code
