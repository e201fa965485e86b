"""The reader of answers by itself, on what nobody would think of."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Final

import pytest
from allocation_gateway.upstream.engines.body import Body
from allocation_gateway.upstream.engines.reader import AnswerReader, NotHttpError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.mutation import HEAD, SEEDS, mutated, split

LIMIT: Final = 200


def read(parts: list[bytes]) -> tuple[object, ...]:
    """Returns what a reader makes of the parts, and of the end of the connection after them."""
    reader = AnswerReader("PUT", LIMIT)
    try:
        for part in parts:
            reader.feed(part)
            if reader.answer is not None and not reader.keeps_alive:
                break
        reader.end(is_orderly=True)
    except NotHttpError:
        return ("no HTTP",)
    if reader.answer is None:
        return ("no answer",)
    answer = reader.answer
    return answer.status, dict(answer.headers), answer.body, answer.problem, reader.keeps_alive


@settings(max_examples=2000, deadline=None)
@given(data=mutated(), at=st.lists(st.integers(0, 300), max_size=6))
@example(data=SEEDS[2], at=list(range(200)))
def test_it_does_not_matter_in_which_parts_an_answer_arrives(data: bytes, at: list[int]) -> None:
    assert read(split(data, at)) == read([data])
    assert read([bytes([byte]) for byte in data]) == read([data])


@settings(max_examples=1000, deadline=None)
@given(data=st.binary(max_size=400) | st.binary(max_size=300).map(lambda rest: HEAD + rest))
def test_whatever_comes_ends_in_an_answer_or_in_none(data: bytes) -> None:
    outcome = read([data])
    if len(outcome) > 1:
        _, _, body, problem, _ = outcome
        assert isinstance(body, bytes)
        assert len(body) <= LIMIT
        assert not (body and problem)


@pytest.mark.parametrize("follows", [b"", b"x" * 50_000_000], ids=["bomb", "surplus"])
def test_what_is_compressed_takes_no_more_memory_than_allowed(follows: bytes) -> None:
    data = gzip.compress(b"" if follows else b"\0" * 50_000_000) + follows
    body = Body(LIMIT, "gzip")
    tracemalloc.start()
    try:
        for start in range(0, len(data), 65_536):
            if not body.add(data[start : start + 65_536]):
                break
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert body.whole()[0] == b""
    assert body.problem
    assert peak < 1_000_000


def test_trailers_are_no_headers() -> None:
    reader = AnswerReader("PUT", LIMIT)
    reader.feed(SEEDS[2])
    assert reader.answer is not None
    assert list(reader.answer.headers) == ["transfer-encoding"]
    assert (len(reader.answer.headers), reader.keeps_alive) == (1, True)


def test_body_that_ends_with_the_connection_needs_an_orderly_end() -> None:
    """Without it nobody knows whether that was all."""
    for is_orderly, expected in ((True, (b"ok", "")), (False, (b"", "the body ended early"))):
        reader = AnswerReader("PUT", LIMIT)
        reader.feed(HEAD + b"\r\nok")
        assert reader.end(is_orderly=is_orderly)
        assert reader.answer is not None
        assert (reader.answer.body, reader.answer.problem) == expected


@pytest.mark.parametrize("first", [b"\r\n", b"\n", b" ", b"RTSP/1.0", b"ICE/1.0", b"http/1.1"])
def test_nothing_stands_before_an_answer(first: bytes) -> None:
    with pytest.raises(NotHttpError):
        AnswerReader("PUT", LIMIT).feed(first + b" 200 OK\r\n\r\n")
