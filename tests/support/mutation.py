"""Answers of HTTP/1.1 that are nearly right, in the parts in which they may arrive."""

from __future__ import annotations

import gzip
from typing import Final

from hypothesis import strategies as st

HEAD: Final = b"HTTP/1.1 200 OK\r\n"
# Valid answers of every kind, of which others are made.
SEEDS: Final = (
    HEAD + b"content-length: 2\r\n\r\nok",
    HEAD + b"\r\nok",
    HEAD + b"transfer-encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\nx-after: 1\r\n\r\n",
    HEAD + b"content-encoding: gzip\r\ncontent-length: 22\r\n\r\n" + gzip.compress(b"ok"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"retry-after: 5\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
    b"HTTP/1.0 503 Busy\r\nconnection: keep-alive\r\ncontent-length: 4\r\n\r\n{}\r\n",
)
PIECES: Final = (b"\r\n", b"\n", b"\r", b" ", b"\0", b":", b"0", b"ff", b"chunked", b"content-length: 3\r\n",
                 b"transfer-encoding: chunked\r\n", HEAD, b"HTTP/1.1 100 Continue\r\n\r\n", b"-", b"\xff")  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid answers with a few bytes changed, left out, put in or said twice."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del data[at : at + draw(st.integers(1, 8))]
            case 2:
                data[at:at] = draw(st.sampled_from(PIECES))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 30))]
    return bytes(data)


def split(data: bytes, at: list[int]) -> list[bytes]:
    """Cuts bytes into the parts in which they may arrive."""
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]
