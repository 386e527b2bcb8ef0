"""One call that is being answered: what a handler receives from and sends to. As `grpclib.server.Stream`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from grpclib.const import Handler, Status
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline, encode_bin_value, encode_grpc_message, encode_metadata
from h2.errors import ErrorCodes
from multidict import MultiDict

from functions.correlation import Call
from functions.rpc import frames
from functions.rpc.headers import STATUS_200, Headers, block, metadata_of
from functions.rpc.messages import Budget
from functions.rpc.stream import Stream, message_bytes

if TYPE_CHECKING:
    from functions.rpc.server_connection import ServerConnection

_HEAD = STATUS_200 + block((b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity,gzip,deflate"))
_OK = block((b"grpc-status", b"0"))
_DETAILS = ProtoStatusDetailsCodec()
_TOO_LATE = GRPCError(Status.DEADLINE_EXCEEDED, "The deadline has passed.")
GOING_AWAY = GRPCError(Status.UNAVAILABLE, "The server is going away: try again, it will be another.")


class ServerStream(Stream):
    """A call. `call` is what it is part of; `stopped` says why it was ended before its handler was done."""

    connection: ServerConnection

    def __init__(self, handler: Handler, fields: Headers, call: Call, budget: Budget, *, logged: bool) -> None:
        super().__init__(budget)
        self.handler = handler
        self.logged = logged
        self.fields = fields
        self.call = call
        self.task: asyncio.Task[None] | None = None
        #: Whether the task has come to its first line: one that is cancelled before never does, and cleans nothing up.
        self.begun = False
        self.stopped: GRPCError | None = None
        self._metadata: MultiDict[Any] | None = None
        self._head = _HEAD
        self._head_sent = False
        self._reply: bytes | None = None
        self._trailers = b""
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self.began = time.monotonic()

    # What a handler asks.

    @property
    def metadata(self) -> MultiDict[Any]:
        """What the caller sent beside its messages."""
        if self._metadata is None:
            self._metadata = metadata_of(self.fields)
        return self._metadata

    @property
    def deadline(self) -> Deadline | None:
        """When the caller stops waiting."""
        at = self.call.deadline
        return None if at is None else Deadline.from_timeout(max(0.0, at - time.monotonic()))

    async def recv_message(self) -> Any:
        """The next message, or None behind the last.

        Raises:
            GRPCError: it cannot be read.
        """
        while True:
            packed = self.next_message()
            if packed is not None:
                return self._unpacked(packed)
            if self.messages.ended:
                return None
            await self.arrival()

    def _unpacked(self, packed: bytes) -> Any:
        try:
            return self.handler.request_type.FromString(packed)
        except DecodeError as error:
            raise GRPCError(Status.INVALID_ARGUMENT, "The message is not what this method takes.") from error

    def __aiter__(self) -> AsyncIterator[Any]:
        """Every message."""
        return self

    async def __anext__(self) -> Any:
        """The next message."""
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def send_initial_metadata(self, *, metadata: Any = None) -> None:
        """Send the answer's head now; without this it goes out with the first message."""
        self._head += _block_of(metadata)
        self.connection.write(self._take_head())

    async def send_message(self, message: Any) -> None:
        """Send a message; the only one of a unary answer goes out, with the status, when its handler returns."""
        if self._ended:
            raise asyncio.CancelledError
        packed = message_bytes(message, self.handler.reply_type)
        if self.handler.cardinality.server_streaming:
            await self.send(self._take_head(), packed)
        else:
            self._reply = packed

    async def send_trailing_metadata(self, *, metadata: Any = None) -> None:
        """Add to what goes out behind the last message."""
        self._trailers += _block_of(metadata)

    # How it begins and ends.

    def data_received(self, data: bytes, *, ended: bool) -> None:
        """Part of a message; a unary call starts when its message is here."""
        unary = not self.handler.cardinality.client_streaming
        if unary and data and self.task is not None and not self.messages.ended:
            raise GRPCError(Status.INVALID_ARGUMENT, "One message was to come, and came before.")
        super().data_received(data, ended=ended)
        if self.task is None and (ended or self.messages) and self.stopped is None:
            self.connection.start(self)

    def limit(self, unary_seconds: float) -> None:
        """End it at its deadline; a unary call that has none gets *unary_seconds*."""
        cardinality = self.handler.cardinality
        if self.call.deadline is None and not (cardinality.server_streaming or cardinality.client_streaming):
            self.call.deadline = self.began + unary_seconds
        if self.call.deadline is not None:
            left = max(0.0, self.call.deadline - time.monotonic())
            self._timer = self.connection.loop.call_later(left, self.stop, _TOO_LATE)

    def settled(self) -> None:
        """Nothing ends it from outside any more."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()

    def refuse(self, error: GRPCError) -> None:
        """What the caller sends is not taken."""
        self.stop(error)

    def stop(self, error: GRPCError, *, gone: bool = False) -> None:
        """End it from outside; the caller is told at once, unless it is *gone*."""
        if self._ended:
            return
        self.stopped = error
        if gone:
            self._ended = True
            self.detach()
        else:
            self.answer(error)
        if self.task is None:
            self.settled()
            self.connection.never_started(self)
        elif self.begun:
            self.task.cancel()

    async def finish(self) -> None:
        """The handler returned: send what it answered, and OK.

        Raises:
            RuntimeError: it answered nothing.
        """
        if self._ended:
            return
        if self.handler.cardinality.server_streaming:
            self._end(self._take_head(), _OK)
        elif self._reply is None:
            raise RuntimeError(f"{self.handler.func.__qualname__} sent no message")
        elif self.fits(self._reply):
            self._end(self._take_head() + self.framed(self._reply), _OK)
        else:
            await self.send(self._take_head(), self._reply)
            self._end(b"", _OK)

    def answer(self, error: GRPCError) -> None:
        """Send a status that is not OK."""
        if self._ended:
            return
        fields = [(b"grpc-status", b"%d" % error.status.value)]
        if error.message:
            fields.append((b"grpc-message", encode_grpc_message(error.message).encode()))
        if error.details:
            details = _DETAILS.encode(error.status, error.message, error.details)
            fields.append((b"grpc-status-details-bin", encode_bin_value(details)))
        if self._head_sent:
            self._end(b"", block(*fields))
        else:
            # Nothing was sent: head and trailers are one (gRPC over HTTP/2, Trailers-Only).
            self._head_sent = True
            self._end(b"", self._head + block(*fields))

    def _end(self, before: bytes, trailers: bytes) -> None:
        last = before + self.connection.headers(self.id, trailers + self._trailers, end=True)
        if not self.messages.ended:
            # The caller still sends: what it sends is not needed (RFC 9113, section 8.1).
            last += frames.reset(self.id, ErrorCodes.NO_ERROR)
        self._ended = True
        self.connection.write(last)
        self.detach()

    def _take_head(self) -> bytes:
        if self._head_sent:
            return b""
        self._head_sent = True
        return self.connection.headers(self.id, self._head)


def _block_of(metadata: Any) -> bytes:
    if not metadata:
        return b""
    return block(*((name.encode(), value.encode()) for name, value in encode_metadata(MultiDict(metadata).items())))
