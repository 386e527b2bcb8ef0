"""What stands between a RabbitMQ server and the library: deliveries go one way, everything else the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from eventing.channels.tap import Taken, Tap

TAPPED, OTHER, BODY_MAX = 3, 4, 5
HEARTBEAT = pamqp.frame.marshal(Heartbeat(), 0)


def delivery(channel: int, tag: int, body: bytes) -> list[bytes]:
    """The frames of a delivery."""
    parts = [body[at : at + BODY_MAX] for at in range(0, len(body), BODY_MAX)]
    properties = commands.Basic.Properties(headers={"number": str(tag)})
    frames: list[Any] = [
        commands.Basic.Deliver("c", tag, False, "e", "k"),
        ContentHeader(body_size=len(body), properties=properties),
        *map(ContentBody, parts),
    ]
    return [pamqp.frame.marshal(frame, channel) for frame in frames]


class Wire:
    """A tap, what it took, and what the library would read."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.reader = asyncio.StreamReader(loop=self.loop)
        self.tap = Tap(self.reader, self.loop)
        self.taken: list[Taken] = []
        self.inlet = self.tap.inlet(TAPPED, self.taken.append)

    def left(self) -> bytes:
        """What came out for the library; signs of life (heartbeats) are in between."""
        self.tap.eof_received()
        left = self.loop.run_until_complete(self.reader.read())
        self.loop.close()
        return left


@given(
    st.lists(st.tuples(st.sampled_from([TAPPED, OTHER]), st.binary(max_size=12)), max_size=6),
    st.lists(st.integers(1, 40), max_size=20),
)
def test_deliveries_are_taken_whole_and_the_rest_is_left_as_it_is(
    messages: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    """However the bytes arrive, and with frames of other channels in between."""
    wire = Wire()
    lanes = {
        channel: [
            frame for tag, (to, body) in enumerate(messages) if to == channel for frame in delivery(channel, tag, body)
        ]
        for channel in (TAPPED, OTHER)
    }
    # In turns, as far as there are any.
    longest = max(map(len, lanes.values()))
    data = b"".join(frame for at in range(longest) for frames in lanes.values() for frame in frames[at : at + 1])
    for size in sizes:
        wire.tap.data_received(data[:size])
        data = data[size:]
    wire.tap.data_received(data)

    expected = [(str(tag), body) for tag, (to, body) in enumerate(messages) if to == TAPPED]
    assert [(one.headers["number"], one.body) for one in wire.taken] == expected
    assert wire.left().replace(HEARTBEAT, b"") == b"".join(lanes[OTHER])


def test_a_server_of_another_protocol_is_left_to_the_library() -> None:
    """It says which version it speaks (AMQP 0-9-1, section 4.2.2)."""
    wire = Wire()
    wire.tap.data_received(b"AMQP\0\1\0\0")

    assert wire.left() == b"AMQP\0\1\0\0"


def test_deliveries_are_a_sign_of_life() -> None:
    """A server that delivers sends no heartbeats, and the library ends a connection on which it sees nothing."""
    wire = Wire()
    for frame in delivery(TAPPED, 1, b"x"):
        wire.tap.data_received(frame)

    assert wire.left() == HEARTBEAT


def test_a_message_that_makes_no_sense_is_nobodys_event() -> None:
    """It is taken without headers, so that it does not come for ever."""
    wire = Wire()
    method, header, body = delivery(TAPPED, 1, b"x")
    wire.tap.data_received(method + header.replace(b"S\0\0\0\1", b"?\0\0\0\1") + body)

    assert [(one.headers, one.body) for one in wire.taken] == [({}, b"x")]
    wire.loop.close()


def test_nothing_is_written_to_a_channel_that_was_closed() -> None:
    """The server would close the connection; what was in hand comes again."""
    wire = Wire()
    wire.tap.data_received(b"".join(delivery(TAPPED, 1, b"x")))
    close = pamqp.frame.marshal(commands.Channel.Close(406, "PRECONDITION_FAILED", 60, 80), TAPPED)
    assert wire.taken[0].is_ours
    wire.tap.data_received(close)
    wire.tap.data_received(b"".join(delivery(TAPPED, 2, b"y")))

    assert not wire.taken[0].is_ours
    # There is no connection to write to.
    wire.taken[0].give_back()
    assert len(wire.taken) == 1
    assert wire.left().endswith(close)
