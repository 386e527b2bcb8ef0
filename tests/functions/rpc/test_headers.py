"""Header blocks, held against hpack's own encoder and decoder."""

from __future__ import annotations

import pytest
from hpack.exceptions import HPACKError
from hpack.hpack import Decoder as Theirs
from hpack.hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from functions.rpc.headers import Decoder, block, literal

_NAMES = st.sampled_from([b":path", b":status", b"content-type", b"authorization", b"x-request-id", b"grpc-timeout"])
_VALUES = st.one_of(st.sampled_from([b"200", b"/", b"application/grpc", b"x" * 300]), st.binary(max_size=40))
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), min_size=1, max_size=8)
_BLOCKS = st.lists(st.tuples(_FIELDS, st.booleans(), st.sampled_from([None, 0, 100, 4096])), min_size=1, max_size=12)


@given(_BLOCKS)
def test_blocks_are_read_as_hpack_wrote_them(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    """In their order, with a table that fills, is emptied and grows; each twice, as most come again and again."""
    encoder, decoder = Encoder(), Decoder(16_384)
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(2):
            packed = encoder.encode(fields, huffman=huffman)

            assert fields == [tuple(one) for one in decoder.fields(packed)]


@given(_FIELDS)
def test_our_blocks_are_read_by_hpack_whatever_came_before(fields: list[tuple[bytes, bytes]]) -> None:
    """They need no table, and change none."""
    theirs = Theirs()
    packed = b"\x88" + block(*fields) + literal(b"authorization", b"Bearer x", secret=True)
    first, second = theirs.decode(packed, raw=True), theirs.decode(packed, raw=True)

    assert [(b":status", b"200"), *fields, (b"authorization", b"Bearer x")] == [tuple(one) for one in first]
    assert first == second
    assert not theirs.header_table.dynamic_entries


@given(st.binary(max_size=60))
def test_what_is_no_block_is_refused(data: bytes) -> None:
    """Exactly what hpack refuses."""
    try:
        expected = [tuple(one) for one in Theirs().decode(data, raw=True)]
    except (HPACKError, IndexError):
        with pytest.raises(HPACKError):
            Decoder(65_536).fields(data)
    else:
        assert expected == [tuple(one) for one in Decoder(65_536).fields(data)]


def test_a_list_that_grows_in_unpacking_is_refused() -> None:
    """A byte for a field of four kilobytes, again and again."""
    decoder = Decoder(16_384)
    decoder.fields(b"\x40" + block((b"x", b"y" * 3000))[1:])
    with pytest.raises(HPACKError):
        decoder.fields(b"\xbe" * 100)
