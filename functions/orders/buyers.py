"""Asks users whether somebody may buy, with the caller's own token: over gRPC or over HTTP, as USERS_CALLS says.

Both answer the same; they are there to be compared. Over HTTP it is users-get that is asked, whose answer a cache may
keep for some seconds longer than it is true.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from functions.errors import Forbidden, Unavailable

_REMEMBERED_SECONDS = 60.0


class MayNotBuy(Forbidden):
    """There is no such user, or no longer: nothing can be ordered in that name."""


class UsersAway(Unavailable):
    """Whether the buyer may buy cannot be found out at the moment: try again."""


class Buyers(Protocol):
    """Whoever knows the buyers."""

    async def verify(self, username: str) -> None:
        """Return if this user may buy.

        Raises:
            MayNotBuy: there is no such user, or it is none that the caller may ask for.
            Unauthenticated: the call's token is not valid any more.
            UsersAway: nobody answered in time, also when asked once more where the connection broke.
            DeadlineExceeded: the call's own time is over.
        """


class Remembered:
    """Remembers for a minute who was found to be allowed to buy: a stream asks once for many orders of one buyer."""

    def __init__(self, verify: Callable[[str], Awaitable[None]], now: Callable[[], float] = time.monotonic) -> None:
        self._verify, self._now = verify, now
        self._until: dict[str, float] = {}

    async def verify(self, username: str) -> None:
        """As `Buyers` has it."""
        if self._now() >= self._until.get(username, 0.0):
            await self._verify(username)
            self._until[username] = self._now() + _REMEMBERED_SECONDS


@dataclass(frozen=True)
class BuyersSettings:
    """Where users are asked, and how long an answer is waited for."""

    #: The function users-rpc (gRPC).
    rpc_url: str = "http://users-rpc.shop.svc.cluster.local"
    #: The function users-get (HTTP).
    get_url: str = "http://users-get.shop.svc.cluster.local"
    #: Seconds for one try, or what is left of the call's own time if that is less. Enough for a function to wake.
    timeout_seconds: float = 5.0

    @classmethod
    def from_environment(cls) -> BuyersSettings:
        """USERS_RPC_URL, USERS_GET_URL, USERS_TIMEOUT_SECONDS."""
        return cls(
            os.environ.get("USERS_RPC_URL", cls.rpc_url),
            os.environ.get("USERS_GET_URL", cls.get_url),
            float(os.environ.get("USERS_TIMEOUT_SECONDS", cls.timeout_seconds)),
        )


@contextlib.asynccontextmanager
async def chosen() -> AsyncIterator[Buyers]:
    """Those that USERS_CALLS names: `grpc` or `http`.

    Raises:
        ValueError: it names neither.
    """
    name, settings = os.environ.get("USERS_CALLS", "grpc"), BuyersSettings.from_environment()
    if name == "grpc":
        from functions.orders.buyers_grpc import BuyersByGrpc  # noqa: PLC0415 - the chosen only.

        async with BuyersByGrpc(settings) as by_grpc:
            yield by_grpc
    elif name == "http":
        from functions.orders.buyers_http import BuyersByHttp  # noqa: PLC0415 - the chosen only.

        async with BuyersByHttp(settings) as by_http:
            yield by_http
    else:
        raise ValueError(f"USERS_CALLS is {name!r}; there are grpc and http")
