"""What is read of a NATS message by ourselves, because the library takes long for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg

from eventing.channels.nats_wire import WireClient, reply_of

lines = st.tuples(st.text("ab-: \t\x1c\x85é\u2003", max_size=8), st.sampled_from([":", ": ", ""]), st.text(max_size=20))


@given(
    st.lists(lines, max_size=6).map(lambda found: "\r\n".join(map("".join, found)).encode()) | st.binary(max_size=60)
)
def test_headers_are_read_as_by_the_library(block: bytes) -> None:
    """Whatever somebody put into a message."""
    assert WireClient._parse_header_lines(block) == Client._parse_header_lines(block)


def test_the_library_calls_the_parser_that_was_replaced() -> None:
    """Under its name; otherwise ours would be dead code."""
    assert "_parse_header_lines" in Client._process_headers.__code__.co_names


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.ACK.KN_BROKER_A__B.KN_TRIGGER_C.3.17.20.1795597038180056244.5",
        "$JS.ACK._.hash.KN_BROKER_A__B.KN_TRIGGER_C.3.17.20.1795597038180056244.5",
        "$JS.ACK.domain.hash.KN_BROKER_A__B.KN_TRIGGER_C.3.17.20.1795597038180056244.5.token",
    ],
)
def test_a_delivery_says_how_often_and_which(subject: str) -> None:
    """In each form that servers write it, as the library reads it."""
    message = Msg(_client=Client(), subject="x", reply=subject)
    reply = reply_of(message)

    assert (reply.delivered, reply.place) == (3, "17.1795597038180056244")
    assert (message.metadata.num_delivered, message.metadata.sequence.stream) == (3, 17)
