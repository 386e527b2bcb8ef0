"""grpc.health.v1, open to all: whether this process takes calls (GRPC Health Checking Protocol)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthBase
from grpclib.health.v1.health_pb2 import HealthCheckResponse

from functions.rpc.calls import receive

NAME = "grpc.health.v1.Health"
_READY_AGAIN_SECONDS = 1.0


class Health(HealthBase):
    """SERVING from the start of the server until it is told to stop; "" is the process as a whole.

    Not while it is not *ready* either: then a database says that it lacks a migration.
    """

    def __init__(self, services: Collection[str], ready: Callable[[], Awaitable[bool]]) -> None:
        self._ready = ready
        self._services = frozenset({"", *services})
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """From here on NOT_SERVING."""
        self._stopping.set()

    async def Check(self, stream: Any) -> None:  # noqa: N802 - the name in the .proto file.
        """How it is now; NOT_FOUND for a service that is not here."""
        request = await receive(stream)
        if request.service not in self._services:
            raise GRPCError(Status.NOT_FOUND, "There is no such service here.")
        await stream.send_message(_answer(serving=await self._serving()))

    async def Watch(self, stream: Any) -> None:  # noqa: N802
        """How it is now, and again when that changes."""
        request = await receive(stream)
        if request.service not in self._services:
            await stream.send_message(HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN))
            await self._stopping.wait()
            return
        told: bool | None = None
        while told is not False or not self._stopping.is_set():
            serving = await self._serving()
            if serving is not told:
                await stream.send_message(_answer(serving=serving))
            told = serving
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), None if serving else _READY_AGAIN_SECONDS)

    async def _serving(self) -> bool:
        return not self._stopping.is_set() and await self._ready()


def _answer(*, serving: bool) -> HealthCheckResponse:
    return HealthCheckResponse(status=HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)
