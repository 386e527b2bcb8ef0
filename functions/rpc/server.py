"""A gRPC server: grpclib's handlers and messages, on connections of our own that are bounded and end gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from functions.errors import Refusal
from functions.identity import TokenSettings
from functions.lifespan import is_migrated
from functions.rpc import answering, frames, health, reflection, scrape, statuses
from functions.rpc.headers import Headers, literal
from functions.rpc.health import Health
from functions.rpc.limits import Limits
from functions.rpc.messages import Budget
from functions.rpc.server_connection import ServerConnection
from functions.rpc.server_stream import GOING_AWAY, ServerStream
from functions.rpc.service import Service

_log = logging.getLogger("functions")
_CONTENT_TYPES = (b"application/grpc", b"application/grpc+proto")
_BACKLOG = 4096


class Server:
    """Serves one app. `connections` are those that are open."""

    def __init__(self, app: Service, limits: Limits, *, reflected: bool = False) -> None:
        self.limits = limits
        self.connections: set[ServerConnection] = set()
        self._app = app
        services = {path.split("/")[1] for path in app.methods}
        self._health = Health(services, partial(is_migrated, app))
        open_to_all = self._health.__mapping__()
        if reflected:
            open_to_all |= reflection.methods({*services, health.NAME})
        self._methods = {path.encode(): (handler, False) for path, handler in app.methods.items()}
        self._methods |= {path.encode(): (handler, True) for path, handler in open_to_all.items()}
        self._budget = Budget(limits.arriving_bytes_max)
        self._tokens: TokenSettings | None = None
        self._listening: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, listening: socket.socket) -> None:
        """Take the connections that come to this socket."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: ServerConnection(self), sock=listening, backlog=_BACKLOG)

    def called(self, connection: ServerConnection, stream_id: int, fields: Headers) -> ServerStream | None:
        """A call arrived: a stream whose handler may run; None where it is answered already."""
        found = dict(fields)
        if found.get(b":method") != b"POST":
            _answer_http(connection, stream_id, HTTPStatus.METHOD_NOT_ALLOWED)
            return None
        if found.get(b"content-type", b"").partition(b";")[0] not in _CONTENT_TYPES:
            _answer_http(connection, stream_id, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            return None
        handler, public = self._methods.get(found.get(b":path", b""), (_NO_METHOD, True))
        # Probes come every second, and are nobody's first call.
        logged = not public or handler is _NO_METHOD
        stream = ServerStream(handler, fields, answering.begin(found), self._budget, logged=logged)
        limits = self.limits
        stream.attach(connection, stream_id, limits.public_message_bytes_max if public else limits.message_bytes_max)
        connection.running.add(stream)
        refusal = self._refusal(stream, fields, found, public=public)
        if refusal is not None:
            stream.stop(refusal)
            return None
        stream.limit(limits.unary_seconds)
        return stream

    def scraped(self, connection: ServerConnection, request: bytes) -> None:
        """Prometheus asks what is counted."""
        task = connection.loop.create_task(self._show_metrics(connection, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show_metrics(self, connection: ServerConnection, request: bytes) -> None:
        connection.answer_and_close(await scrape.answer(request, self._app.metrics))

    def _refusal(
        self, stream: ServerStream, fields: Headers, found: dict[bytes, bytes], *, public: bool
    ) -> GRPCError | None:
        """Why a call is not let in."""
        if stream.handler is _NO_METHOD:
            return _NOT_HERE
        try:
            tokens = None if public else self._token_settings()
            stream.messages.wbits = answering.admit(stream.call, fields, found, tokens)
        except Refusal as refusal:
            return statuses.of_refusal(refusal)
        except GRPCError as error:
            return error
        except Exception:  # noqa: BLE001 - a mistake of ours ends this call, not everybody's on the connection.
            _log.exception("bug")
            return statuses.bug()
        return None

    def _token_settings(self) -> TokenSettings:
        if self._tokens is None:
            self._tokens = TokenSettings.from_environment()
        return self._tokens

    def start_call(self, stream: ServerStream) -> None:
        """Let a call's handler answer."""
        stream.task = task = stream.connection.loop.create_task(self._run(stream))
        self._tasks.add(task)

    async def _run(self, stream: ServerStream) -> None:
        stream.begun = True
        try:
            if stream.stopped is None:
                await answering.run(self._app, stream)
            else:
                # It was broken off in the turn that it came in.
                stream.settled()
                self.note(stream, stream.stopped)
        finally:
            self._tasks.discard(stream.task)
            stream.connection.over(stream)

    def note(self, stream: ServerStream, error: GRPCError | None) -> None:
        """A call ended before its handler began."""
        answering.note(self._app, stream, error)

    async def stop(self, *, seconds: float | None = None) -> None:
        """Take nothing new, let what runs end, within *seconds* (the limits'); tell the rest to call again elsewhere.

        Only our own copy of the listening socket is closed: connections that nobody has accepted wait there for the
        next process.
        """
        if self._listening is not None:
            self._listening.close()
        self._health.stop()
        self._app.draining.set()
        for connection in list(self.connections):
            connection.go_away()
        await self._until_gone(self.limits.drain_seconds if seconds is None else seconds)
        for connection in list(self.connections):
            for stream in list(connection.running):
                stream.stop(GOING_AWAY)
        # Handlers that were told to stop may have something to put away.
        await self._until_gone(1.0)
        for connection in list(self.connections):
            connection.close()

    async def _until_gone(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # Also calls whose connection is gone: they may have events to publish.
                while self.connections or self._tasks:
                    await asyncio.sleep(0.005)

    async def __aenter__(self) -> Self:
        """Until the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()


async def _no_method(_: object) -> None:
    """Never called."""


_NOT_HERE = GRPCError(Status.UNIMPLEMENTED, "There is no such method here.")
_NO_METHOD = Handler(_no_method, Cardinality.UNARY_UNARY, object, object)


def _answer_http(connection: ServerConnection, stream_id: int, status: HTTPStatus) -> None:
    """Answer what is no gRPC as HTTP has it."""
    head = connection.headers(stream_id, literal(b":status", b"%d" % status), end=True)
    connection.write(head + frames.reset(stream_id, 0))
