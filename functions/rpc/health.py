"""grpc.health.v1, open to all: whether this process takes calls (GRPC Health Checking Protocol)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthBase
from grpclib.health.v1.health_pb2 import HealthCheckResponse

from functions.rpc.calls import receive

NAME = "grpc.health.v1.Health"


class Health(HealthBase):
    """SERVING from the start of the server until it is told to stop; "" is the process as a whole."""

    def __init__(self, services: Collection[str]) -> None:
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
        await stream.send_message(self._now())

    async def Watch(self, stream: Any) -> None:  # noqa: N802
        """How it is now, and again when that changes."""
        request = await receive(stream)
        if request.service not in self._services:
            await stream.send_message(HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN))
            await self._stopping.wait()
            return
        await stream.send_message(self._now())
        if not self._stopping.is_set():
            await self._stopping.wait()
            await stream.send_message(self._now())

    def _now(self) -> HealthCheckResponse:
        status = HealthCheckResponse.NOT_SERVING if self._stopping.is_set() else HealthCheckResponse.SERVING
        return HealthCheckResponse(status=status)
