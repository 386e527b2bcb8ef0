"""Header blocks (HPACK, RFC 7541). Ours are written without the dynamic table: one that was made once stays right.

What a peer sends is decoded by hpack's tables in a shorter loop; a block that changed no table is decoded once.
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from typing import Any

from grpclib.metadata import decode_metadata
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.hpack import Decoder as HpackDecoder
from hpack.hpack import decode_integer, encode_integer
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable
from multidict import MultiDict


class Headers(list[tuple[bytes, bytes]]):
    """The fields of one block; `sound_as` is what they were found to be: a block that comes again is looked at once."""

    sound_as: re.Pattern[bytes] | None = None


# Of a name that the static table (RFC 7541, appendix A) does not have.
_NO_INDEX = (0,)
_BLOCKS_MAX, _BLOCK_BYTES_MAX = 64, 256


def literal(name: bytes, value: bytes, *, secret: bool = False) -> bytes:
    """A field as it is, in no table; *secret* also asks every proxy to keep it out of its own (RFC 7541, 6.2.3)."""
    index = HeaderTable.STATIC_TABLE_MAPPING.get(name, _NO_INDEX)[0]
    first = encode_integer(index, 4)
    first[0] |= 0x10 if secret else 0
    named = b"" if index else encode_integer(len(name), 7) + name
    return b"".join((first, named, encode_integer(len(value), 7), value))


def block(*fields: tuple[bytes, bytes]) -> bytes:
    """Fields one behind the other."""
    return b"".join(literal(name, value) for name, value in fields)


# `:status: 200` is the eighth field of the static table.
STATUS_200 = b"\x88"
# `:method: POST` the third, `:scheme: http` the sixth.
POST_HTTP = b"\x83\x86"


# Names that mean nothing in HTTP/2 (RFC 9113, section 8.2.2), and what any other is made of (section 8.2.1).
_NAME = (
    rb"(?:\n(?!(?:connection|keep-alive|proxy-connection|transfer-encoding|upgrade)(?:\n|\Z))[a-z0-9!#$%&'*+.^_`|~-]+)*"
)
# Every name of a block, each behind a new line: those with a colon come first, and are known (section 8.3).
REQUEST = re.compile(rb"(?:\n:(?:method|scheme|path|authority))+" + _NAME)
ANSWER = re.compile(rb"\n:status" + _NAME)
TRAILERS = re.compile(_NAME)


def sound(fields: Headers, names: re.Pattern[bytes]) -> bool:
    """Whether a block is what HTTP/2 lets it be, with names such as these: no proxy reads it as something else."""
    if fields.sound_as is names:
        return True
    named = b"".join([b"\n" + name for name, _ in fields])
    values = b"\n".join([value for _, value in fields])
    if (
        names.fullmatch(named) is None
        or named.count(b"\n") != len(fields)
        or values.count(b"\n") >= max(1, len(fields))
        or b"\r" in values
        or b"\0" in values
    ):
        return False
    fields.sound_as = names
    return True


def metadata_of(fields: Headers) -> MultiDict[Any]:
    """The fields that belong to the application, as grpclib shows them; not those that should be base64 and are not."""
    found: MultiDict[Any] = MultiDict()
    for name, value in fields:
        try:
            found.extend(decode_metadata([(name.decode("latin-1"), value.decode("latin-1"))]))
        except (binascii.Error, UnicodeEncodeError):
            continue
    return found


class TooLong(Exception):
    """A block has more than is taken of one; the tables are right all the same, and the next block can be read."""


class Decoder(HpackDecoder):
    """Decodes the header blocks of one connection, in their order."""

    def __init__(self, header_bytes_max: int, block_bytes_max: int) -> None:
        """Of one block, unpacked; what is more is `TooLong`, and what is more than the latter no header block."""
        super().__init__(block_bytes_max)
        self._header_bytes_max = header_bytes_max
        self._blocks: dict[bytes, Headers] = {}
        # What the last blocks began with, as far as it was the same: a caller's calls differ at their ends only.
        self._last: tuple[bytes, list[int]] = (b"", [])
        self._beginning: tuple[bytes, list[tuple[bytes, bytes]]] = (b"", [])

    def fields(self, data: bytes) -> Headers:
        """The fields of a block; the list is shared, and not to be changed.

        Raises:
            TooLong: it is of more than is taken.
            HPACKError: it is no header block, or one that unpacks to far more than that.
        """
        known = self._blocks.get(data)
        if known is not None:
            return known
        beginning, before = self._beginning
        if beginning and data.startswith(beginning):
            found, ends = self._read(data, len(beginning), Headers(before))
        else:
            found, ends = self._read(data, 0, Headers())
            self._compare(data, found, ends)
        if ends and len(data) <= _BLOCK_BYTES_MAX:
            if len(self._blocks) >= _BLOCKS_MAX:
                self._blocks.clear()
            self._blocks[data] = found
        return found

    def _compare(self, data: bytes, found: Headers, ends: list[int]) -> None:
        """Remember what this block and the one before it begin with, if both mean the same for as long as they do."""
        last, last_ends = self._last
        self._last = (data, ends)
        count = 0
        for end, other in zip(ends, last_ends, strict=False):
            if end != other or data[:end] != last[:end]:
                break
            count += 1
        if count:
            self._beginning = (data[: ends[count - 1]], found[:count])

    def _forget(self) -> None:
        """What was read means something else from here on: a table has changed."""
        self._blocks.clear()
        self._last, self._beginning = (b"", []), (b"", [])

    def _read(self, data: bytes, at: int, found: Headers) -> tuple[Headers, list[int]]:
        """The fields from there on, behind those that were *found*; and where each ends.

        The latter is empty for a block that changed a table, and so does not mean the same a second time.
        """
        table, ends, stays = self.header_table, list[int](), True
        size = sum(len(name) + len(value) + 32 for name, value in found)
        end, resized = len(data), 0
        while at < end:
            first = data[at]
            if first & 0x80:
                index, at = _integer(data, at, 7)
                field = table.get_by_index(index)
            elif first & 0x60 == 0x20:
                resized += 1
                # Down, and up again (RFC 7541, section 4.2); more would be work for nothing.
                if found or resized > 2:
                    raise HPACKError("a change of the table's size behind a field, or one too many")
                stays = False
                self._forget()
                at += self._update_encoding_context(data[at : at + 8])
                continue
            else:
                index, at = _integer(data, at, 6 if first & 0x40 else 4)
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, at = _string(data, at)
                value, at = _string(data, at)
                field = (name, value)
                if first & 0x40:
                    stays = False
                    self._forget()
                    table.add(name, value)
            found.append(field)
            ends.append(at)
            size += len(field[0]) + len(field[1]) + 32
            if size > self.max_header_list_size:
                raise OversizedHeaderListError("the headers are too long")
        self._assert_valid_table_size()
        if size > self._header_bytes_max:
            raise TooLong
        return found, ends if stays else []


def _integer(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """An integer and where it ends (RFC 7541, section 5.1)."""
    mask = (1 << bits) - 1
    value = data[at] & mask
    if value < mask:
        return value, at + 1
    value, used = decode_integer(data[at : at + 8], bits)
    return value, at + used


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string and where it ends (RFC 7541, section 5.2)."""
    if at >= len(data):
        raise HPACKError("the block ends within a field")
    packed = data[at] & 0x80
    length, at = _integer(data, at, 7)
    end = at + length
    if end > len(data):
        raise HPACKError("the block ends within a field")
    return (_unpacked(data[at:end]) if packed else data[at:end]), end


# Proxies pack the same few names and values again and again.
_unpacked = lru_cache(maxsize=256)(decode_huffman)
