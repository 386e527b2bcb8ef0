"""Serves one gRPC function, on $PORT or on an inherited socket, by the rules of `functions.serve`."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping

import uvloop
from grpclib.const import Handler
from grpclib.server import Server

from functions.rpc.answering import answering
from functions.rpc.health import Health
from functions.rpc.service import Service


def run(app: Service, environ: Mapping[str, str], inherited: socket.socket | None) -> None:
    """Serve until SIGTERM; returns when everything that was begun is answered."""
    uvloop.run(_serve(app, environ, inherited))


async def _serve(app: Service, environ: Mapping[str, str], inherited: socket.socket | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with app.lifespan():
        server = server_of(app)
        if inherited is None:
            await server.start("0.0.0.0", int(environ.get("PORT", "8080")))  # noqa: S104 - Knative's contract.
        else:
            await server.start(sock=inherited)
        await stop.wait()
        app.draining.set()
        server.close()
        await server.wait_closed()


class _Served:
    """A service's methods as they are served."""

    def __init__(self, app: Service) -> None:
        self._app = app

    def __mapping__(self) -> dict[str, Handler]:
        health = Health({path.split("/")[1] for path in self._app.methods})
        own = {path: answering(self._app, path, handler) for path, handler in self._app.methods.items()}
        return own | health.__mapping__()


def server_of(app: Service) -> Server:
    """A server of this app that has not started."""
    return Server([_Served(app)])
