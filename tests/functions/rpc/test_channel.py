"""The pooled channel: over replicas, across their ends, and in the name of the call that is being answered."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpclib.client import UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from functions import correlation
from functions.correlation import Call, Cause
from functions.rpc.channel import Channel
from functions.rpc.limits import Limits
from tests.functions.conftest import bearer
from tests.functions.rpc.conftest import Served, ServeEcho
from tests.servers import quiet
from tests.waiting import until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def method(channel: Channel, name: str) -> Any:
    """A unary method of the echo, with somebody's token."""
    bare = UnaryUnaryMethod(channel, f"/test.Echo/{name}", StringValue, StringValue)

    async def call(text: str = "", seconds: float | None = 5.0) -> str:
        reply = await bare(StringValue(value=text), timeout=seconds, metadata=bearer("ada"))
        return str(reply.value)

    return call


def running(served: Served) -> int:
    """How many calls it is answering."""
    return sum(len(one.running) for one in served.server.connections)


async def replicas(serve_echo: ServeEcho, monkeypatch: pytest.MonkeyPatch) -> tuple[Served, Served, str]:
    """Two, on two addresses of one name, as behind a headless Service; and the name."""
    first = await serve_echo()
    second = await serve_echo(first.port, host="127.0.0.2")
    loop = asyncio.get_running_loop()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, first.port)) for host in ("127.0.0.1", "127.0.0.2")]
    resolve = loop.getaddrinfo

    async def answer(host: str, *arguments: Any, **options: Any) -> Any:
        return found if host == "echo.test" else await resolve(host, *arguments, **options)

    monkeypatch.setattr(loop, "getaddrinfo", answer)
    return first, second, f"http://echo.test:{first.port}"


async def test_a_call_is_made_in_the_name_of_the_one_that_is_answered(serve_echo: ServeEcho) -> None:
    """Its id, its trace, its token, and what is left of its time."""
    served = await serve_echo()
    token = bearer("ada")["authorization"].removeprefix("Bearer ")
    correlation.begin(Call(Cause("req-1", None, TRACE), deadline=time.monotonic() + 3, token=token))
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        bare = UnaryUnaryMethod(channel, "/test.Echo/Once", StringValue, StringValue)
        await bare(StringValue(value="x"))
        await bare(StringValue(value="x"), timeout=1)
        await bare(StringValue(value="x"), timeout=100)
    first, second, third = served.echo.calls

    assert (first.cause.correlation_id, first.cause.traceparent, first.token) == ("req-1", TRACE, token)
    for call, seconds in ((first, 3), (second, 1), (third, 3)):
        assert call.deadline is not None
        assert seconds - 0.5 < call.deadline - time.monotonic() <= seconds


async def test_a_call_whose_time_is_over_is_not_made(serve_echo: ServeEcho) -> None:
    """DEADLINE_EXCEEDED at once, also while no connection is there."""
    served = await serve_echo()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        with pytest.raises(GRPCError) as failed:
            await method(channel, "Once")(seconds=0)

    assert failed.value.status is Status.DEADLINE_EXCEEDED
    assert served.echo.calls == []


async def test_calls_are_shared_out_by_what_is_in_flight(
    serve_echo: ServeEcho, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over every address that the name has, one connection each."""
    first, second, name = await replicas(serve_echo, monkeypatch)
    async with Channel(name) as channel:
        await method(channel, "Once")()
        waiting = [asyncio.create_task(method(channel, "Wait")()) for _ in range(2)]
        await until(lambda: running(first) + running(second) == 2)
        await until(lambda: len(first.server.connections) + len(second.server.connections) == 2)
        waiting += [asyncio.create_task(method(channel, "Wait")()) for _ in range(18)]
        await until(lambda: running(first) + running(second) == 20)
        shares = running(first), running(second)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert shares == (10, 10)


async def test_a_replica_that_stops_costs_no_call(serve_echo: ServeEcho, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in flight there ends there; what comes goes to the other; both under load."""
    first, second, name = await replicas(serve_echo, monkeypatch)
    answered = 0
    async with Channel(name) as channel:
        stop = False

        async def go_on() -> None:
            nonlocal answered
            while not stop:
                await method(channel, "Slow")("0.01")
                answered += 1

        load = [asyncio.create_task(go_on()) for _ in range(10)]
        await until(lambda: answered > 30 and first.server.connections and second.server.connections)
        await first.server.stop(seconds=5)
        before = answered
        await until(lambda: answered > before + 50)
        stop = True
        await asyncio.gather(*load)

    assert not first.server.connections


async def test_what_is_in_flight_survives_a_goaway(serve_echo: ServeEcho) -> None:
    """grpclib's own client cuts it off."""
    served = await serve_echo()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        call = asyncio.create_task(method(channel, "Slow")("0.3"))
        await served.echo.waiting.wait()
        await served.server.stop(seconds=5)

        assert await call == "0.3"


async def test_what_does_not_end_in_time_is_told_to_go_elsewhere(serve_echo: ServeEcho) -> None:
    """UNAVAILABLE, with its handler cancelled."""
    served = await serve_echo()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        call = asyncio.create_task(method(channel, "Wait")())
        await served.echo.waiting.wait()
        await served.server.stop(seconds=0.1)
        with pytest.raises(GRPCError) as failed:
            await call

    assert failed.value.status is Status.UNAVAILABLE
    assert "going away" in str(failed.value.message)
    assert served.echo.cancelled.is_set()


async def test_a_limit_of_the_server_is_waited_for(serve_echo: ServeEcho) -> None:
    """It takes two calls at once; ten are made, and answered."""
    served = await serve_echo(streams_max=2)
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        await method(channel, "Once")()
        answers = await asyncio.gather(*(method(channel, "Slow")("0.01") for _ in range(10)))

    assert answers == ["0.01"] * 10


async def test_a_connection_without_calls_is_closed(serve_echo: ServeEcho) -> None:
    """So that a neighbour can sleep; the next call opens another."""
    served = await serve_echo()
    async with Channel(f"http://127.0.0.1:{served.port}", Limits(client_idle_seconds=0.1)) as channel:
        assert await method(channel, "Once")("a") == "a"
        await until(lambda: not served.server.connections)
        assert await method(channel, "Once")("b") == "b"


async def test_an_old_connection_is_replaced_without_anybody_noticing(serve_echo: ServeEcho) -> None:
    """So that calls spread over replicas that came later."""
    served = await serve_echo(connection_seconds=0.1)
    seen = set()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        async with asyncio.timeout(5):
            while len(seen) < 4:
                await asyncio.gather(*(method(channel, "Slow")("0.002") for _ in range(5)))
                seen |= {id(one) for one in served.server.connections}


async def test_nobody_there_is_said_at_once(serve_echo: ServeEcho) -> None:
    """UNAVAILABLE, not at the deadline; and when somebody comes, they are found."""
    served = await serve_echo()
    await served.server.stop()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(GRPCError) as failed:
                await method(channel, "Once")()
            assert failed.value.status is Status.UNAVAILABLE
        assert time.monotonic() - began < 1
        await serve_echo(served.port)
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await method(channel, "Once")("again") == "again"
                    break
                except GRPCError:
                    await asyncio.sleep(0.02)


@asynccontextmanager
async def stranger(*, answers: Callable[[int, h2.connection.H2Connection, int], None]) -> AsyncIterator[int]:
    """A server by h2 alone, which does with its nth request what *answers* says; its port."""
    count = 0

    @quiet
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    count += 1
                    answers(count, connection, event.stream_id)
            writer.write(connection.data_to_send())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def reply(connection: h2.connection.H2Connection, stream: int) -> None:
    """An empty message, and OK."""
    connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    connection.send_data(stream, bytes(5))
    connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


@pytest.mark.parametrize("how", ["REFUSED_STREAM", "GOAWAY"])
async def test_what_the_server_did_not_look_at_is_sent_again(how: str) -> None:
    """Once more, without anybody noticing."""
    seen = []

    def answers(number: int, connection: h2.connection.H2Connection, stream: int) -> None:
        seen.append(number)
        if number > 1:
            reply(connection, stream)
        elif how == "REFUSED_STREAM":
            connection.reset_stream(stream, 7)
        else:
            connection.close_connection(last_stream_id=0)

    async with stranger(answers=answers) as port, Channel(f"http://127.0.0.1:{port}") as channel:
        assert await method(channel, "Once")() == ""
    assert seen == [1, 2]


async def test_what_may_have_been_processed_is_not_sent_again() -> None:
    """The server was seen to have it, and is gone: whoever called decides."""
    seen = []

    def answers(number: int, connection: h2.connection.H2Connection, stream: int) -> None:
        seen.append(number)
        connection.reset_stream(stream, 2)

    async with stranger(answers=answers) as port, Channel(f"http://127.0.0.1:{port}") as channel:
        with pytest.raises(GRPCError) as failed:
            await method(channel, "Once")()
    assert failed.value.status is Status.INTERNAL
    assert seen == [1]


async def test_a_connection_that_says_nothing_is_given_up(serve_echo: ServeEcho) -> None:
    """As when a machine is gone: the first call waits for its deadline, those behind it are made elsewhere."""
    served = await serve_echo()
    connections = 0

    @quiet
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await reader.read(-1)
            return
        back, out = await asyncio.open_connection("127.0.0.1", served.port)
        await asyncio.gather(pour(reader, out), pour(back, writer))

    async def pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            into.write(data)
        into.close()

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    target = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Channel(target, Limits(connect_seconds=0.1)) as channel:
        first = asyncio.create_task(method(channel, "Once")("a", 0.1))
        other = asyncio.create_task(method(channel, "Once")("b", 5))
        failed = await asyncio.gather(first, other, return_exceptions=True)
        answer = await method(channel, "Once")("c")

    assert [one.status for one in failed if isinstance(one, GRPCError)] == [
        Status.DEADLINE_EXCEEDED,
        Status.UNAVAILABLE,
    ]
    assert answer == "c"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda one, stream: one.send_headers(stream, [(":status", "503")], end_stream=True), Status.UNAVAILABLE),
        (lambda one, stream: one.send_headers(stream, [(":status", "200")], end_stream=True), Status.UNKNOWN),
        (lambda one, stream: _head(one, stream, data=b"", trailers="0"), Status.INTERNAL),
        (lambda one, stream: _head(one, stream, data=b"\0\0\0\0\1\xff", trailers="0"), Status.INTERNAL),
        (lambda one, stream: _head(one, stream, data=bytes(5), trailers="99"), Status.UNKNOWN),
        (lambda one, stream: _head(one, stream, data=bytes(5), trailers="10"), Status.ABORTED),
        (lambda one, stream: _head(one, stream, data=bytes(5), trailers=None), Status.INTERNAL),
        (lambda one, stream: _head(one, stream, data=b"\0" + (1 << 30).to_bytes(4)), Status.RESOURCE_EXHAUSTED),
    ],
    ids=["http", "no-status", "no-message", "no-such-message", "no-such-status", "late", "cut", "long"],
)
async def test_an_answer_that_is_none_is_an_error(
    answer: Callable[[h2.connection.H2Connection, int], None], status: Status
) -> None:
    """With a status that fits; and the next call is made."""
    answers = lambda number, one, stream: answer(one, stream) if number == 1 else reply(one, stream)  # noqa: E731
    async with stranger(answers=answers) as port, Channel(f"http://127.0.0.1:{port}") as channel:
        with pytest.raises(GRPCError) as failed:
            await method(channel, "Once")()
        assert failed.value.status is status
        assert await method(channel, "Once")() == ""


def _head(one: h2.connection.H2Connection, stream: int, *, data: bytes, trailers: str | None = "") -> None:
    one.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    one.send_data(stream, data, end_stream=trailers is None)
    if trailers:
        one.send_headers(stream, [("grpc-status", trailers)], end_stream=True)


async def test_a_reader_that_is_slow_holds_the_sender_up(serve_echo: ServeEcho) -> None:
    """Not its memory: what is not read is not sent."""
    served = await serve_echo()
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        many = UnaryStreamMethod(channel, "/test.Echo/Many", StringValue, StringValue)
        async with many.open(timeout=10, metadata=bearer("ada")) as stream:
            await stream.send_message(StringValue(value="100000"))
            assert (await stream.recv_message()).value == "0"
            await asyncio.sleep(0.05)
            held = stream.messages._held
            assert running(served) == 1
            got = 1
            async for _ in stream:
                got += 1
                if got == 20_000:
                    break
            await stream.cancel()
        await until(lambda: running(served) == 0)

    assert 0 < held <= 65_535


async def test_a_call_that_is_broken_off_gives_its_connection_back(
    serve_echo: ServeEcho, database_url: Callable[[str], str]
) -> None:
    """The statement is cancelled on the server too, and the pool is whole."""
    served = await serve_echo(database_url=database_url("users"))
    async with Channel(f"http://127.0.0.1:{served.port}") as channel:
        for _ in range(6):
            served.echo.waiting.clear()
            call = asyncio.create_task(method(channel, "Wait")("database"))
            await served.echo.waiting.wait()
            await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        database = served.echo.app.state.database
        await until(lambda: database.connections.is_whole)

        assert len(await database.fetch("SELECT 1")) == 1
