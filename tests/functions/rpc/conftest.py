"""The echo service, served in this process, and the runtime's own Envoy before it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from functions.rpc.limits import Limits
from functions.rpc.server import Server
from knative.runtime import child, history, ingress
from knative.runtime import gateway as gateway_
from knative.runtime.manifests import load
from knative.runtime.state import State
from tests.conftest import ROOT
from tests.functions.conftest import KEY
from tests.functions.rpc.echo import Echo, echo_service

# The Service that the echo stands in for behind Envoy.
NAME = "users-rpc"


@dataclass
class Served:
    """One echo service that is being served."""

    echo: Echo
    server: Server
    port: int


ServeEcho = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve_echo(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServeEcho]:
    """`served = await serve_echo(port=0, message_bytes_max=100)`: limits are given as keywords."""
    monkeypatch.setenv("TOKEN_KEYS", json.dumps({"keys": [KEY.as_dict(private=False)]}))
    for name in ("K_SINK", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    async with AsyncExitStack() as stack:

        async def start(
            port: int = 0, host: str = "127.0.0.1", database_url: str | None = None, **changed: float
        ) -> Served:
            if database_url is not None:
                monkeypatch.setenv("DATABASE_URL", database_url)
            app, echo = echo_service()
            await stack.enter_async_context(app.lifespan())
            limits = replace(Limits(drain_seconds=0.2), **changed)  # type: ignore[arg-type]
            server = await stack.enter_async_context(Server(app, limits, reflected=True))
            listening = socket.create_server((host, port))
            await server.start(listening)
            return Served(echo, server, listening.getsockname()[1])

        yield start


@dataclass(frozen=True)
class Gateway:
    """A running Envoy, and where the Service behind it is to listen."""

    public: int
    internal: int
    behind: int


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The real Envoy, configured by Wake's own YAML, with one Service behind it."""
    folder = tmp_path_factory.mktemp("envoy")
    platform = load(ROOT / "knative/overlays/local")
    admin = State(folder).socket("a.sock") if len(str(folder)) > 80 else folder / "a.sock"
    listen = ingress.EnvoyPorts("127.0.0.1", child.free_port(), child.free_port(), str(admin))
    made = gateway_.Gateway(folder / "envoy", listen)
    routed = history.revise(platform, folder / "revisions.json")
    behind = child.free_port()
    service = routed["shop", NAME].service
    places = {ingress.cluster_name("shop", service.revision): [behind]}
    asyncio.run(made.configure(routed, platform.routes, places))
    running = made.start(folder / "log")
    running.wait_until_ready()
    yield Gateway(listen.public_port, listen.internal_port, behind)
    running.stop()
