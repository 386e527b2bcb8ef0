"""One call that is being made: what a generated stub sends to and receives from. As `grpclib.client.Stream`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from google.protobuf.message import DecodeError
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, ProtocolError
from grpclib.metadata import encode_timeout
from h2.errors import ErrorCodes
from multidict import MultiDict

from functions.rpc import frames, replies
from functions.rpc.client_connection import ClientConnection
from functions.rpc.headers import ANSWER, TRAILERS, Headers, literal, metadata_of, sound
from functions.rpc.messages import Budget
from functions.rpc.stream import Stream, message_bytes

if TYPE_CHECKING:
    from functions.rpc.channel import Channel

_TRIES_MAX = 3


class ClientStream(Stream):
    """A call. Within `async with`; leaving that breaks off what has not ended."""

    connection: ClientConnection

    def __init__(
        self,
        channel: Channel,
        cardinality: Cardinality,
        kinds: tuple[type[Any], type[Any]],
        block: bytes,
        deadline: float | None,
        budget: Budget,
    ) -> None:
        super().__init__(budget)
        self._channel = channel
        self._cardinality = cardinality
        self._request_type, self._reply_type = kinds
        self._block = block
        self._deadline = deadline
        self._timer: asyncio.TimerHandle | None = None
        self._head: Headers | None = None
        self._trailers: Headers | None = None
        self._error: GRPCError | None = None
        self._requested = self._sent_all = self._finished = self._unprocessed = False
        self._cancelled = self._answered = False
        self._request = b""
        self._tries = 1

    @property
    def initial_metadata(self) -> MultiDict[Any] | None:
        """What came with the head of the answer; None before."""
        return None if self._head is None else metadata_of(self._head)

    @property
    def trailing_metadata(self) -> MultiDict[Any] | None:
        """What came with the status; None before."""
        return None if self._trailers is None else metadata_of(self._trailers)

    async def __aenter__(self) -> Self:
        """Begin; nothing is sent yet."""
        if self._deadline is not None:
            left = max(0.0, self._deadline - time.monotonic())
            self._timer = self._channel.loop.call_later(left, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the status of a call that went well; break off one that did not."""
        try:
            if kind is None and self._requested and not self._cancelled:
                await self.recv_trailing_metadata()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._break_off()

    # Sending.

    async def send_request(self, *, end: bool = False) -> None:
        """Send the head of the call alone."""
        await self._open()
        head = self._request_head(end=end)
        self._sent_all = end
        self.connection.write(head)

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        """Send a message, and with the first the head of the call."""
        end = end or not self._cardinality.client_streaming
        packed = message_bytes(message, self._request_type)
        if self._sent_all:
            raise ProtocolError("everything was sent")
        if self._error is not None:
            raise self._error
        self._sent_all = end
        try:
            if self._requested:
                await self.send(b"", packed, end=end)
            else:
                self._request = packed
                await self._open()
                await self.send(self._request_head(), packed, end=end)
        except ConnectionError:
            # The answer came first; whoever receives is told which.
            if self._error is not None and not self._unprocessed:
                raise self._error from None

    async def end(self) -> None:
        """Nothing more will be sent."""
        if not self._sent_all:
            self._sent_all = True
            if not self._finished:
                self.connection.write(frames.frame(frames.DATA, frames.END_STREAM, self.id))

    async def cancel(self) -> None:
        """Break the call off; leaving its block raises nothing then."""
        self._cancelled = True
        self._break_off()

    async def _open(self) -> None:
        connection = self._channel.ready()
        if connection is None:
            connection = await self._channel.connection(self._deadline)
        connection.open(self)
        self._requested = True

    def _request_head(self, *, end: bool = False) -> bytes:
        block = self._block
        if self._deadline is not None:
            timeout = encode_timeout(max(0.0, self._deadline - time.monotonic()))
            block += literal(b"grpc-timeout", timeout.encode())
        return self.connection.headers(self.id, block, end=end)

    # Receiving.

    async def recv_initial_metadata(self) -> None:
        """Wait for the head of the answer.

        Raises:
            GRPCError: the call failed before it came.
        """
        while self._head is None and not (self._finished and self._error is None):
            if self._finished:
                await self._again()
            else:
                await self.arrival()

    async def recv_message(self) -> Any:
        """The next message, or None behind the last.

        Raises:
            GRPCError: the call failed.
        """
        streaming = self._cardinality.server_streaming
        while True:
            if self.messages and (streaming or (self._finished and self._error is None)):
                return self._unpacked(self.next_message())
            if not self._finished:
                await self.arrival()
            elif self._error is not None:
                await self._again()
            elif streaming or self._answered:
                return self.next_message()
            else:
                raise GRPCError(Status.INTERNAL, "The answer came without its message.")

    def _unpacked(self, packed: bytes | None) -> Any:
        self._answered = True
        try:
            return self._reply_type.FromString(packed)
        except DecodeError as error:
            raise GRPCError(Status.INTERNAL, "The answer is not what this method answers.") from error

    async def recv_trailing_metadata(self) -> None:
        """Wait for the status.

        Raises:
            GRPCError: it is not OK.
        """
        while not self._finished:
            await self.arrival()
        if self._error is not None:
            raise self._error

    async def _again(self) -> None:
        """Send the call once more if the server did not look at it, and all of it is still here.

        One that began to answer did look at it, whatever it promises.

        Raises:
            GRPCError: not so.
        """
        unseen = self._unprocessed and self._head is None
        if not (unseen and not self._cardinality.client_streaming and self._tries < _TRIES_MAX):
            assert self._error is not None  # noqa: S101 - an end without one has a head, and nothing to wait for.
            raise self._error
        self._tries += 1
        self._error, self._finished, self._unprocessed = None, False, False
        await self._open()
        # Where the answer comes before all of it is sent, whoever waits sees that next.
        with contextlib.suppress(ConnectionError):
            await self.send(self._request_head(), self._request, end=True)

    def __aiter__(self) -> AsyncIterator[Any]:
        """Every message."""
        return self

    async def __anext__(self) -> Any:
        """The next message."""
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    # What the connection tells.

    def headers_received(self, fields: Headers, *, ended: bool) -> None:
        """The head of the answer, or its status, or both in one."""
        names = ANSWER if self._head is None else TRAILERS
        if not sound(fields, names) or (self._head is not None and not ended):
            self.refuse(GRPCError(Status.INTERNAL, "The answer is not what HTTP/2 lets it be."))
        elif ended:
            self._trailers = fields
            self._finish(replies.failure(fields))
        elif not fields[0][1].startswith(b"1"):
            # What begins with a one is no answer yet (RFC 9110, section 15.2).
            self._head = fields
            try:
                self.messages.wbits = replies.encoding(fields)
            except GRPCError as error:
                self.fail(error, unprocessed=False)
            self.wake_reader()

    def data_received(self, data: bytes, *, ended: bool) -> None:
        """Part of a message; an end of the stream here has no status behind it."""
        if self._head is None:
            self.refuse(GRPCError(Status.INTERNAL, "The answer came without its head."))
            return
        super().data_received(data, ended=False)
        if ended:
            self.fail(GRPCError(Status.INTERNAL, "The answer ended without a status."), unprocessed=False)

    def wake_reader(self) -> None:
        """A unary answer is read when all of it is here: one time to wake for what is three frames."""
        if self._finished or self._cardinality.server_streaming or self._head is None:
            super().wake_reader()

    def refuse(self, error: GRPCError) -> None:
        """What the server sends is not taken."""
        self._break_off()
        self._error = error

    def fail(self, error: GRPCError, *, unprocessed: bool) -> None:
        """It ended without a status; *unprocessed*: the server promises that it did nothing."""
        if not self._finished:
            self._unprocessed = unprocessed
            if not self._sent_all and not unprocessed:
                self._reset()
            self._finish(error)

    def _expire(self) -> None:
        if not self._finished:
            self._reset()
            if self._requested:
                self.connection.doubt()
            self._finish(GRPCError(Status.DEADLINE_EXCEEDED, "The deadline has passed."))

    def _break_off(self) -> None:
        if not self._finished:
            self._reset()
            self._finish(GRPCError(Status.CANCELLED, "The call was broken off."))

    def _reset(self) -> None:
        if self._requested and not self.connection.closed:
            self.connection.write(frames.reset(self.id, ErrorCodes.CANCEL))

    def _finish(self, error: GRPCError | None) -> None:
        self._error, self._finished = error, True
        if self._requested:
            self.messages.ended = True
            self.detach()
            self.connection.settled()
        self.wake_reader()
