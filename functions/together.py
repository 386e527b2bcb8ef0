"""Several functions in one process: the whole API, or all that is called inside the cluster only.

Requests go where the HTTPRoutes of knative/base send them, by method and path, or by the host's name
(`orders-place.…`), as through the gateway. What the YAML says is in services.json, which `make generated` writes.

Functions of one database share its pool; which database is whose says the variable that is named for its Secret
(ORDERS_DATABASE_URL), so that no area reaches another's. All other settings are the same for all, as in the ConfigMap.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, NamedTuple, TypeAlias

from starlette.types import Receive, Scope, Send

from functions import problems
from functions.app import Operation
from functions.database import Database
from functions.lifespan import opened, started
from functions.operations import load

#: What every caller may reach, what the HTTPRoutes lead to; and what only the platform calls: events, schedules.
GROUPS = ("api", "events")


class Route(NamedTuple):
    """Requests that go to a function."""

    method: str | None
    kind: Literal["Exact", "PathPrefix"]
    value: str
    function: str

    def takes(self, method: str, path: str) -> bool:
        """Whether this is one of them; a prefix is one of whole elements (Gateway API, PathMatchPathPrefix)."""
        if self.method not in {None, method}:
            return False
        if self.kind == "Exact":
            return path == self.value
        prefix = self.value.rstrip("/")
        return path == prefix or path.startswith(f"{prefix}/")


@dataclass(frozen=True)
class Service:
    """What the YAML says of a function."""

    cluster_local: bool
    database: str | None
    routes: tuple[tuple[str | None, Literal["Exact", "PathPrefix"], str], ...]


def services() -> dict[str, Service]:
    """Every function over HTTP, by its name."""
    found = json.loads(Path(__file__).with_name("services.json").read_text())
    return {
        name: Service(one["cluster_local"], one["database"], tuple(map(tuple, one["routes"])))
        for name, one in found.items()
    }


def routes(known: Mapping[str, Service]) -> list[Route]:
    """Every route, the most precise first (Gateway API, HTTPRouteRule: precedence)."""
    found = [Route(*route, name) for name, service in known.items() for route in service.routes]
    return sorted(found, key=lambda one: (one.kind != "Exact", -len(one.value), one.method is None))


def function_of(scope: Scope, names: Sequence[str], table: Sequence[Route]) -> str | None:
    """The function that a request is for: by its host, else by its method and path; None where there is none."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    first, dot, _ = host.partition(".")
    if dot and first in names:
        return first
    return next((one.function for one in table if one.takes(scope["method"], scope["path"])), None)


def served(name: str) -> Served:
    """What a name stands for: one function, or `api`, or `events`.

    Raises:
        ValueError: nothing, the message lists what there is; or a function that answers gRPC.
    """
    if name in GROUPS:
        return Together(name)
    try:
        app = load(name)
    except ValueError as error:
        raise ValueError(f"{error}, and all of them as {' or '.join(GROUPS)}") from error
    if not isinstance(app, Operation):
        raise ValueError(f"{name} answers gRPC, which is not carried here: python -m functions {name}")  # noqa: TRY004 - the setting is wrong.
    return app


def lifespan_of(app: Served) -> contextlib.AbstractAsyncContextManager[object]:
    """Within it the app is started; raises KnownSecret."""
    return app.lifespan() if isinstance(app, Together) else app.router.lifespan_context(app)


def databases_of(app: Served) -> set[Database]:
    """Every database that a started app has opened."""
    apps = app.apps.values() if isinstance(app, Together) else [app]
    return {database for one in apps for database in one.state.asked_if_migrated}


class Together:
    """An ASGI app of a group of functions. Of `events` each function is at a path of its own too: /orders-confirm."""

    def __init__(self, group: str) -> None:
        self.name = group
        self.state = SimpleNamespace(process_started=None)
        local = group == "events"
        self.services = {name: one for name, one in services().items() if one.cluster_local is local}
        self.apps: dict[str, Operation] = {}
        for name in self.services:
            app = load(name)
            assert isinstance(app, Operation)  # noqa: S101 - those over gRPC are not in services.json.
            self.apps[name] = app
        own = [Route(None, "PathPrefix", f"/{name}", name) for name in self.services]
        self._routes = own if local else routes(self.services)

    def require(self, environ: Mapping[str, str]) -> None:
        """Refuse an environment without all of their databases.

        Raises:
            ValueError: with the variables that are not there.
        """
        wanted = {one.database for one in self.services.values() if one.database}
        missing = sorted(name for name in wanted if not environ.get(name))
        if missing:
            raise ValueError(f"not set: {', '.join(missing)}; each function keeps to the database of its own area")

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Within it every function is started; raises KnownSecret, and ValueError where a database is not named."""
        self.require(os.environ)
        async with contextlib.AsyncExitStack() as stack:
            for variable, apps in self._by_database().items():
                means = await stack.enter_async_context(opened(variable, apps[0].database))
                for app in apps:
                    await stack.enter_async_context(started(app, means))
            yield

    def _by_database(self) -> dict[str | None, list[Operation]]:
        """The functions, by the variable that names their database; those that have none by None."""
        found: dict[str | None, list[Operation]] = {}
        for name, one in self.services.items():
            found.setdefault(one.database, []).append(self.apps[name])
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        name = function_of(scope, list(self.apps), self._routes)
        if name is None:
            detail = "There is nothing at this path."
            await problems.problem(404, "Not Found", detail)(scope, receive, send)
            return
        # Whoever is asked first tells that the process was started for it.
        self.apps[name].state.process_started, self.state.process_started = self.state.process_started, None
        if self.name == "events":
            scope = {**scope, "path": _within(scope["path"], name)}
        await self.apps[name](scope, receive, send)


def _within(path: str, name: str) -> str:
    """The path as the function knows it."""
    return (path.removeprefix(f"/{name}") or "/") if f"{path}/".startswith(f"/{name}/") else path


Served: TypeAlias = Operation | Together
