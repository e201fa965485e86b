"""The Huffman code of header compression, against the package that it comes from."""

from __future__ import annotations

import pytest
from allocation_gateway.wire import huffman
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def outcome(decode: object, encoded: bytes) -> bytes | str:
    assert callable(decode)
    try:
        return bytes(decode(encoded))
    except HPACKDecodingError as error:
        return str(error)


@given(st.binary(max_size=200))
def test_every_text_comes_back(text: bytes) -> None:
    assert huffman.decode(ENCODER.encode(text)) == text


@given(st.binary(max_size=60))
@example(b"\xff\xff\xff\xff")
@example(b"\x1c")
@example(b"\x18")
def test_any_octets_are_decoded_or_refused_as_the_package_does(encoded: bytes) -> None:
    assert outcome(huffman.decode, encoded) == outcome(decode_huffman, encoded)


def test_every_octet_is_decoded_in_every_state() -> None:
    for octet in range(256):
        for text in (bytes([octet]), bytes([octet, octet]), b"a" + bytes([octet])):
            assert huffman.decode(ENCODER.encode(text)) == text


def test_nothing_is_decoded_of_what_has_an_error_anywhere() -> None:
    with pytest.raises(HPACKDecodingError, match="Invalid"):
        huffman.decode(b"\xff" * 5 + ENCODER.encode(b"a text"))
