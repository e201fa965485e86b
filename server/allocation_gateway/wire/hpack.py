"""Header compression (RFC 7541): decoding with state, encoding without any.

The static table and the Huffman code are those of the hpack package. A header is checked and turned into text when it
enters the table, not each time it is referred to: nearly all headers of a call are references.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from hpack.exceptions import HPACKDecodingError
from hpack.table import HeaderTable

from allocation_gateway.wire import huffman

if TYPE_CHECKING:
    from collections.abc import Callable

HeaderField: TypeAlias = tuple[str, str]
_Entry: TypeAlias = tuple[HeaderField, bytes, int]

TABLE_SIZE: Final = 4096
# At the beginning of the first block, it says that this side's headers enter no table, however large one may be.
NO_TABLE: Final = b"\x20"
# Stands for a header that HTTP does not allow: its stream is malformed, but the table goes on.
MALFORMED: Final[HeaderField] = ("", "")

_OVERHEAD: Final = 32
# Headers that are too large are decoded nevertheless, since the table follows from them: but no more than so many times
# as large as they may be, and no more of them than may be at all.
_EXCESS: Final = 4
_LARGEST_SHIFT: Final = 21
# Size updates of the table that a block may begin with: the smallest since the last one, and the current one.
_MOST_UPDATES: Final = 2
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
# HTTP/2 has no use for these, and forbids them.
_CONNECTION_HEADERS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
# With space around it too, which HTTP/2 forbids, and gRPC's clients send if their callers say so.
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")


class CompressionError(Exception):
    """A block of headers cannot be decoded, and so no later one either."""


class ExcessiveError(Exception):
    """A block of headers stands for so much that it is not decoded to its end, and so no later one is either."""


def _text(name: bytes) -> str:
    """Returns a name as text; that of a malformed header if it is none, or one that is about the connection."""
    if name in _CONNECTION_HEADERS or not (_NAME.fullmatch(name) or name in _PSEUDO):
        return MALFORMED[0]
    return name.decode("ascii")


def _entry(text: str, name: bytes, value: bytes) -> _Entry:
    field = (text, value.decode("latin-1")) if text and _VALUE.fullmatch(value) else MALFORMED
    return field, name, len(name) + len(value) + _OVERHEAD


# References of one octet each, which most fields are: so many at once are followed without a loop in Python.
_REFERENCES: Final = re.compile(rb"[\x81-\xfe]{1,32}")
_INDEXES: Final = bytes(octet & 0x7F for octet in range(256))
_FIELD: Final[Callable[[_Entry], HeaderField]] = itemgetter(0)
_SIZE: Final[Callable[[_Entry], int]] = itemgetter(2)
# Each at its index. Index 0 is not one: what stands there is never read.
_STATIC: Final = [_entry("", b"", b""), *(_entry(_text(name), name, value) for name, value in HeaderTable.STATIC_TABLE)]
_FIRST_DYNAMIC: Final = len(_STATIC)


class Decoder:
    """Decodes the blocks of one connection, in their order.

    Attributes:
        list_size: How large the headers of the last block are, each with 32 bytes on top, as far as it was decoded.
    """

    __slots__ = ("_least_room", "_limit", "_max_fields", "_max_list_size", "_size", "_table", "list_size")

    def __init__(self, max_list_size: int) -> None:
        """Starts with an empty table.

        Args:
            max_list_size: How large the headers of a request may be, each with 32 bytes on top, as RFC 9113 counts.
        """
        self._max_list_size = max_list_size
        self._least_room = max_list_size - _EXCESS * max_list_size
        self._max_fields = max_list_size // _OVERHEAD
        # Each at its index: the static ones, and then the dynamic ones, of which the latest comes first.
        self._table = _STATIC.copy()
        self._size = 0
        self._limit = TABLE_SIZE
        self.list_size = 0

    def decode(self, block: bytes) -> list[HeaderField] | None:
        """Returns the headers of a block; None if they are larger than they may be.

        Raises:
            CompressionError: It is not a block of headers.
            ExcessiveError: It stands for much more than may be.
        """
        try:
            return self._decode(block)
        except (IndexError, HPACKDecodingError) as error:
            raise CompressionError("The field block refers to an index outside the tables, or is truncated.") from error

    def _decode(self, block: bytes) -> list[HeaderField] | None:
        fields: list[HeaderField] = []
        table, room = self._table, self._max_list_size
        excess, updates, position, end = 0, 0, 0, len(block)
        fits = True
        while position < end:
            run = _REFERENCES.match(block, position) if fits else None
            if run is not None:
                entries = [*map(table.__getitem__, run[0].translate(_INDEXES))]
                size = sum(map(_SIZE, entries))
                if size <= room:
                    fields += map(_FIELD, entries)
                    room -= size
                    position = run.end()
                    continue
                # From here on fields are read one by one, to find the one for which there is no room any more.
                fits = False
            first = block[position]
            position += 1
            if first & 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, index)
                elif not index:
                    raise CompressionError("Index 0 is not valid in a field block.")
                entry = table[index]
            elif first & 0xE0 == 0x20:
                updates += 1
                _check_update(updates, is_first=room == self._max_list_size)
                position = self._resize(block, position, first & 0x1F)
                continue
            else:
                entry, position = self._literal(block, position, first)
                if first & 0x40:
                    self._add(entry)
            room -= entry[2]
            if room >= 0:
                fields.append(entry[0])
                continue
            excess += 1
            # Each takes _OVERHEAD at least, so that there are not too many of them as long as there is room.
            if room < self._least_room or len(fields) + excess > self._max_fields:
                raise ExcessiveError("The field block has too many or too large fields.")
        self.list_size = self._max_list_size - room
        return fields if room >= 0 else None

    def _literal(self, block: bytes, position: int, first: int) -> tuple[_Entry, int]:
        mask = 0x3F if first & 0x40 else 0x0F
        index = first & mask
        if index == mask:
            index, position = _integer(block, position, index)
        if index:
            (text, _), name, _ = self._table[index]
            # The value alone was malformed, perhaps: the name stands on its own.
            text = text or _text(name)
        else:
            name, position = _string(block, position)
            text = _text(name)
        value, position = _string(block, position)
        return _entry(text, name, value), position

    def _resize(self, block: bytes, position: int, size: int) -> int:
        if size == 0x1F:
            size, position = _integer(block, position, size)
        if size > TABLE_SIZE:
            raise CompressionError("The dynamic table size exceeds SETTINGS_HEADER_TABLE_SIZE.")
        self._limit = size
        self._evict()
        return position

    def _add(self, entry: _Entry) -> None:
        self._table.insert(_FIRST_DYNAMIC, entry)
        self._size += entry[2]
        if self._size > self._limit:
            self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= self._table.pop()[2]


def _integer(block: bytes, position: int, number: int) -> tuple[int, int]:
    shift = 0
    while True:
        octet = block[position]
        position += 1
        number += (octet & 0x7F) << shift
        if not octet & 0x80:
            return number, position
        shift += 7
        if shift > _LARGEST_SHIFT:
            raise CompressionError("An integer in a field block is too large.")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    first = block[position]
    position += 1
    length = first & 0x7F
    if length == 0x7F:
        length, position = _integer(block, position, length)
    end = position + length
    if end > len(block):
        raise CompressionError("A string in a field block ends after the block.")
    octets = block[position:end]
    return huffman.decode(octets) if first & 0x80 else octets, end


def literal(name: bytes, value: bytes) -> bytes:
    """Returns a header as one that enters no table, so that no state has to be kept for whoever reads it."""
    return b"".join((b"\x00", _length(len(name)), name, _length(len(value)), value))


def _length(length: int) -> bytes:
    if length < 0x7F:
        return bytes((length,))
    octets = bytearray((0x7F,))
    rest = length - 0x7F
    while rest >= 0x80:
        octets.append(rest & 0x7F | 0x80)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


def _check_update(count: int, *, is_first: bool) -> None:
    """Checks that a size update of the table may come where it does (RFC 7541, section 4.2)."""
    if not is_first:
        raise CompressionError("A dynamic table size update must come at the beginning of a field block.")
    if count > _MOST_UPDATES:
        raise CompressionError("A field block must not begin with more than two dynamic table size updates.")
