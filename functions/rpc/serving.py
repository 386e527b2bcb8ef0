"""Serves one gRPC function, on $PORT or on an inherited socket, by the rules of `functions.serve`."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping

import uvloop

from functions.rpc.limits import Limits
from functions.rpc.server import Server
from functions.rpc.service import Service


def run(app: Service, environ: Mapping[str, str], inherited: socket.socket | None) -> None:
    """Serve until SIGTERM; returns when everything that was begun is answered, or was told to go elsewhere."""
    uvloop.run(_serve(app, environ, inherited))


async def _serve(app: Service, environ: Mapping[str, str], inherited: socket.socket | None) -> None:
    asked, again = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (again if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        # Also as PID 1, where no signal has a default; a second one ends it at once.
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with app.lifespan():
        server = server_of(app, environ)
        # As Knative's runtime contract has it: all addresses, $PORT.
        await server.start(inherited or socket.create_server(("0.0.0.0", int(environ.get("PORT", "8080")))))  # noqa: S104
        await asked.wait()
        stopping = asyncio.create_task(server.stop())
        hurry = asyncio.create_task(again.wait())
        await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, hurry):
            task.cancel()


def server_of(app: Service, environ: Mapping[str, str]) -> Server:
    """A server of this app that has not started.

    GRPC_REFLECTION=on lets everybody ask what there is, and
    DRAIN_SECONDS is how long calls in flight may go on when it is told to stop.
    """
    limits = Limits(drain_seconds=float(environ.get("DRAIN_SECONDS", Limits.drain_seconds)))
    return Server(app, limits, reflected=environ.get("GRPC_REFLECTION", "off") == "on")
