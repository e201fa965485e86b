"""The Huffman code of header compression (RFC 7541, section 5.2 and appendix B), decoded an octet at a time.

The hpack package has the code as a machine that reads half an octet at a time. Two of its steps are one of this
machine, which is three times as fast: a text that is as long as a field block may be would hold others up. What a
state does with each octet is worked out when it is first reached, since few ever are.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

# By octet: the text that it completes, and the row of the state after it. Empty before the state is reached.
_Row: TypeAlias = "list[tuple[bytes, _Row]]"


class _State(NamedTuple):
    """A state of the machine.

    Attributes:
        number: Its number in the table of the package.
        may_end: Whether a text may end there: all that is left is padding.
        row: What follows.
    """

    number: int
    may_end: bool
    row: _Row


_FIRST: Final = _State(0, may_end=True, row=[])
_INVALID: Final = _State(-1, may_end=False, row=[])
_INVALID.row.extend([(b"", _INVALID.row)] * 256)
_STATES: Final = {(0, True): _FIRST}
# By the identity of their row: a step looks nothing up but the next one.
_OWNERS: Final = {id(state.row): state for state in (_FIRST, _INVALID)}


def decode(encoded: bytes) -> bytes:
    """Returns the text that octets stand for.

    Raises:
        HPACKDecodingError: They stand for none.
    """
    decoded: list[bytes] = []
    append, row = decoded.append, _FIRST.row
    for octet in encoded:
        try:
            text, row = row[octet]
        except IndexError:
            _fill(_OWNERS[id(row)])
            text, row = row[octet]
        if text:
            append(text)
    last = _OWNERS[id(row)]
    if not last.may_end:
        raise HPACKDecodingError("Invalid Huffman string" if last is _INVALID else "Incomplete Huffman string")
    return b"".join(decoded)


def _fill(state: _State) -> None:
    """Works out what follows each octet."""
    for octet in range(256):
        text, following = _step(state.number, octet)
        state.row.append((text, following.row))


def _step(number: int, octet: int) -> tuple[bytes, _State]:
    text, flags = b"", 0
    for half in (octet >> 4, octet & 0x0F):
        number, flags, symbol = HUFFMAN_TABLE[number * 16 + half]
        if flags & HUFFMAN_FAIL:
            return b"", _INVALID
        if flags & HUFFMAN_EMIT_SYMBOL:
            text += bytes((symbol,))
    may_end = bool(flags & HUFFMAN_COMPLETE)
    state = _STATES.get((number, may_end))
    if state is None:
        state = _STATES[number, may_end] = _State(number, may_end, [])
        _OWNERS[id(state.row)] = state
    return text, state
