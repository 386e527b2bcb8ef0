"""The connections of a channel: one to each address, opened when it is needed, the least busy one used."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from functions.rpc.addresses import Address, Target, resolved
from functions.rpc.client_connection import ClientConnection
from functions.rpc.limits import Limits


@dataclass
class Place:
    """One address: the connection to it, if there is one, and when it may be tried again."""

    address: Address
    connection: ClientConnection | None = None
    connecting: asyncio.Task[None] | None = None
    failures: int = 0
    not_before: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing connects it, and nothing forbids to."""
        return self.connection is None and self.connecting is None and time.monotonic() >= self.not_before


class Pool:
    """Where the calls of one channel go."""

    def __init__(self, target: Target, limits: Limits) -> None:
        self._target = target
        self._limits = limits
        self._places: dict[Address, Place] = {}
        self._resolving: asyncio.Task[None] | None = None
        self._resolve_after = 0.0
        self._changed = asyncio.Event()
        # Those that the server takes no more calls on, until the last one ended.
        self._leaving: set[ClientConnection] = set()

    def ready(self) -> ClientConnection | None:
        """The least busy connection that takes a call now; while it is busy, another is opened behind it."""
        best: ClientConnection | None = None
        for place in self._places.values():
            connection = place.connection
            if (
                connection is not None
                and connection.usable
                and (best is None or len(connection.streams) < len(best.streams))
            ):
                best = connection
        if best is not None and best.streams and len(self._places) > 1:
            self._widen()
        if time.monotonic() > self._resolve_after:
            self._resolve()
        return best

    async def connection(self, deadline: float | None) -> ClientConnection:
        """A connection that takes a call, as soon as there is one.

        Raises:
            GRPCError: UNAVAILABLE: nobody answers at any address; DEADLINE_EXCEEDED: not in time.
        """
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
                while True:
                    connection = self.ready()
                    if connection is not None:
                        return connection
                    await self._more()
        except TimeoutError:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "The deadline has passed.") from None

    async def _more(self) -> None:
        """Wait until there may be a connection that takes a call."""
        if self._resolving is not None:
            await asyncio.wait({self._resolving})
        place = next((one for one in self._places.values() if one.idle), None)
        if place is not None:
            self._connect(place)
        connecting = {one.connecting for one in self._places.values() if one.connecting is not None}
        self._changed.clear()
        if connecting:
            await asyncio.wait(connecting, return_when=asyncio.FIRST_COMPLETED)
        elif any(one.connection is not None for one in self._places.values()):
            # Every connection has as many calls as its server takes.
            await self._changed.wait()
        else:
            self._resolve_after = 0.0
            raise GRPCError(Status.UNAVAILABLE, f"Nobody answers at {self._target.authority}.")

    def _widen(self) -> None:
        place = next((one for one in self._places.values() if one.idle), None)
        if place is not None:
            self._connect(place)

    def _connect(self, place: Place) -> None:
        place.connecting = asyncio.create_task(self._connected(place))

    async def _connected(self, place: Place) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: ClientConnection(self._limits, self._on_change), *place.address
                )
            place.connection, place.failures = connection, 0
            if self._places.get(place.address) is not place:
                # The name does not lead there any more.
                connection.leave()
        except OSError:
            self._pause(place)
        finally:
            place.connecting = None

    def _pause(self, place: Place) -> None:
        """Whoever is there is not tried again at once."""
        place.failures += 1
        pause = min(self._limits.pause_seconds_max, 0.05 * 2**place.failures)
        place.not_before = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret.
        self._resolve_after = 0.0

    def _on_change(self, connection: ClientConnection) -> None:
        self._changed.set()
        if connection.leaving:
            (self._leaving.discard if connection.closed else self._leaving.add)(connection)
            for place in self._places.values():
                if place.connection is connection:
                    place.connection = None
                    if connection.broken:
                        self._pause(place)
                    # It may have been taken away, and others may have come.
                    self._resolve_after = 0.0

    def _resolve(self) -> None:
        if self._resolving is None:
            self._resolve_after = time.monotonic() + self._limits.resolve_seconds
            self._resolving = asyncio.create_task(self._resolved())

    async def _resolved(self) -> None:
        try:
            addresses = await resolved(self._target)
        except OSError:
            # What is known goes on being used.
            addresses = list(self._places)
        finally:
            self._resolving = None
        known, self._places = self._places, {}
        for address in addresses:
            self._places[address] = known.pop(address) if address in known else Place(address)
        for gone in known.values():
            if gone.connection is not None:
                gone.connection.leave()

    def close(self) -> None:
        """Break off what is in flight, and close every connection."""
        tasks = [one.connecting for one in self._places.values()]
        for task in (*tasks, self._resolving):
            if task is not None:
                task.cancel()
        connections = [one.connection for one in self._places.values() if one.connection is not None]
        for connection in [*connections, *self._leaving]:
            connection.close()
