"""Three gRPC clients behind one face: grpcio, grpclib, and the functions' own."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2
from grpclib.client import Channel as GrpclibChannel
from grpclib.client import StreamStreamMethod, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError
from grpclib.metadata import USER_AGENT

from functions.rpc.channel import Channel

Metadata = Mapping[str, Any]


@dataclass
class Failed(Exception):
    """How a call ended that went wrong; details by their names."""

    status: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Answer:
    """A unary answer, with what came before and behind it."""

    text: str
    first: Metadata
    last: Metadata


def _details(messages: Sequence[Any]) -> dict[str, Any]:
    return {message.DESCRIPTOR.name: message for message in messages}


class OfGrpclib:
    """A grpclib channel, or one of our own: both are called in the same way."""

    def __init__(self, channel: Any, metadata: Metadata) -> None:
        self.channel = channel
        self.metadata = metadata

    def _method(self, kind: Any, name: str) -> Any:
        return kind(self.channel, f"/test.Echo/{name}", StringValue, StringValue)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except GRPCError as error:
            raise Failed(error.status.name, error.message or "", _details(error.details or ())) from error

    async def once(self, text: str, within: float | None = None, **metadata: str) -> Answer:
        """Unary."""
        method = self._method(UnaryUnaryMethod, "Once")
        async with self._translated(), method.open(timeout=within, metadata={**self.metadata, **metadata}) as stream:
            await stream.send_message(StringValue(value=text), end=True)
            reply = await stream.recv_message()
            await stream.recv_trailing_metadata()
        return Answer(reply.value, stream.initial_metadata, stream.trailing_metadata)

    async def call(self, name: str, text: str, within: float | None = None) -> str:
        """Any unary method."""
        async with self._translated():
            reply = await self._method(UnaryUnaryMethod, name)(
                StringValue(value=text), timeout=within, metadata=self.metadata
            )
            return str(reply.value)

    async def many(self, count: int) -> list[str]:
        """Server stream."""
        async with self._translated():
            replies = await self._method(UnaryStreamMethod, "Many")(
                StringValue(value=str(count)), metadata=self.metadata
            )
            return [reply.value for reply in replies]

    async def total(self, texts: Sequence[str]) -> str:
        """Client stream."""
        async with self._translated():
            messages = [StringValue(value=text) for text in texts]
            reply = await self._method(StreamUnaryMethod, "Total")(messages, metadata=self.metadata)
            return str(reply.value)

    async def each(self, texts: Sequence[str]) -> list[str]:
        """Bidirectional, one after the other."""
        got = []
        async with self._translated(), self._method(StreamStreamMethod, "Each").open(metadata=self.metadata) as stream:
            for text in texts:
                await stream.send_message(StringValue(value=text))
                got.append((await stream.recv_message()).value)
            await stream.end()
            assert await stream.recv_message() is None
        return got

    async def compressed(self, text: str) -> str:
        """Unary, packed with gzip: by hand, as neither library does it."""
        protocol = await self.channel.__connect__()
        stream = protocol.processor.connection.create_stream()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/test.Echo/Once"),
            (":authority", self.channel._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("grpc-encoding", "gzip"),
            *self.metadata.items(),
        ]
        release = await stream.send_request(headers, _processor=protocol.processor)
        packed = gzip.compress(StringValue(value=text).SerializeToString())
        await stream.send_data(b"\1" + len(packed).to_bytes(4) + packed, end_stream=True)
        await stream.recv_headers()
        length = int.from_bytes((await stream.recv_data(5))[1:])
        reply = StringValue.FromString(await stream.recv_data(length))
        await stream.recv_trailers()
        release()
        return reply.value


class OfOurs(OfGrpclib):
    """The functions' own channel."""

    async def compressed(self, text: str) -> str:
        """Unary; its messages go out as they are, so that there is nothing to show but the answer."""
        return (await self.once(text)).text


class OfGrpcio:
    """grpc.aio."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self.channel = channel
        self.metadata = tuple(metadata.items())

    def _method(self, kind: str, name: str) -> Any:
        return getattr(self.channel, kind)(
            f"/test.Echo/{name}",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=StringValue.FromString,
        )

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            packed = dict(error.trailing_metadata()).get("grpc-status-details-bin")
            found = status_pb2.Status.FromString(packed).details if packed else ()
            details = []
            for one in found:
                made = getattr(error_details_pb2, one.type_url.rpartition(".")[2])()
                one.Unpack(made)
                details.append(made)
            raise Failed(error.code().name, error.details() or "", _details(details)) from error

    async def once(self, text: str, within: float | None = None, **metadata: str) -> Answer:
        """Unary."""
        call = self._method("unary_unary", "Once")(
            StringValue(value=text), timeout=within, metadata=(*self.metadata, *metadata.items())
        )
        async with self._translated():
            reply = await call
        return Answer(reply.value, dict(await call.initial_metadata()), dict(await call.trailing_metadata()))

    async def call(self, name: str, text: str, within: float | None = None) -> str:
        """Any unary method."""
        async with self._translated():
            reply = await self._method("unary_unary", name)(
                StringValue(value=text), timeout=within, metadata=self.metadata
            )
        return str(reply.value)

    async def many(self, count: int) -> list[str]:
        """Server stream."""
        async with self._translated():
            call = self._method("unary_stream", "Many")(StringValue(value=str(count)), metadata=self.metadata)
            return [reply.value async for reply in call]

    async def total(self, texts: Sequence[str]) -> str:
        """Client stream."""
        async with self._translated():
            messages = iter([StringValue(value=text) for text in texts])
            reply = await self._method("stream_unary", "Total")(messages, metadata=self.metadata)
        return str(reply.value)

    async def each(self, texts: Sequence[str]) -> list[str]:
        """Bidirectional, one after the other."""
        got = []
        call = self._method("stream_stream", "Each")(metadata=self.metadata)
        async with self._translated():
            for text in texts:
                await call.write(StringValue(value=text))
                got.append((await call.read()).value)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
        return got

    async def compressed(self, text: str) -> str:
        """Unary, packed with gzip."""
        method = self._method("unary_unary", "Once")
        reply = await method(StringValue(value=text), metadata=self.metadata, compression=grpc.Compression.Gzip)
        return str(reply.value)


@asynccontextmanager
async def client(kind: str, port: int, authority: str, metadata: Metadata) -> AsyncIterator[Any]:
    """A client of this kind, connected to this port and calling this name."""
    if kind == "grpcio":
        options = [("grpc.default_authority", authority)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield OfGrpcio(channel, metadata)
    elif kind == "grpclib":
        async with GrpclibChannel("127.0.0.1", port) as bare:
            bare._authority = authority
            yield OfGrpclib(bare, metadata)
    else:
        # As a function reaches its neighbours on a laptop: the name, through a proxy.
        async with Channel(f"http://{authority}", environ={"HTTP_PROXY": f"http://127.0.0.1:{port}"}) as own:
            yield OfOurs(own, metadata)
