"""HTTP/2's own rules (RFC 9113): what breaks them ends the connection, and what floods it holds nobody else up."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from functions.rpc import frames
from functions.rpc.frames import frame
from functions.rpc.limits import Limits
from functions.rpc.server import Server
from functions.rpc.server_connection import ServerConnection
from functions.rpc.service import Service
from tests.functions.conftest import bearer
from tests.functions.rpc.conftest import ServeEcho
from tests.functions.rpc.raw import Nowhere, goaway, once, raw

PROTOCOL, SIZE, FLOW = ErrorCodes.PROTOCOL_ERROR, ErrorCodes.FRAME_SIZE_ERROR, ErrorCodes.FLOW_CONTROL_ERROR


def setting(code: int, value: int) -> bytes:
    """SETTINGS with one."""
    return frame(frames.SETTINGS, 0, 0, struct.pack(">HI", code, value))


WRONG = {
    "data on no stream": (frame(frames.DATA, 0, 0, b"x"), PROTOCOL),
    "data on an idle stream": (frame(frames.DATA, 0, 3, b"x"), PROTOCOL),
    "data on an even stream": (frame(frames.DATA, 0, 2, b"x"), PROTOCOL),
    "data behind the end": (frames.message(1, b"", end=True) * 2, ErrorCodes.STREAM_CLOSED),
    "headers on no stream": (frame(frames.HEADERS, 5, 0, b"\x83"), PROTOCOL),
    "headers on an even stream": (frame(frames.HEADERS, 5, 4, b"\x83"), PROTOCOL),
    "more padding than payload": (frame(frames.DATA, frames.PADDED, 1, b"\x05abc"), PROTOCOL),
    "padding without its length": (frame(frames.HEADERS, 4 | frames.PADDED, 3, b""), PROTOCOL),
    "a frame within headers": (frame(frames.HEADERS, 0, 3, b"\x83") + frame(frames.PING, 0, 0, b"12345678"), PROTOCOL),
    "a continuation of nothing": (frame(frames.CONTINUATION, 4, 1, b"\x83"), PROTOCOL),
    "a reset of an idle stream": (frames.reset(3, 8), PROTOCOL),
    "a reset of no stream": (frames.reset(0, 8), PROTOCOL),
    "a reset of the wrong length": (frame(frames.RST_STREAM, 0, 1, b"123"), SIZE),
    "a window for an idle stream": (frames.window_update(3, 1), PROTOCOL),
    "a window that grows by nothing": (frames.window_update(1, 0), PROTOCOL),
    "a connection's window too large": (frames.window_update(0, frames.WINDOW_MAX), FLOW),
    "a stream's window too large": (frames.window_update(1, frames.WINDOW_MAX), FLOW),
    "a window of the wrong length": (frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\1"), SIZE),
    "a stream's window too large by settings": (
        frames.window_update(1, 2**30) + setting(SettingCodes.INITIAL_WINDOW_SIZE, frames.WINDOW_MAX),
        FLOW,
    ),
    "a first window too large": (setting(SettingCodes.INITIAL_WINDOW_SIZE, 2**31), FLOW),
    "frames too small": (setting(SettingCodes.MAX_FRAME_SIZE, 16_383), PROTOCOL),
    "push neither on nor off": (setting(SettingCodes.ENABLE_PUSH, 2), PROTOCOL),
    "settings cut off": (frame(frames.SETTINGS, 0, 0, b"12345"), SIZE),
    "settings of a stream": (frame(frames.SETTINGS, 0, 1), PROTOCOL),
    "settings that acknowledge settings": (frame(frames.SETTINGS, frames.ACK, 0, b"\0" * 6), SIZE),
    "a ping of a stream": (frame(frames.PING, 0, 1, b"12345678"), PROTOCOL),
    "a ping of the wrong length": (frame(frames.PING, 0, 0, b"1234567"), SIZE),
    "a goaway of a stream": (frame(frames.GOAWAY, 0, 1, b"\0" * 8), PROTOCOL),
    "a goaway cut off": (frame(frames.GOAWAY, 0, 0, b"\0" * 7), SIZE),
    "a push": (frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2\x83"), PROTOCOL),
    "a priority of no stream": (frame(frames.PRIORITY, 0, 0, b"\0" * 5), PROTOCOL),
    "a priority of the wrong length": (frame(frames.PRIORITY, 0, 1, b"\0" * 4), SIZE),
    "a frame too long": (frame(frames.DATA, 0, 1, b"x" * 16_385), SIZE),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_whoever_breaks_a_rule_is_told_which(serve_echo: ServeEcho, wrong: str) -> None:
    """GOAWAY with the code that RFC 9113 has for it."""
    served = await serve_echo()
    sent, code = WRONG[wrong]
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"), path=b"/test.Echo/Wait")
        peer.send(sent)

        assert await goaway(peer) is code


async def test_settings_come_first(serve_echo: ServeEcho) -> None:
    """Behind the preface (RFC 9113, section 3.4)."""
    served = await serve_echo()
    async with raw(served.port, first=frame(frames.PING, 0, 0, b"12345678")) as peer:
        assert await goaway(peer) is PROTOCOL


async def test_what_nobody_knows_means_nothing(serve_echo: ServeEcho) -> None:
    """Kinds of frames, settings and flags from times to come; and priorities, which are from times gone by."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.send(frame(99, 255, 7, b"?"), frame(16, 0, 0), setting(0xFFFF, 1))
        peer.send(frame(frames.PRIORITY, 0, 9, b"\0\0\0\0\1"), frame(frames.PING, frames.ACK, 0, b"not asked"[:8]))

        assert (await once(peer, 1))["grpc-status"] == "0"


async def test_padding_is_room_that_is_given_back(serve_echo: ServeEcho) -> None:
    """It counts for the window of a stream, and nobody reads it (RFC 9113, section 6.1)."""
    served = await serve_echo()
    async with raw(served.port) as peer:
        peer.call(1, bearer("ada"), path=b"/test.Echo/Each")
        for _ in range(100):
            peer.send(frame(frames.DATA, frames.PADDED, 1, b"\xff" + b"\0" * 255))
        update = await peer.until(frames.WINDOW_UPDATE, 1)

    assert update is not None
    assert int.from_bytes(update.payload) >= 16_384


@pytest.mark.parametrize(
    "small",
    [
        frame(frames.PING, 0, 0, b"12345678"),
        setting(SettingCodes.INITIAL_WINDOW_SIZE, 1),
        frame(frames.PRIORITY, 0, 1, b"\0" * 5),
        frame(99, 0, 0),
    ],
    ids=["ping", "settings", "priority", "unknown"],
)
async def test_after_so_many_frames_others_have_their_turn(small: bytes) -> None:
    """However much has come at once; what is behind them waits, and is not forgotten."""
    connection = ServerConnection(Server(Service("test", "test-nothing"), Limits(frames_a_turn=10)))
    transport = Nowhere()
    connection.connection_made(transport)
    connection.data_received(frames.PREFACE + frame(frames.SETTINGS, 0, 0) + small * 24 + frame(6, 0, 0, b"the last"))
    await asyncio.sleep(0)
    after_one = bytes(transport.written)
    for _ in range(10):
        await asyncio.sleep(0)
    connection.close()

    assert b"the last" not in after_one
    assert b"the last" in transport.written


async def test_whoever_asks_without_reading_the_answers_is_cut_off(serve_echo: ServeEcho) -> None:
    """Calls that are refused cost their caller nothing to make, and would wait here for ever."""
    served = await serve_echo(unsent_bytes_max=100_000)
    with socket.socket() as stubborn:
        stubborn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stubborn.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stubborn, ("127.0.0.1", served.port))
        await loop.sock_sendall(stubborn, frames.PREFACE + frame(frames.SETTINGS, 0, 0))
        async with asyncio.timeout(20):
            with pytest.raises(ConnectionError):
                while True:
                    await loop.sock_sendall(stubborn, frame(frames.PING, 0, 0, b"12345678") * 1000)


async def test_a_closed_connection_does_not_wait_for_its_peer_for_ever(serve_echo: ServeEcho) -> None:
    """What was written and is not read is given up."""
    served = await serve_echo(closing_seconds=0.1)
    async with raw(served.port, settings=struct.pack(">HI", SettingCodes.INITIAL_WINDOW_SIZE, 2**30)) as peer:
        peer.send(frames.window_update(0, 2**30))
        peer.call(1, bearer("ada"), path=b"/test.Echo/Many")
        peer.send(frames.message(1, b"\x0a\x0810000000", end=True))
        async with asyncio.timeout(20):
            while not (found := [one for one in served.server.connections if one.paused]):
                await asyncio.sleep(0.01)
            found[0].close()
            while found[0].transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
