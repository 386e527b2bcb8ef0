"""Asks users-get whether somebody is there (GET /users/{username})."""

from __future__ import annotations

import contextlib
from http import HTTPStatus

from functions import correlation
from functions.errors import DeadlineExceeded, Unauthenticated, Unavailable
from functions.httpcalls import Peer
from functions.orders.buyers import BuyersSettings, MayNotBuy, UsersAway


class BuyersByHttp(contextlib.AbstractAsyncContextManager["BuyersByHttp"]):
    """users-get, over one pooled client."""

    def __init__(self, settings: BuyersSettings) -> None:
        self._users = Peer(settings.get_url, settings.timeout_seconds)

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._users.__aexit__(None, None, None)

    async def verify(self, username: str) -> None:
        """As `Buyers` has it."""
        headers = {"authorization": f"Bearer {correlation.current().token}"}
        try:
            answer = await self._users.request("GET", f"/users/{username}", headers)
        except DeadlineExceeded:
            raise
        except Unavailable as error:
            raise UsersAway from error
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise MayNotBuy
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise Unauthenticated
        if answer.status_code != HTTPStatus.OK:
            raise UsersAway
