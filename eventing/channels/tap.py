"""Takes deliveries out of what a RabbitMQ server sends before the library sees it; all else is the library's.

aiormq takes 100 µs of processor time for a delivery (each of its frames is awaited twice and read in Python, passes two
queues and makes a task). It lets its users open the connection themselves, so that this stands between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from eventing.channels import amqp_wire as wire

# The library takes a connection for dead on which it has seen nothing for three heartbeats.
_SIGN_OF_LIFE_SECONDS = 1.0
_SIGN_OF_LIFE = wire.FRAME.pack(wire.HEARTBEAT, 0, 0) + bytes([wire.FRAME_END])
_FRAME_TYPES = frozenset({wire.METHOD, wire.HEADER, wire.BODY, wire.HEARTBEAT})


@dataclass(frozen=True, slots=True)
class Taken:
    """A message in hand."""

    headers: Mapping[str, Any]
    content_type: str | None
    body: bytes
    redelivered: bool
    _tag: int
    _inlet: Inlet

    @property
    def is_ours(self) -> bool:
        """Whether it can still be settled; if not, it comes again."""
        return not self._inlet.ended

    def acknowledge(self) -> None:
        """Tell the server that it is done; what it cannot be told now is delivered again."""
        self._inlet.acknowledge(self._tag)

    def give_back(self) -> None:
        """Have it delivered again at once, and counted."""
        self._inlet.give_back(self._tag)


class Inlet:
    """The deliveries of one AMQP channel, which has no other content; each is given to `arrived` at once.

    When it has ended it still takes what was under way, and gives it to nobody.
    """

    def __init__(self, number: int, write: Callable[[bytes], None], arrived: Callable[[Taken], None]) -> None:
        self.ended = False
        self._number = number
        self._write = write
        self._arrived = arrived
        self._tags = wire.Tags()
        # Of the delivery that is being read.
        self._method = self._header = b""
        self._parts: list[bytes] = []
        self._missing = 0

    def end(self) -> None:
        """Take no more; what is in hand comes again."""
        self.tell()
        self.ended = True

    def takes(self, kind: int, payload: bytes) -> bool:
        """Read a frame of this channel; False where it is the library's."""
        if kind == wire.METHOD:
            if payload[:4] != wire.DELIVER:
                # What is written to a closed channel closes the connection.
                self.ended = self.ended or payload[:4] in {wire.CHANNEL_CLOSE, wire.CHANNEL_CLOSE_OK}
                return False
            self._method, self._parts = payload, []
        elif kind == wire.HEADER:
            self._header, self._missing = payload, wire.body_bytes(payload)
        else:
            self._parts.append(payload)
            self._missing -= len(payload)
        if kind != wire.METHOD and self._missing <= 0:
            self._complete()
        return True

    def _complete(self) -> None:
        tag, redelivered = wire.delivery(self._method)
        try:
            content_type, headers = wire.properties(self._header)
        except ValueError:
            # Nobody's event.
            content_type, headers = None, {}
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if not self.ended:
            self._tags.in_hand[tag] = None
            self._arrived(Taken(headers, content_type, body, redelivered, tag, self))

    def acknowledge(self, tag: int) -> None:
        """Acknowledge it, together with what else is done in this turn of the event loop."""
        if not self._tags.done:
            asyncio.get_running_loop().call_soon(self.tell)
        del self._tags.in_hand[tag]
        self._tags.done.append(tag)

    def tell(self) -> None:
        """Acknowledge what is done."""
        frames = [wire.ack(self._number, tag, multiple=multiple) for tag, multiple in self._tags.told()]
        if frames and not self.ended:
            self._write(b"".join(frames))

    def give_back(self, tag: int) -> None:
        """Have it delivered again."""
        del self._tags.in_hand[tag]
        if not self.ended:
            self._write(wire.requeue(self._number, tag))


class Tap(asyncio.StreamReaderProtocol):
    """Gives frames to the inlets of their channels, and what they do not take to the library's reader."""

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self._inlets: dict[int, Inlet] = {}
        self._rest = b""
        self._seen = 0.0
        self._clock = loop.time
        self._transport_of_ours: asyncio.Transport

    def inlet(self, number: int, arrived: Callable[[Taken], None]) -> Inlet:
        """From now on, take the deliveries of this channel."""
        inlet = self._inlets[number] = Inlet(number, self._write, arrived)
        return inlet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See there."""
        self._transport_of_ours = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See there."""
        self.end()
        super().connection_lost(exc)

    def end(self) -> None:
        """Take no more."""
        for inlet in self._inlets.values():
            inlet.end()

    def data_received(self, data: bytes) -> None:
        """Read the frames that are complete."""
        data, at = self._rest + data if self._rest else data, 0
        passed = []
        while len(data) - at >= wire.FRAME.size:
            kind, number, length = wire.FRAME.unpack_from(data, at)
            end = at + wire.FRAME.size + length + 1
            if kind not in _FRAME_TYPES:
                # It speaks another protocol; the library says so.
                end = len(data)
            elif end > len(data):
                break
            inlet = self._inlets.get(number)
            if inlet is None or not inlet.takes(kind, data[at + wire.FRAME.size : end - 1]):
                passed.append(data[at:end])
            at = end
        self._rest = data[at:]
        self._pass(b"".join(passed))

    def _pass(self, data: bytes) -> None:
        now = self._clock()
        if not data and self._inlets and now > self._seen + _SIGN_OF_LIFE_SECONDS:
            data = _SIGN_OF_LIFE
        if data:
            self._seen = now
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """See there."""
        super().data_received(self._rest)
        return super().eof_received()

    def _write(self, data: bytes) -> None:
        if not self._transport_of_ours.is_closing():
            self._transport_of_ours.write(data)


class Taps(TransportFactory):
    """Opens a connection with a tap in it."""

    def __init__(self) -> None:
        self.tap: Tap

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As the library's own factories do.

        Raises:
            AMQPConnectionError: the server cannot be reached.
        """
        tls = options.pop("ssl_context_provider")
        context = await tls.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        self.tap = Tap(reader, loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: self.tap, url.host or "localhost", url.port or 0, ssl=context, **options
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return reader, asyncio.StreamWriter(transport, self.tap, reader, loop)
