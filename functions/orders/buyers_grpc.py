"""Asks users-rpc whether somebody may buy (wake.users.v1.UsersService/VerifyBuyer)."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from functions.errors import Unauthenticated
from functions.orders.buyers import BuyersSettings, MayNotBuy, UsersAway, seconds_left
from functions.rpc.channel import Channel
from protos.users.v1.users_grpc import UsersServiceStub
from protos.users.v1.users_pb2 import VerifyBuyerRequest, VerifyBuyerResponse

_MAY_PASS = (StreamTerminatedError, ProtocolError, OSError, TimeoutError)


class BuyersByGrpc(contextlib.AbstractAsyncContextManager["BuyersByGrpc"]):
    """users-rpc, over one channel, which connects when it is first asked."""

    def __init__(self, settings: BuyersSettings) -> None:
        self._settings = settings
        self._channel = Channel(settings.rpc_url)
        # The stub asks for grpclib's own by name.
        self._users = UsersServiceStub(cast("Any", self._channel))

    async def __aexit__(self, *_: object) -> None:
        """Close the channel."""
        self._channel.close()

    async def verify(self, username: str) -> None:
        """As `Buyers` has it."""
        until = self._settings.until()
        try:
            answer = await self._asked(username, until)
        except UsersAway:
            # Once more: a process that is just being replaced says so, and the next one is there.
            answer = await self._asked(username, until)
        if not answer.may_buy:
            raise MayNotBuy

    async def _asked(self, username: str, until: float) -> VerifyBuyerResponse:
        seconds = seconds_left(until)
        try:
            return await self._users.VerifyBuyer(VerifyBuyerRequest(username=username), timeout=seconds)
        except GRPCError as error:
            if error.status is Status.UNAUTHENTICATED:
                raise Unauthenticated from error
            raise UsersAway from error
        except _MAY_PASS as error:
            raise UsersAway from error
