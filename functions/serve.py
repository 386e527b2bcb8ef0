"""Serves one function with uvicorn, on $PORT or on an inherited socket, and stops without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import uvicorn

from functions import logs
from functions.app import Operation

if TYPE_CHECKING:
    from functions.rpc.service import Service

# systemd's protocol: the first inherited descriptor (sd_listen_fds(3)).
_LISTEN_FDS_START = 3
# A connection that was accepted just before the end sends its request within this.
_SILENT_SECONDS = 0.1
_BACKLOG = 4096


class Server(uvicorn.Server):
    """uvicorn, with an end that suits a socket which outlives the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end it gracefully, a second one at once; also as PID 1, where no signal has a default."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what was accepted, end.

        Only our own copy of the listening socket is closed: whoever holds the other keeps it open, and connections
        that nobody has accepted wait there for the next process.
        """
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + _SILENT_SECONDS
        while self._silent() and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.005)
        await super().shutdown(sockets)

    def _silent(self) -> bool:
        """Whether some connection has not sent its first request yet."""
        return any(getattr(connection, "cycle", self) is None for connection in self.server_state.connections)


def serve(app: Operation | Service, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM, over HTTP or gRPC; returns when everything that was begun is answered."""
    app.state.process_started = time.time()
    logs.configure(app.name, environ.get("LOG_LEVEL", "info"))
    inherited = inherited_socket(environ)
    if isinstance(app, Operation):
        _serve_http(app, environ, inherited)
    else:
        from functions.rpc import serving  # noqa: PLC0415 - half of the functions never need it.

        serving.run(app, environ, inherited)


def _serve_http(app: Operation, environ: Mapping[str, str], inherited: socket.socket | None) -> None:
    config = uvicorn.Config(
        app,
        # As Knative's runtime contract has it: all addresses, $PORT.
        host="0.0.0.0",  # noqa: S104
        port=int(environ.get("PORT", "8080")),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    Server(config).run([inherited] if inherited is not None else None)


def inherited_socket(environ: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that whoever started us has opened, if it did."""
    if environ.get("LISTEN_FDS") != "1" or environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return socket.socket(fileno=_LISTEN_FDS_START)
