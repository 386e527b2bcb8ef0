"""One stream of a connection: sending within the windows, and waiting for what arrives. Both sides' calls are these."""

from __future__ import annotations

import asyncio
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from functions.rpc import frames
from functions.rpc.connection import Connection
from functions.rpc.frames import Malformed
from functions.rpc.messages import Budget, Messages

# A sender that never has to wait lets others run after so many messages.
_TURN = 16


class Stream:
    """What both sides share."""

    def __init__(self, budget: Budget) -> None:
        self.connection: Connection[Any]
        self.id = 0
        self.send_window = 0
        #: Bytes of the peer's window that were read and not yet given back.
        self.credit = 0
        self._budget = budget
        self.messages: Messages
        self._sender: asyncio.Future[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._sent = 0

    def attach(self, connection: Connection[Any], stream_id: int, message_bytes_max: int) -> None:
        """Become this stream of this connection."""
        self.connection, self.id = connection, stream_id
        self.send_window = connection.stream_send_window
        self.messages = Messages(message_bytes_max, connection.limits.stream_window, self._budget)
        connection.streams[stream_id] = self

    def detach(self) -> None:
        """Be no stream of the connection any more."""
        self.connection.streams.pop(self.id, None)
        self.messages.release()
        self.wake_sender()

    def refuse(self, error: GRPCError) -> None:
        """What the peer sends is not taken."""
        raise NotImplementedError

    # Receiving.

    def data_received(self, data: bytes, *, ended: bool) -> None:
        """Part of a message, one, or several.

        Raises:
            GRPCError: it is not taken.
        """
        messages = self.messages
        if messages.ended:
            raise Malformed(5, "DATA behind the end of its stream")
        if data:
            given = messages.feed(data)
            if given:
                self.give_back(given)
        messages.ended = ended
        if ended or messages:
            self.wake_reader()

    def give_back(self, size: int) -> None:
        """Let the peer send as much again, a quarter of its window at a time."""
        self.credit += size
        if self.credit >= self.connection.limits.stream_window // 4 and not self.messages.ended:
            self.connection.write(frames.window_update(self.id, self.credit))
            self.credit = 0

    def wake_reader(self) -> None:
        """Something arrived, or nothing more will."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def arrival(self) -> None:
        """Until `wake_reader`."""
        self._reader = self.connection.loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def next_message(self) -> bytes | None:
        """The next message that is here.

        Raises:
            GRPCError: it cannot be unpacked, or ended before its end.
        """
        if not self.messages:
            if self.messages.cut_off:
                raise GRPCError(Status.INTERNAL, "The last message is cut off.")
            return None
        message, given = self.messages.take()
        if given:
            self.give_back(given)
        return message

    # Sending.

    def wake_sender(self) -> None:
        """There may be room again."""
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    def fits(self, payload: bytes) -> bool:
        """Whether a message can go out now, in one frame."""
        size = len(payload) + 5
        return (
            size <= self.send_window
            and size <= self.connection.send_window
            and size <= frames.PAYLOAD_BYTES_MAX
            and not self.connection.paused
        )

    def framed(self, payload: bytes, *, end: bool = False) -> bytes:
        """A message that `fits`, as its frame; it is counted as sent."""
        self.send_window -= len(payload) + 5
        self.connection.send_window -= len(payload) + 5
        return frames.message(self.id, payload, end=end)

    async def send(self, head: bytes, payload: bytes, *, end: bool = False) -> None:
        """Send *head*, frames without flow control, and a message; waits while the peer has no room."""
        if self.fits(payload):
            self.connection.write(head + self.framed(payload, end=end))
            self._sent += 1
            if self._sent % _TURN == 0:
                await asyncio.sleep(0)
            return
        if head:
            self.connection.write(head)
        await self._send_in_parts(b"\0" + len(payload).to_bytes(4) + payload, end=end)

    async def _send_in_parts(self, data: bytes, *, end: bool) -> None:
        connection, at, size = self.connection, 0, len(data)
        while at < size:
            room = min(self.send_window, connection.send_window, frames.PAYLOAD_BYTES_MAX, size - at)
            if room <= 0 or connection.paused:
                await self._room()
                continue
            flags = frames.END_STREAM if end and at + room == size else 0
            self.send_window -= room
            connection.send_window -= room
            connection.write(frames.frame(frames.DATA, flags, self.id, data[at : at + room]))
            at += room

    async def _room(self) -> None:
        """Until `wake_sender`.

        Raises:
            ConnectionError: the stream has ended meanwhile.
        """
        self._sender = self.connection.loop.create_future()
        self.connection.waiting.add(self)
        try:
            await self._sender
        finally:
            self._sender = None
            self.connection.waiting.discard(self)
        if self.id not in self.connection.streams:
            raise ConnectionError("the stream has ended")


def message_bytes(message: Any, kind: type[Any]) -> bytes:
    """A message as bytes.

    Raises:
        TypeError: it is none of this kind.
    """
    if not isinstance(message, kind):
        raise TypeError(f"a message has to be {kind.__name__}, not {type(message).__name__}")
    packed: bytes = message.SerializeToString()
    return packed
