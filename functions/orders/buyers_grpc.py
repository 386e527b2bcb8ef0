"""Asks users-rpc whether somebody may buy (wake.users.v1.UsersService/VerifyBuyer)."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from functions import deadlines
from functions.errors import Unauthenticated
from functions.httpcalls import Budget
from functions.orders.buyers import BuyersSettings, MayNotBuy, UsersAway
from functions.rpc.channel import Channel
from protos.users.v1.users_grpc import UsersServiceStub
from protos.users.v1.users_pb2 import VerifyBuyerRequest, VerifyBuyerResponse


class BuyersByGrpc(contextlib.AbstractAsyncContextManager["BuyersByGrpc"]):
    """users-rpc, over one channel, which connects when it is first asked."""

    def __init__(self, settings: BuyersSettings) -> None:
        self._seconds = settings.timeout_seconds
        self._budget = Budget()
        self._channel = Channel(settings.rpc_url)
        # The stub asks for grpclib's own by name.
        self._users = UsersServiceStub(cast("Any", self._channel))

    async def __aexit__(self, *_: object) -> None:
        """Close the channel."""
        self._channel.close()

    async def verify(self, username: str) -> None:
        """As `Buyers` has it."""
        self._budget.earn()
        try:
            try:
                answer = await self._asked(username)
            except GRPCError as error:
                # Whoever was asked fell asleep, or another one takes its place.
                if error.status is not Status.UNAVAILABLE or not self._budget.spend():
                    raise
                answer = await self._asked(username)
        except GRPCError as error:
            if error.status is Status.UNAUTHENTICATED:
                raise Unauthenticated from error
            raise UsersAway from error
        if not answer.may_buy:
            raise MayNotBuy

    async def _asked(self, username: str) -> VerifyBuyerResponse:
        left = deadlines.seconds_left()
        seconds = self._seconds if left is None else min(self._seconds, left)
        return await self._users.VerifyBuyer(VerifyBuyerRequest(username=username), timeout=seconds)
