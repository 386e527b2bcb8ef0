"""What is read and written of AMQP by ourselves, because the library takes long for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pamqp.frame
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands
from pamqp.header import ContentHeader

from eventing.channels import amqp_wire as wire

short = st.text("aZ_:-.9", max_size=30)
tags = st.integers(0, 2**63 - 1)
times = st.integers(0, 2**32 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
plain = (
    st.text(max_size=300)
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=9).map(bytearray)
    | times
    | st.none()
)
values: st.SearchStrategy[Any] = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3), max_leaves=6
)
headers = st.dictionaries(st.text("aZ_:-\u00e9\u20ac", max_size=20), values, max_size=6)
others = {"content_encoding": short, "delivery_mode": st.just(2), "priority": st.just(1), "message_id": short}


def payload(frame: bytes) -> bytes:
    """A frame without what is around it."""
    return frame[wire.FRAME.size : -1]


@settings(max_examples=60)
@given(st.none() | short, st.none() | headers, st.fixed_dictionaries({}, optional=others), st.integers(0, 2**60))
def test_properties_are_read_as_by_the_library(
    content_type: str | None, table: dict[str, Any] | None, rest: dict[str, Any], size: int
) -> None:
    """Whatever a publisher wrote, in whatever types."""
    properties = commands.Basic.Properties(content_type=content_type, headers=table, **rest)
    frame = pamqp.frame.marshal(ContentHeader(body_size=size, properties=properties), 7)
    _, _, read = pamqp.frame.unmarshal(frame)
    assert isinstance(read, ContentHeader)

    assert wire.properties(payload(frame)) == (read.properties.content_type, read.properties.headers or {})
    assert wire.body_bytes(payload(frame)) == size


@settings(max_examples=60)
@given(st.binary(max_size=20), headers, st.data())
def test_a_header_of_no_sense_is_a_value_error(noise: bytes, table: dict[str, Any], data: st.DataObject) -> None:
    """Or is read somehow; nothing else comes of it."""
    frame = payload(pamqp.frame.marshal(ContentHeader(properties=commands.Basic.Properties(headers=table)), 1))
    at = data.draw(st.integers(0, len(frame)))
    for broken in (noise, frame[:at], frame[:at] + noise, frame[:at] + noise + frame[at:]):
        try:
            wire.properties(broken)
        except ValueError:
            continue


@given(short, tags, st.booleans(), short, short)
def test_a_delivery_is_read_as_by_the_library(
    consumer: str, tag: int, redelivered: bool, exchange: str, key: str
) -> None:
    """Its tag, and whether it comes again."""
    method = commands.Basic.Deliver(consumer, tag, redelivered, exchange, key)
    frame = payload(pamqp.frame.marshal(method, 3))

    assert frame.startswith(wire.DELIVER)
    assert wire.delivery(frame) == (tag, redelivered)


@given(st.integers(1, 65535), tags, st.booleans())
def test_answers_are_written_as_by_the_library(channel: int, tag: int, multiple: bool) -> None:
    """To the byte."""
    assert wire.ack(channel, tag, multiple=multiple) == pamqp.frame.marshal(commands.Basic.Ack(tag, multiple), channel)
    assert wire.requeue(channel, tag) == pamqp.frame.marshal(commands.Basic.Reject(tag, requeue=True), channel)


@given(st.lists(st.sampled_from(["arrives", "done", "told"]) | st.integers(0, 9), max_size=60))
def test_the_server_is_told_of_what_is_done_and_of_nothing_else(steps: list[str | int]) -> None:
    """In whatever order deliveries are done; and a tag that the server does not have in hand closes the channel."""
    ours, servers, arrived = wire.Tags(), set[int](), 0
    for step in [*steps, "told"]:
        if step == "arrives":
            arrived += 1
            ours.in_hand[arrived] = None
            servers.add(arrived)
        elif step == "told":
            for tag, multiple in ours.told():
                assert tag in servers
                servers -= {one for one in servers if one <= tag} if multiple else {tag}
            assert servers == set(ours.in_hand)
        elif ours.in_hand:
            number = step if isinstance(step, int) else 0
            tag = list(ours.in_hand)[number % len(ours.in_hand)]
            del ours.in_hand[tag]
            ours.done.append(tag)


def test_what_is_done_in_order_is_told_in_one() -> None:
    """Of a hundred deliveries of which the fiftieth is still in hand, fifty are told one by one."""
    tags_in_hand = wire.Tags({50: None, 101: None}, [number for number in range(1, 101) if number != 50])

    assert list(tags_in_hand.told())[:2] == [(49, True), (51, False)]
    assert list(tags_in_hand.told()) == []
