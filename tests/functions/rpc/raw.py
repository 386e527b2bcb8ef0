"""A peer that sends what it likes: frames by hand, and what came back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hpack.hpack import Decoder

from functions.rpc import frames
from functions.rpc.headers import block, literal

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


@asynccontextmanager
async def raw(port: int, *, settings: bytes = b"") -> AsyncIterator[Raw]:
    """A connection that said hello."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    made = Raw(reader, writer)
    made.send(frames.PREFACE, frames.frame(frames.SETTINGS, 0, 0, settings))
    try:
        yield made
    finally:
        writer.close()


__all__ = ["Frame", "Raw", "literal", "raw"]
