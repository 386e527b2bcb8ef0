"""What the fields of a call may be, and how much of what is no call at all stays with it."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes

from functions.rpc import frames
from functions.rpc.headers import block
from tests.functions.conftest import bearer
from tests.functions.rpc.conftest import ServeEcho
from tests.functions.rpc.raw import HELLO, once, raw

_PSEUDO = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/test.Echo/Once"), (b":authority", b"test"))
_TYPE = (b"content-type", b"application/grpc")
MALFORMED: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "upper case": (*_PSEUDO, _TYPE, (b"X-Request-Id", b"1")),
    "a space in a name": (*_PSEUDO, _TYPE, (b"x y", b"1")),
    "a line in a name": (*_PSEUDO, _TYPE, (b"x\ny", b"1")),
    "no name": (*_PSEUDO, _TYPE, (b"", b"1")),
    "a line in a value": (*_PSEUDO, _TYPE, (b"x-request-id", b"1\r\nx-admin: yes")),
    "a nul in a value": (*_PSEUDO, _TYPE, (b"x", b"\0")),
    "a pseudo-header behind others": (*_PSEUDO[:3], _TYPE, _PSEUDO[3]),
    "a pseudo-header of an answer": (*_PSEUDO, (b":status", b"200"), _TYPE),
    "a pseudo-header of nobody": (*_PSEUDO, (b":protocol", b"x"), _TYPE),
    "what is HTTP/1.1's": (*_PSEUDO, _TYPE, (b"connection", b"close")),
    "chunks": (*_PSEUDO, _TYPE, (b"transfer-encoding", b"chunked")),
    "nothing": (),
}


@pytest.mark.parametrize("malformed", MALFORMED)
async def test_a_malformed_call_is_broken_off_alone(serve_echo: ServeEcho, malformed: str) -> None:
    """A stream's error (RFC 9113, section 8.1.1); the next call on the connection is answered."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block(*MALFORMED[malformed])))
        reset = await peer.until(frames.RST_STREAM)
        after = await once(peer, 3)

    assert reset is not None
    assert (reset.stream, int.from_bytes(reset.payload)) == (1, ErrorCodes.PROTOCOL_ERROR)
    assert after["grpc-status"] == "0"


async def test_trailers_are_the_end_or_break_the_call_off(serve_echo: ServeEcho) -> None:
    """They have no pseudo-headers, and nothing comes behind them."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        for number, flags, fields in ((1, 4, [(b"x", b"1")]), (3, 5, [_PSEUDO[2]])):
            peer.call(number, bearer("ada"), path=b"/test.Echo/Wait")
            peer.send(frames.frame(frames.HEADERS, flags, number, block(*fields)))
            reset = await peer.until(frames.RST_STREAM)
            assert reset is not None
            assert (reset.stream, int.from_bytes(reset.payload)) == (number, ErrorCodes.PROTOCOL_ERROR)
        peer.call(5, bearer("ada"))
        peer.send(frames.message(5, HELLO), frames.frame(frames.HEADERS, 5, 5, block((b"x", b"1"))))
        await peer.headers(5)

        assert (await peer.headers(5))["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("name", "value"), [("x-request-id", "evil\n"), ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01\n")]
)
async def test_an_id_has_no_end_of_line(serve_echo: ServeEcho, name: str, value: str) -> None:
    """It goes on into other calls and events."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, {**bearer("ada"), name: value.strip()})
        peer.send(frames.message(1, HELLO, end=True))
        await peer.headers(1)
        peer.call(3, {**bearer("ada"), name: value})
        assert await peer.until(frames.RST_STREAM, 3) is not None

    assert len(served.echo.calls) == 1


@pytest.mark.parametrize("value", ["a", "a,b", "é", "=", "aaaaa"])
async def test_metadata_that_should_be_base64_and_is_not_is_left_out(serve_echo: ServeEcho, value: str) -> None:
    """The call is answered all the same."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        assert (await once(peer, 1, (b"x-bin", value.encode())))["grpc-status"] == "0"


@pytest.mark.parametrize("token", [b"W1tb" * 1300, b"W1tb" * 1000 + b".e30.x", b"\xff\xfe.\x80.x", b"e30..", b"...."])
async def test_a_token_whatever_it_is_ends_its_own_call_only(serve_echo: ServeEcho, token: bytes) -> None:
    """UNAUTHENTICATED: too long, nested without end, no text at all."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, {}, (b"authorization", b"Bearer " + token))
        refused = await peer.headers(1)
        after = await once(peer, 3)

    assert (refused["grpc-status"], after["grpc-status"]) == ("16", "0")


@pytest.mark.parametrize(
    ("allowed", "status"),
    [("99999999H", "0"), ("0n", "4"), ("-1S", "13"), ("1", "13"), ("1.5S", "13"), ("123456789S", "13"), ("1S1S", "13")],
)
async def test_a_deadline_is_a_time_or_refused(serve_echo: ServeEcho, allowed: str, status: str) -> None:
    """Also one that nobody will live to see."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        assert (await once(peer, 1, (b"grpc-timeout", allowed.encode())))["grpc-status"] == status
    if status == "0":
        deadline = served.echo.calls[0].deadline
        assert deadline is not None
        assert deadline < 1e9


async def test_one_message_is_one(serve_echo: ServeEcho) -> None:
    """Whatever comes behind it is not kept: it would be held for a handler that asks for no more."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"), path=b"/test.Echo/Wait")
        peer.send(frames.message(1, HELLO), frames.message(1, HELLO))

        assert (await peer.headers(1))["grpc-status"] == "3"


async def test_a_message_that_is_cut_off_is_none(serve_echo: ServeEcho) -> None:
    """INTERNAL: a stream that ends within a message has not ended well."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        for number, path in ((1, b"/test.Echo/Total"), (3, b"/test.Echo/Once")):
            peer.call(number, bearer("ada"), path=path)
            peer.send(frames.message(number, HELLO) if number == 1 else b"")
            peer.send(frames.frame(frames.DATA, frames.END_STREAM, number, b"\0" + (9).to_bytes(4) + b"\x0a\x07cut"))

            assert (await peer.headers(number))["grpc-status"] == "13"


async def test_many_small_messages_are_what_they_cost(serve_echo: ServeEcho) -> None:
    """An empty one is five bytes to its sender, and twenty times as much to us."""
    served = await serve_echo(arriving_bytes_max=100_000)
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"), path=b"/test.Echo/Deaf")
        peer.send(frames.frame(frames.DATA, 0, 1, b"\0\0\0\0\0" * 2000))
        refused = await peer.headers(1)
        after = await once(peer, 3)

    assert (refused["grpc-status"], after["grpc-status"]) == ("8", "0")


async def test_what_is_open_to_all_takes_names_only(serve_echo: ServeEcho) -> None:
    """Whoever has no token cannot fill what all messages share."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, {}, path=b"/grpc.health.v1.Health/Watch")
        peer.send(frames.frame(frames.DATA, 0, 1, b"\0" + (5000).to_bytes(4)))

        assert (await peer.headers(1))["grpc-status"] == "8"
