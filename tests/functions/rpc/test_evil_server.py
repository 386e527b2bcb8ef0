"""A server that means no good, or does not know better: a call of ours ends with a status, and harms no other."""

from __future__ import annotations

import asyncio
import gzip
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpclib.client import UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.settings import SettingCodes

from functions.rpc import frames
from functions.rpc.channel import Channel
from functions.rpc.frames import frame
from functions.rpc.headers import STATUS_200, block
from functions.rpc.limits import Limits
from tests.functions.rpc.raw import HELLO
from tests.servers import quiet

Answer = Callable[[int], bytes]
_GRPC = block((b"content-type", b"application/grpc"))
_HELLO = frame(frames.SETTINGS, 0, 0)


def head(stream: int, *fields: tuple[bytes, bytes]) -> bytes:
    """The beginning of an answer."""
    return frame(frames.HEADERS, frames.END_HEADERS, stream, STATUS_200 + _GRPC + block(*fields))


def trailers(stream: int, *fields: tuple[bytes, bytes], before: bytes = b"") -> bytes:
    """Its end."""
    made = before + block(*(fields or ((b"grpc-status", b"0"),)))
    return frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, made)


def good(stream: int) -> bytes:
    """An answer as it should be."""
    return head(stream) + frames.message(stream, HELLO) + trailers(stream)


@asynccontextmanager
async def evil(*answers: Answer, hello: bytes = _HELLO, close: bool = False) -> AsyncIterator[Channel]:
    """A channel to a server that answers its nth call with the nth of these, and any other as it should be."""
    count = 0

    @quiet
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        writer.write(hello)
        await reader.readexactly(len(frames.PREFACE))
        while True:
            packed = await reader.readexactly(frames.HEADER_BYTES)
            await reader.readexactly(int.from_bytes(packed[:3]))
            if packed[3] == frames.HEADERS:
                count += 1
                writer.write((answers[count - 1] if count <= len(answers) else good)(int.from_bytes(packed[5:])))
                if close:
                    writer.close()
                    return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Channel(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", Limits()) as channel:
        yield channel


async def once(channel: Channel, seconds: float = 5.0) -> str:
    """A unary call."""
    reply: Any = await UnaryUnaryMethod(channel, "/test.Echo/Once", StringValue, StringValue)(
        StringValue(), timeout=seconds
    )
    return str(reply.value)


async def status_of(channel: Channel, seconds: float = 5.0) -> Status:
    """How a unary call failed."""
    with pytest.raises(GRPCError) as failed:
        await once(channel, seconds)
    return failed.value.status


INFORMED = block((b":status", b"103"))
WRONG: dict[str, tuple[Answer, Status]] = {
    "no field at all": (lambda at: frame(frames.HEADERS, 4, at), Status.INTERNAL),
    "no status of HTTP": (lambda at: frame(frames.HEADERS, 4, at, _GRPC), Status.INTERNAL),
    "two statuses of HTTP": (lambda at: frame(frames.HEADERS, 4, at, STATUS_200 + STATUS_200), Status.INTERNAL),
    "upper case": (lambda at: head(at, (b"X", b"1")), Status.INTERNAL),
    "a line in a value": (lambda at: head(at, (b"x", b"1\r\ny: 2")), Status.INTERNAL),
    "a head twice": (lambda at: head(at) + head(at), Status.INTERNAL),
    "trailers with a status of HTTP": (lambda at: head(at) + trailers(at, before=STATUS_200), Status.INTERNAL),
    "no head": (lambda at: frames.message(at, HELLO) + trailers(at), Status.INTERNAL),
    "only information": (lambda at: frame(frames.HEADERS, 5, at, INFORMED), Status.UNKNOWN),
    "no status": (lambda at: head(at) + frames.message(at, HELLO) + trailers(at, (b"x", b"1")), Status.UNKNOWN),
    "a status that is no number": (lambda at: head(at) + trailers(at, (b"grpc-status", b"\xb2")), Status.UNKNOWN),
    "details that are no base64": (
        lambda at: head(at) + trailers(at, (b"grpc-status", b"5"), (b"grpc-status-details-bin", b"a")),
        Status.NOT_FOUND,
    ),
    "details that are no message": (
        lambda at: head(at) + trailers(at, (b"grpc-status", b"5"), (b"grpc-status-details-bin", b"////")),
        Status.NOT_FOUND,
    ),
    "a reason that is no UTF-8": (
        lambda at: trailers(at, (b"grpc-status", b"5"), (b"grpc-message", b"%ff%zz\xff"), before=STATUS_200 + _GRPC),
        Status.NOT_FOUND,
    ),
    "compressed, and not announced": (
        lambda at: head(at) + frame(0, 0, at, b"\1\0\0\0\1x") + trailers(at),
        Status.INTERNAL,
    ),
    "compressed as nobody knows": (lambda at: head(at, (b"grpc-encoding", b"br")), Status.INTERNAL),
    "a bomb": (
        lambda at: head(at, (b"grpc-encoding", b"gzip")) + _packed(at, gzip.compress(bytes(9 << 20))) + trailers(at),
        Status.RESOURCE_EXHAUSTED,
    ),
    "metadata without end": (lambda at: head(at, (b"x", b"y" * 15_900), (b"z", b"y" * 400)), Status.RESOURCE_EXHAUSTED),
    "a message cut off": (
        lambda at: head(at) + frame(0, 0, at, b"\0\0\0\0\7abc") + trailers(at),
        Status.INTERNAL,
    ),
    "broken off without error": (lambda at: head(at) + frames.reset(at, 0), Status.INTERNAL),
    "begun, then said to be unseen": (lambda at: head(at) + frames.reset(at, 7), Status.UNAVAILABLE),
}


def _packed(stream: int, data: bytes) -> bytes:
    return frame(frames.DATA, 0, stream, b"\1" + len(data).to_bytes(4) + data)


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_answer_that_is_none_ends_its_own_call(wrong: str) -> None:
    """With a status; the next call is made on the same connection, and answered."""
    answer, status = WRONG[wrong]
    async with evil(answer) as channel:
        assert await status_of(channel) is status
        connection = channel.ready()
        assert await once(channel) == "hello"
        assert channel.ready() is connection


ODD: dict[str, Answer] = {
    "informed a hundred times": lambda at: frame(frames.HEADERS, 4, at, INFORMED) * 100 + good(at),
    "reset without error behind the end": lambda at: good(at) + frames.reset(at, 0),
    "data behind the end": lambda at: good(at) + frame(frames.DATA, 0, at, b"x"),
    "what nobody knows": lambda at: frame(99, 255, at, b"?") + frame(frames.PRIORITY, 0, at, b"\0" * 5) + good(at),
    "twice the message": lambda at: head(at) + frames.message(at, HELLO) * 2 + trailers(at),
    "padded": lambda at: head(at) + frame(0, frames.PADDED, at, b"\x02\0\0\0\0\7" + HELLO + b"xx") + trailers(at),
    "in bytes": lambda at: (
        head(at) + b"".join(frame(0, 0, at, bytes([n])) for n in b"\0\0\0\0\7" + HELLO) + trailers(at)
    ),
}


@pytest.mark.parametrize("odd", ODD)
async def test_an_answer_that_is_odd_is_an_answer(odd: str) -> None:
    """What HTTP/2 and gRPC let a server do."""
    async with evil(ODD[odd], ODD[odd]) as channel:
        assert await once(channel) == "hello"
        assert await once(channel) == "hello"


@pytest.mark.parametrize(
    "hello",
    [
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        frame(frames.PING, 0, 0, b"12345678"),
        frame(frames.SETTINGS, 0, 0, struct.pack(">HI", SettingCodes.INITIAL_WINDOW_SIZE, 2**32 - 1)),
        _HELLO + frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2\x83"),
        _HELLO + head(2),
        _HELLO + frame(frames.HEADERS, 4, 101, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    ],
    ids=["http1", "no-settings", "settings", "push", "unasked", "no-block"],
)
async def test_what_is_no_http_2_is_unavailable(hello: bytes) -> None:
    """At once, and not only when the time is over."""
    async with evil(hello=hello) as channel:
        assert await status_of(channel) is Status.UNAVAILABLE


async def test_a_connection_that_ends_in_the_middle_is_unavailable() -> None:
    """The call may have been processed: it is not made again."""
    async with evil(lambda at: head(at) + frame(0, 0, at, b"\0\0"), close=True) as channel:
        assert await status_of(channel) is Status.UNAVAILABLE


async def test_an_answer_without_end_has_a_window(count: int = 400) -> None:
    """A unary call reads one message; what else comes stops at 64 KiB, or is cut off, and its time ends it."""
    async with evil(lambda at: head(at) + frames.message(at, b"x" * 1000) * count) as channel:
        assert await status_of(channel, 0.3) in {Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE}


async def test_a_stream_that_ends_within_a_message_fails() -> None:
    """What came before was received; that it was all is not believed."""
    async with evil(
        lambda at: head(at) + frames.message(at, HELLO) + frame(0, 0, at, b"\0\0\0\0\7a") + trailers(at)
    ) as one:
        seen: list[str] = []
        method = UnaryStreamMethod(one, "/test.Echo/Many", StringValue, StringValue)
        with pytest.raises(GRPCError) as failed:
            async with method.open(timeout=5) as stream:
                await stream.send_message(StringValue(), end=True)
                while message := await stream.recv_message():
                    seen.append(message.value)

    assert seen == ["hello"]
    assert failed.value.status is Status.INTERNAL


async def test_calls_go_on_when_the_server_takes_them_again() -> None:
    """First none at all, then some: nobody has to wait for another call to end."""

    def limit(most: int) -> bytes:
        return frame(frames.SETTINGS, 0, 0, struct.pack(">HI", SettingCodes.MAX_CONCURRENT_STREAMS, most))

    async with evil(lambda at: good(at) + limit(0)) as channel:
        assert await once(channel) == "hello"
        waiting = asyncio.create_task(once(channel))
        async with asyncio.timeout(5):
            while channel.ready() is not None:
                await asyncio.sleep(0.01)
        (connection,) = [one.connection for one in channel._pool._places.values() if one.connection is not None]
        connection.data_received(limit(1))
        assert await waiting == "hello"
