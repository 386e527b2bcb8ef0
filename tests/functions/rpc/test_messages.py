"""Messages as they arrive: whole, in order, and with every byte of the window given back."""

from __future__ import annotations

import gzip

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from functions.rpc.frames import Malformed
from functions.rpc.messages import ENCODINGS, Budget, Messages

WINDOW = 100


def packed(payload: bytes, flag: int = 0) -> bytes:
    """A message as gRPC prefixes it."""
    return bytes([flag]) + len(payload).to_bytes(4) + payload


@given(
    st.lists(st.binary(max_size=250), max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=30),
    st.integers(0, 3),
)
def test_however_they_are_cut_they_come_out_whole(sent: list[bytes], cuts: list[int], behind: int) -> None:
    """By a sender that keeps to its window, to a reader that is some messages behind or not."""
    budget = Budget(100_000)
    messages = Messages(1000, WINDOW, budget)
    data, at, turn, window, got = b"".join(map(packed, sent)), 0, 0, WINDOW, []
    while at < len(data):
        size = min(cuts[turn % len(cuts)], window, len(data) - at)
        turn += 1
        if size:
            window += messages.feed(data[at : at + size]) - size
            at += size
        if messages and (not size or turn % (behind + 1) == 0):
            message, given = messages.take()
            window += given
            got.append(message)
        assert size or messages or window, "the sender waits for the reader, and the reader for the sender"
    while messages:
        message, given = messages.take()
        window += given
        got.append(message)

    assert got == sent
    assert window == WINDOW
    assert budget.left == 100_000


def test_more_than_the_window_ends_the_connection() -> None:
    """It would be held for somebody who does not read."""
    messages = Messages(1000, WINDOW, Budget(1000))
    messages.feed(packed(b"x" * 60))
    with pytest.raises(Malformed):
        messages.feed(packed(b"x" * 60))


def test_what_is_reserved_is_given_back() -> None:
    """When the stream ends before its large message was there."""
    budget = Budget(200)
    messages = Messages(1000, WINDOW, budget)
    messages.feed(packed(b"x" * 150)[:50])
    assert budget.left == 50
    messages.release()

    assert budget.left == 200


@pytest.mark.parametrize(
    ("payload", "flag", "encoding", "status"),
    [
        (gzip.compress(b"x" * 1001, mtime=0), 1, b"gzip", Status.RESOURCE_EXHAUSTED),
        (gzip.compress(b"hello", mtime=0)[:-4], 1, b"gzip", Status.INTERNAL),
        (b"nonsense", 1, b"gzip", Status.INTERNAL),
        (gzip.compress(b"hello", mtime=0), 1, b"identity", Status.INTERNAL),
        (b"hello", 2, b"gzip", Status.INTERNAL),
    ],
)
def test_what_cannot_be_unpacked_is_refused(payload: bytes, flag: int, encoding: bytes, status: Status) -> None:
    """Too long, cut off, no gzip at all, not announced, of a kind that is not known."""
    messages = Messages(1000, 10_000, Budget(1000))
    messages.wbits = ENCODINGS[encoding]
    messages.feed(packed(payload, flag))
    with pytest.raises(GRPCError) as refused:
        messages.take()

    assert refused.value.status is status
