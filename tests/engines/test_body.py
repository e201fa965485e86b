"""Compressed bodies that take long: what is left for later comes to the same as what is done at once."""

from __future__ import annotations

import gzip
import os
from typing import Final

import pytest
from allocation_gateway.upstream.engines.body import Body

LIMIT: Final = 4_000_000
# More than what is decompressed as it comes: of one byte, of bytes without order, and of both.
CONTENTS: Final = {
    "blanks": b" " * 3_999_999,
    "noise": os.urandom(3_000_000),
    "both": os.urandom(900_000) + b"x" * 2_000_000 + os.urandom(900_000),
    "as much as the limit": b"y" * LIMIT,
    "little": b"{}",
}


def taken(body: Body, data: bytes, size: int) -> tuple[bytes, str]:
    """Gives a body its bytes in parts of a size, and returns what it comes to."""
    for start in range(0, len(data), size):
        if not body.add(data[start : start + size]):
            break
    content, problem, packed = body.whole()
    assert len(content) <= LIMIT
    return (content, problem) if packed is None else packed.unpacked()


@pytest.mark.parametrize("size", [1_000, 65_536, 10_000_000])
@pytest.mark.parametrize("name", CONTENTS)
def test_a_large_compressed_body_is_read(name: str, size: int) -> None:
    assert taken(Body(LIMIT, "gzip"), gzip.compress(CONTENTS[name]), size) == (CONTENTS[name], "")


@pytest.mark.parametrize("size", [1_000, 10_000_000])
@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_wrong_with_it_is_told(name: str, size: int) -> None:
    """Wherever it is: an end that is missing or surplus, and bytes that are none of gzip's."""
    data = gzip.compress(CONTENTS[name])
    assert taken(Body(LIMIT, "gzip"), data[:-4], size) == (b"", "the body ended early")
    assert taken(Body(LIMIT, "gzip"), data + b"x", size) == (b"", "the body is not valid gzip")
    broken = data[: len(data) // 2] + b"\xff" * 64 + data[len(data) // 2 :]
    assert taken(Body(LIMIT, "gzip"), broken, size)[0] == b""


@pytest.mark.parametrize("size", [100, 10_000_000])
def test_more_than_the_limit_is_never_kept(size: int) -> None:
    for content in (b" " * (LIMIT + 1), b" " * (100 * LIMIT), os.urandom(LIMIT + 1)):
        found = taken(Body(LIMIT, "gzip"), gzip.compress(content, 1), size)
        assert found == (b"", f"the body is larger than {LIMIT} bytes")


def test_small_parts_are_put_together() -> None:
    body = Body(LIMIT)
    for number in range(100_000):
        assert body.add(b"%05d" % number)
    content, problem, packed = body.whole()
    assert content == b"".join(b"%05d" % number for number in range(100_000))
    assert (problem, packed) == ("", None)


def test_little_is_decompressed_as_it_comes() -> None:
    body = Body(LIMIT, "gzip")
    body.add(gzip.compress(b"x" * 1_000_000))
    assert body.whole() == (b"x" * 1_000_000, "", None)
