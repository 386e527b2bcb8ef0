"""What a peer may not do: to the server's memory, to its time, and to HTTP/2."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from functions import identity
from functions.rpc import frames
from functions.rpc.headers import block
from functions.rpc.limits import Limits
from functions.rpc.server import Server
from functions.rpc.server_connection import ServerConnection
from functions.rpc.service import Service
from tests.functions.conftest import bearer
from tests.functions.rpc.conftest import ServeEcho
from tests.functions.rpc.raw import HELLO, Nowhere, goaway, once, raw


async def test_a_gibibyte_is_refused_at_its_first_five_bytes(serve_echo: ServeEcho) -> None:
    """RESOURCE_EXHAUSTED; the stream is over, the connection goes on."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        last = await once(peer, 1, message=frames.frame(frames.DATA, 0, 1, b"\0" + (1 << 30).to_bytes(4)))
        reset = await peer.until(frames.RST_STREAM, 1)
        after = await once(peer, 3)

    assert (last["grpc-status"], after["grpc-status"]) == ("8", "0")
    assert reset is not None
    assert int.from_bytes(reset.payload) == ErrorCodes.NO_ERROR


async def test_without_a_token_no_byte_of_a_message_is_waited_for(serve_echo: ServeEcho) -> None:
    """The head of the call is answered."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, {})
        last = await peer.headers(1)

    assert last["grpc-status"] == "16"


async def test_whoever_does_not_wait_for_a_window_is_cut_off(serve_echo: ServeEcho) -> None:
    """A stream that nobody reads takes 64 KiB, not more."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"), path=b"/test.Echo/Deaf")
        peer.send(frames.message(1, HELLO))
        for _ in range(7):
            peer.send(frames.message(1, b"x" * 16_000))
            await asyncio.sleep(0)

        assert await goaway(peer) is ErrorCodes.FLOW_CONTROL_ERROR


async def test_large_messages_share_what_memory_there_is(serve_echo: ServeEcho) -> None:
    """One is taken, a second at the same time is refused, and taken when the first has gone."""
    served = await serve_echo(arriving_bytes_max=4 * 1024 * 1024)
    large = b"\0" + (3 * 1024 * 1024).to_bytes(4)
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"))
        peer.send(frames.frame(frames.DATA, 0, 1, large))
        refused = await once(peer, 3, message=frames.frame(frames.DATA, 0, 3, large))
        peer.send(frames.reset(1, ErrorCodes.CANCEL))
        peer.call(5, bearer("ada"))
        peer.send(frames.frame(frames.DATA, 0, 5, large))
        peer.send(frames.frame(frames.PING, 0, 0, b"12345678"))
        pong = await peer.until(frames.PING)

    assert refused["grpc-status"] == "8"
    assert pong is not None


async def test_a_bomb_is_not_unpacked(serve_echo: ServeEcho) -> None:
    """Forty mebibytes in forty kibibytes."""
    served = await serve_echo()
    packed = gzip.compress(b"\0" * (40 * 1024 * 1024))
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"), (b"grpc-encoding", b"gzip"))
        data = b"\1" + len(packed).to_bytes(4) + packed
        for at in range(0, len(data), 16_000):
            end = at + 16_000 >= len(data)
            peer.send(frames.frame(frames.DATA, frames.END_STREAM if end else 0, 1, data[at : at + 16_000]))
        last = await peer.headers(1)

    assert last["grpc-status"] == "8"


async def test_an_encoding_that_nobody_knows_is_named_unimplemented(serve_echo: ServeEcho) -> None:
    """With those that are known."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        last = await once(peer, 1, (b"grpc-encoding", b"br"))

    assert (last["grpc-status"], last["grpc-accept-encoding"]) == ("12", "identity,gzip,deflate")


async def test_calls_that_are_broken_off_without_end_end_the_connection(serve_echo: ServeEcho) -> None:
    """Rapid reset (CVE-2023-44487): cut off, and nobody else notices."""
    served = await serve_echo(resets_per_second=100)
    async with raw(served.port) as peer, raw(served.port) as other:
        for number in range(1, 3000, 2):
            peer.call(number, bearer("ada"), path=b"/test.Echo/Wait")
            peer.send(frames.reset(number, ErrorCodes.CANCEL))

        assert await goaway(peer) is ErrorCodes.ENHANCE_YOUR_CALM
        assert (await once(other, 1))["grpc-status"] == "0"


async def test_calls_that_are_broken_off_as_they_come_leave_nothing(serve_echo: ServeEcho) -> None:
    """All in one segment: the calls of everybody else on the connection are taken, and the server can stop."""
    served = await serve_echo(streams_max=2)
    async with raw(served.port) as peer:
        for number in range(1, 40, 2):
            peer.call(number, bearer("ada"), path=b"/test.Echo/Wait")
            peer.send(frames.message(number, HELLO, end=True), frames.reset(number, ErrorCodes.CANCEL))
        peer.send(frames.frame(frames.PING, 0, 0, b"so far?!"))
        assert await peer.until(frames.PING) is not None

        assert (await once(peer, 101))["grpc-status"] == "0"
        (connection,) = served.server.connections
        assert not connection.running
    began = time.monotonic()
    await served.server.stop(seconds=5)

    assert time.monotonic() - began < 2


async def test_more_calls_than_are_taken_at_once_are_refused_unprocessed(serve_echo: ServeEcho) -> None:
    """REFUSED_STREAM: they can be sent again."""
    served = await serve_echo(streams_max=2)
    async with raw(served.port) as peer:
        for number in (1, 3, 5):
            peer.call(number, bearer("ada"), path=b"/test.Echo/Each")
        refused = await peer.until(frames.RST_STREAM)

    assert refused is not None
    assert (refused.stream, int.from_bytes(refused.payload)) == (5, ErrorCodes.REFUSED_STREAM)


@pytest.mark.parametrize("parts", [[b"x" * 16_000] * 5, [b""] * 3], ids=["long", "empty"])
async def test_headers_without_end_end_the_connection(serve_echo: ServeEcho, parts: list[bytes]) -> None:
    """CONTINUATION flood (CVE-2024-27316)."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.send(frames.frame(frames.HEADERS, 0, 1, b"\x83"))
        for part in parts:
            peer.send(frames.frame(frames.CONTINUATION, 0, 1, part))

        assert await goaway(peer) is ErrorCodes.ENHANCE_YOUR_CALM


async def test_headers_that_are_too_long_end_their_own_call_only(serve_echo: ServeEcho) -> None:
    """Envoy lets 32 KiB through, on a connection that it shares among its callers."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        for number in (1, 3):
            long = block((b":path", b"/test.Echo/Once"), (b"x", b"y" * 12_000), (b"z", b"y" * 20_000))
            peer.send(frames.frame(frames.HEADERS, 0, number, long[:16_000]))
            peer.send(frames.frame(frames.CONTINUATION, 0, number, long[16_000:32_000]))
            peer.send(frames.frame(frames.CONTINUATION, frames.END_HEADERS, number, long[32_000:]))
            refused = await peer.headers(number)
            assert (refused["grpc-status"], refused["grpc-message"]) == ("8", "The metadata is too long.")

        assert (await once(peer, 5))["grpc-status"] == "0"


async def test_metadata_that_decides_something_comes_once(serve_echo: ServeEcho) -> None:
    """Of two tokens neither is taken."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        last = await once(peer, 1, (b"authorization", bearer("eve")["authorization"].encode()))

    assert last["grpc-status"] == "3"
    assert "authorization" in last["grpc-message"]


async def test_a_token_that_was_good_is_not_for_ever(serve_echo: ServeEcho, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signature is checked once, its end each time."""
    served = await serve_echo()
    token = bearer("ada", exp=int(time.time()) + 60)
    async with raw(served.port) as peer:
        peer.call(1, token)
        peer.send(frames.message(1, HELLO, end=True))
        assert "first" in await peer.headers(1)
        clock = time.time
        monkeypatch.setattr(identity.time, "time", lambda: clock() + 100)
        peer.call(3, token)
        last = await peer.headers(3)

    assert last["grpc-status"] == "16"


@pytest.mark.parametrize(
    ("changed", "extra", "status"),
    [({"method": b"GET"}, (), "405"), ({}, ((b"content-type", b"application/json"),), "415")],
)
async def test_what_is_no_grpc_is_answered_as_http(
    serve_echo: ServeEcho, changed: dict[str, bytes], extra: tuple[tuple[bytes, bytes], ...], status: str
) -> None:
    """With HTTP's own status."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, {}, *extra, **changed)

        assert (await peer.headers(1))[":status"] == status


async def test_what_is_no_http_2_is_closed(serve_echo: ServeEcho) -> None:
    """An HTTP/1.1 request, for example."""
    served = await serve_echo()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


async def test_a_connection_without_calls_is_closed_whatever_it_pings(serve_echo: ServeEcho) -> None:
    """PING is answered, and keeps nothing awake; nothing that is under way is lost (RFC 9113, section 6.8)."""
    served = await serve_echo(idle_seconds=0.2)
    async with raw(served.port) as peer:
        peer.send(frames.frame(frames.PING, 0, 0, b"are you?"))
        pong = await peer.until(frames.PING)
        first = await peer.until(frames.GOAWAY)
        peer.call(1, bearer("ada"))
        peer.send(frames.message(1, HELLO, end=True))
        ping = await peer.until(frames.PING)
        assert pong is not None
        assert first is not None
        assert ping is not None
        peer.send(frames.frame(frames.PING, frames.ACK, 0, ping.payload))
        await peer.headers(1)
        last = await peer.until(frames.GOAWAY)

    assert pong.payload == b"are you?"
    assert int.from_bytes(first.payload[:4]) == frames.LAST_STREAM
    assert last is not None
    assert int.from_bytes(last.payload[:4]) == 1


async def test_a_peer_without_a_header_table_is_heeded(serve_echo: ServeEcho) -> None:
    """The first block after its setting says that ours is empty too (RFC 7541, section 4.2)."""
    served = await serve_echo()
    setting = SettingCodes.HEADER_TABLE_SIZE.to_bytes(2) + (0).to_bytes(4)
    async with raw(served.port, settings=setting) as peer:
        peer._decoder.max_allowed_table_size = 0

        assert (await once(peer, 1))["grpc-status"] == "0"
        assert (await once(peer, 3))["grpc-status"] == "0"


async def test_a_call_without_a_deadline_has_one_here(serve_echo: ServeEcho) -> None:
    """A unary one; its message need not even come."""
    served = await serve_echo(unary_seconds=0.1)
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"))

        assert (await peer.headers(1))["grpc-status"] == "4"


_FRAME = st.builds(
    frames.frame,
    st.integers(0, 11),
    st.integers(0, 255),
    st.integers(0, 6),
    st.one_of(st.binary(max_size=40), st.just(b"\x83\x86\x84"), st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4))),
)


_CALL = st.builds(
    lambda number, method, rest: (
        frames.frame(
            frames.HEADERS,
            frames.END_HEADERS,
            number,
            block(
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/grpc.health.v1.Health/" + method),
                (b"content-type", b"application/grpc"),
            ),
        )
        + rest
    ),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([b"Check", b"Watch"]),
    st.sampled_from([b"", frames.message(1, b"", end=True), frames.message(3, b""), frames.reset(1, 8)]),
)


@given(st.lists(st.one_of(_CALL, _FRAME, st.binary(max_size=20)), max_size=12), st.integers(1, 200))
def test_no_bytes_whatever_make_it_fail(parts: list[bytes], size: int) -> None:
    """It answers or closes; nothing is raised into the event loop, and nothing stays of what was begun."""

    async def feed() -> None:
        connection = ServerConnection(Server(Service("test", "test-nothing"), Limits()))
        connection.connection_made(Nowhere())
        data = frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0) + b"".join(parts)
        for at in range(0, len(data), size):
            if not connection.closed:
                connection.data_received(data[at : at + size])
            if at % 3 == 0:
                await asyncio.sleep(0)
        connection.close()
        async with asyncio.timeout(5):
            while connection.running:
                await asyncio.sleep(0)
        assert not connection.streams

    asyncio.run(feed())
