"""A peer that sends what it likes: frames by hand, and what came back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from google.protobuf.wrappers_pb2 import StringValue
from h2.errors import ErrorCodes
from hpack.hpack import Decoder

from functions.rpc import frames
from functions.rpc.headers import block, literal
from tests.functions.conftest import bearer

HELLO = StringValue(value="hello").SerializeToString()

_HEADERS = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": b"/test.Echo/Once",
    b":authority": b"test",
    b"te": b"trailers",
    b"content-type": b"application/grpc",
}


@dataclass(frozen=True)
class Frame:
    """One that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = Decoder()

    def send(self, *sent: bytes) -> None:
        """Send this."""
        self.writer.write(b"".join(sent))

    def call(self, stream: int, metadata: Mapping[str, str], *extra: tuple[bytes, bytes], **changed: bytes) -> None:
        """Send the head of a call; `path=b"…"` and the like change its pseudo-headers."""
        head = {**_HEADERS, **{f":{name}".encode(): value for name, value in changed.items()}}
        fields = [*head.items(), *((name.encode(), value.encode()) for name, value in metadata.items()), *extra]
        self.send(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block(*fields)))

    async def frame(self) -> Frame | None:
        """The next frame; None where the connection was closed."""
        try:
            head = await self.reader.readexactly(frames.HEADER_BYTES)
            payload = await self.reader.readexactly(int.from_bytes(head[:3]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Frame(head[3], head[4], int.from_bytes(head[5:]), payload)

    async def until(self, kind: int, stream: int | None = None) -> Frame | None:
        """The next frame of this kind (and stream); None where the connection was closed before."""
        async with asyncio.timeout(5):
            while (one := await self.frame()) is not None:
                if one.kind == kind and stream in {None, one.stream}:
                    return one
        return None

    async def headers(self, stream: int) -> dict[str, str]:
        """The next header block of this stream; the decoder sees those of the others too."""
        while True:
            one = await self.until(frames.HEADERS)
            assert one is not None, "the connection was closed"
            found = {str(name): str(value) for name, value in self._decoder.decode(one.payload)}
            if one.stream == stream:
                return found

    async def closed(self) -> bool:
        """Whether it was closed, within five seconds."""
        async with asyncio.timeout(5):
            while await self.frame() is not None:
                pass
        return True


async def goaway(peer: Raw) -> ErrorCodes:
    """The code that a connection is closed with."""
    one = await peer.until(frames.GOAWAY)
    assert one is not None
    assert await peer.closed()
    return ErrorCodes(int.from_bytes(one.payload[4:8]))


async def once(peer: Raw, stream: int, *extra: tuple[bytes, bytes], message: bytes = b"") -> dict[str, str]:
    """A call, and the last header block of its answer."""
    peer.call(stream, bearer("ada"), *extra)
    peer.send(message or frames.message(stream, HELLO, end=True))
    head = await peer.headers(stream)
    return head if "grpc-status" in head else await peer.headers(stream)


class Nowhere(asyncio.Transport):
    """A transport that leads nowhere; `written` is what would have been sent."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Not heeded."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """Never."""
        return False

    def pause_reading(self) -> None:
        """Nothing comes anyway."""

    def resume_reading(self) -> None:
        """Nothing comes anyway."""

    def abort(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def raw(port: int, *, settings: bytes = b"", first: bytes = b"") -> AsyncIterator[Raw]:
    """A connection that said hello; with something *first*, if that is given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    made = Raw(reader, writer)
    made.send(frames.PREFACE, first, frames.frame(frames.SETTINGS, 0, 0, settings))
    try:
        yield made
    finally:
        writer.close()


__all__ = ["HELLO", "Frame", "Nowhere", "Raw", "goaway", "literal", "once", "raw"]
