"""Makes the app of one operation that answers gRPC: what `functions.app` is for HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

from grpclib.const import Handler

from functions import correlation
from functions.lifespan import Resource, lifespan, name_of, publish
from functions.metrics import Metrics
from functions.migrated import of_area


class Servable(Protocol):
    """An instance of a generated base class."""

    def __mapping__(self) -> dict[str, Handler]:
        """Its methods by their paths."""


Kind = TypeVar("Kind", bound=type[Any])


def service(module: str) -> Service:
    """The app of the operation that this module is: `functions.users.rpc` is `users-rpc`."""
    return Service(*name_of(module))


class Service:
    """One operation's app. `state.database` is its area's database, where it has one."""

    def __init__(self, area: str, name: str) -> None:
        self.area = area
        self.name = name
        self.metrics = Metrics(name)
        self.database = of_area(area)
        self.state = SimpleNamespace(database=None, databases=(), publisher=None, started=False, process_started=None)
        self.resources: dict[str, Resource] = {}
        self.methods: dict[str, Handler] = {}
        #: Is set when the process is told to stop: streams that could go on for long end then, to be resumed elsewhere.
        self.draining: asyncio.Event

    def opens(self, name: str, resource: Resource) -> None:
        """Enter this when the app starts, as `app.state.NAME`, and leave it when it stops."""
        self.resources[name] = resource

    def serves(self, kind: Kind) -> Kind:
        """Serve the methods of this class, which implements a generated base."""
        served: Servable = kind()
        self.methods |= served.__mapping__()
        return kind

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Within it the app is started: what the environment names is there."""
        self.draining = asyncio.Event()
        async with lifespan(self):
            yield

    async def publish_recorded(self) -> None:
        """Publish at once what this call has recorded so far; a unary call needs not, it is done after the answer."""
        await publish(self, correlation.current())
