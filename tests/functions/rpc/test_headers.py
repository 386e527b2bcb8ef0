"""Header blocks, held against hpack's own encoder and decoder."""

from __future__ import annotations

import re

import pytest
from hpack.exceptions import HPACKError
from hpack.hpack import Decoder as Theirs
from hpack.hpack import Encoder
from hypothesis import assume, given
from hypothesis import strategies as st

from functions.rpc.headers import Decoder, TooLong, block, literal

_NAMES = st.sampled_from([b":path", b":status", b"content-type", b"authorization", b"x-request-id", b"grpc-timeout"])
_VALUES = st.one_of(st.sampled_from([b"200", b"/", b"application/grpc", b"x" * 300]), st.binary(max_size=40))
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), min_size=1, max_size=8)
_BLOCKS = st.lists(st.tuples(_FIELDS, st.booleans(), st.sampled_from([None, 0, 100, 4096])), min_size=1, max_size=12)


@given(_BLOCKS)
def test_blocks_are_read_as_hpack_wrote_them(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    """In their order, with a table that fills, is emptied and grows; each twice, as most come again and again."""
    encoder, decoder = Encoder(), Decoder(16_384, 65_536)
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(2):
            packed = encoder.encode(fields, huffman=huffman)

            assert fields == [tuple(one) for one in decoder.fields(packed)]


# The same beginning (a field of the static table, the newest of the dynamic one, literals), then what differs; and now
# and then a block that changes the table, or its size, by which the same bytes come to mean something else.
_PIECES = st.one_of(
    st.tuples(st.sampled_from([b"\x83\xbe", b"\x83", b"\xbe"]), _FIELDS).map(lambda one: one[0] + block(*one[1])),
    st.tuples(st.sampled_from([b"", b"\x83\xbe" + block((b":path", b"/same"))]), _VALUES).map(
        lambda one: one[0] + block((b"grpc-timeout", one[1]))
    ),
    _VALUES.map(lambda value: b"\x40" + literal(b"added", value)[1:]),
    st.just(b"\x20\x3f\xe1\x1f"),
)


@given(st.lists(_PIECES, min_size=2, max_size=30))
def test_blocks_that_begin_alike_are_read_as_hpack_reads_them(blocks: list[bytes]) -> None:
    """Whatever happens to the table between them."""
    theirs, ours = Theirs(), Decoder(65_536, 65_536)
    for packed in [b"\x40" + literal(b"first", b"1")[1:], *blocks]:
        try:
            expected = [tuple(one) for one in theirs.decode(packed, raw=True)]
        except HPACKError:
            with pytest.raises(HPACKError):
                ours.fields(packed)
            return
        assert expected == [tuple(one) for one in ours.fields(packed)]


@given(_FIELDS)
def test_our_blocks_are_read_by_hpack_whatever_came_before(fields: list[tuple[bytes, bytes]]) -> None:
    """They need no table, and change none."""
    theirs = Theirs()
    packed = b"\x88" + block(*fields) + literal(b"authorization", b"Bearer x", secret=True)
    first, second = theirs.decode(packed, raw=True), theirs.decode(packed, raw=True)

    assert [(b":status", b"200"), *fields, (b"authorization", b"Bearer x")] == [tuple(one) for one in first]
    assert first == second
    assert not theirs.header_table.dynamic_entries


_RESIZED = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\0-\x7f]){3}", re.DOTALL)


@given(st.binary(max_size=60))
def test_what_is_no_block_is_refused(data: bytes) -> None:
    """Exactly what hpack refuses; and three changes of the table's size, which hpack lets pass."""
    assume(not _RESIZED.match(data))
    try:
        expected = [tuple(one) for one in Theirs().decode(data, raw=True)]
    except (HPACKError, IndexError):
        with pytest.raises(HPACKError):
            Decoder(65_536, 65_536).fields(data)
    else:
        assert expected == [tuple(one) for one in Decoder(65_536, 65_536).fields(data)]


def test_a_list_that_grows_in_unpacking_is_refused() -> None:
    """A byte for a field of four kilobytes, again and again."""
    decoder = Decoder(16_384, 65_536)
    decoder.fields(b"\x40" + block((b"x", b"y" * 3000))[1:])
    with pytest.raises(HPACKError):
        decoder.fields(b"\xbe" * 100)


def test_a_block_that_is_a_little_too_long_changes_the_tables_all_the_same() -> None:
    """Its call is refused; those behind it mean what they say."""
    decoder = Decoder(200, 65_536)
    with pytest.raises(TooLong):
        decoder.fields(b"\x40" + block((b"x", b"y" * 300))[1:] + b"\x40" + block((b"last", b"1"))[1:])

    assert decoder.fields(b"\xbe") == [(b"last", b"1")]


def test_a_table_is_resized_twice_at_most() -> None:
    """Down, and up again (RFC 7541, section 4.2); a block of nothing else would be much work for few bytes."""
    assert Decoder(16_384, 65_536).fields(b"\x20\x3f\xe1\x1f\x83") == [(b":method", b"POST")]
    with pytest.raises(HPACKError):
        Decoder(16_384, 65_536).fields(b"\x20\x20\x20\x83")
