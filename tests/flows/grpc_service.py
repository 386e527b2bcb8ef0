"""A gRPC program of somebody's own: sends back what comes, once or as a stream. Its messages are plain bytes."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server


class Plain(CodecBase):
    """Bytes as they are."""

    __content_subtype__ = "plain"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """As they are."""
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        """As they are."""
        return data


class Echo:
    """test.Echo."""

    async def once(self, stream: Any) -> None:
        """One message."""
        await stream.send_message(await stream.recv_message())

    async def stream(self, stream: Any) -> None:
        """Each message, with the process that had it."""
        async for message in stream:
            await stream.send_message(message + f" {os.getpid()}".encode())

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib asks for."""
        return {
            "/test.Echo/Once": Handler(self.once, Cardinality.UNARY_UNARY, bytes, bytes),
            "/test.Echo/Stream": Handler(self.stream, Cardinality.STREAM_STREAM, bytes, bytes),
        }


async def main() -> None:
    """Serve until SIGTERM."""
    server = Server([Echo()], codec=Plain())
    await server.start("127.0.0.1", int(os.environ["PORT"]))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
