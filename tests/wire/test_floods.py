"""Floods: memory and processor time stay bounded, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import struct
import time
from typing import TYPE_CHECKING, Final

import pytest
from support.front import LONG, READ, SHIPMENT
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    HEALTH_PATH,
    PREFACE,
    Code,
    Kind,
    Setting,
    block,
    frame,
    integer,
    literal,
    message,
    request_fields,
    reset,
    settings,
    window_update,
)
from support.upstream import Reply
from support.workers import wait_until
from wire.conftest import STRICT, check_served, connections, cpu_seconds, memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from support.front import Front
    from support.http2 import Connection

    Connect = Callable[..., Connection]

pytestmark = pytest.mark.wire

CALL: Final = message(READ.SerializeToString())
MEGABYTE: Final = 1 << 20
HEADERS: Final = block(request_fields())
OPEN: Final = frame(Kind.HEADERS, END_HEADERS, 1, HEADERS)
# What a flood may cost at most, whatever it is made of.
MOST_MEMORY: Final = 48 * MEGABYTE
MOST_SECONDS: Final = 5.0
# How much is read before a window is widened: by Go and others four times as much.
PIECE: Final = 4_096
# Seconds after which a server that takes nothing more has shown that it does not.
BLOCKED: Final = 0.5


def repeated(data: bytes, count: int) -> Iterable[bytes]:
    """Returns bytes many times, in parts of a fair size."""
    at_once = max(1, 65_536 // len(data))
    return itertools.repeat(data * at_once, count // at_once + 1)


def calls_taken_back(count: int, *, path: str | None = None) -> Iterable[bytes]:
    """Returns calls each of which is reset at once."""
    headers = HEADERS if path is None else block(request_fields(path))
    for first in range(1, 2 * count, 100):
        yield b"".join(
            frame(Kind.HEADERS, END_HEADERS, stream, headers)
            + frame(Kind.DATA, END_STREAM, stream, CALL)
            + reset(stream)
            for stream in range(first, first + 100, 2)
        )


def calls_that_offend(count: int) -> Iterable[bytes]:
    """Returns calls that the server has to reset itself."""
    for first in range(1, 2 * count, 100):
        yield b"".join(
            frame(Kind.HEADERS, END_HEADERS, stream, HEADERS) + window_update(stream, 0)
            for stream in range(first, first + 100, 2)
        )


FLOODS: Final[dict[str, Callable[[], Iterable[bytes]]]] = {
    "pings": lambda: repeated(frame(Kind.PING, 0, 0, bytes(8)), 60_000),
    "settings": lambda: repeated(settings({Setting.INITIAL_WINDOW_SIZE: 65_535}), 40_000),
    "empty settings": lambda: repeated(settings(), 60_000),
    "large settings": lambda: repeated(frame(Kind.SETTINGS, 0, 0, bytes.fromhex("000400010000") * 2700), 150),
    "priorities": lambda: repeated(frame(Kind.PRIORITY, 0, 1, bytes([0, 0, 0, 0, 1])), 60_000),
    "priorities of many streams": lambda: (
        b"".join(frame(Kind.PRIORITY, 0, stream, bytes([0, 0, 0, 0, 1])) for stream in range(first, first + 2000, 2))
        for first in range(1, 120_000, 2000)
    ),
    "window updates": lambda: repeated(window_update(0, 1), 60_000),
    "unknown frames": lambda: repeated(frame(0xBB, 0, 0, bytes(1000)), 20_000),
    "empty DATA": lambda: itertools.chain([OPEN], repeated(frame(Kind.DATA, 0, 1), 60_000)),
    "one byte at a time": lambda: itertools.chain(
        [OPEN, frame(Kind.DATA, 0, 1, message(b"", length=250_000))], repeated(frame(Kind.DATA, 0, 1, b"\0"), 60_000)
    ),
    "DATA for a stream that is over": lambda: itertools.chain(
        [OPEN, frame(Kind.DATA, END_STREAM, 1, CALL), reset(1)], repeated(frame(Kind.DATA, 0, 1, bytes(8000)), 1000)
    ),
    "messages on one call": lambda: itertools.chain([OPEN], repeated(frame(Kind.DATA, 0, 1, message(b"")), 60_000)),
    "CONTINUATION": lambda: itertools.chain(
        [frame(Kind.HEADERS, 0, 1, HEADERS)],
        repeated(frame(Kind.CONTINUATION, 0, 1, literal(b"x-a", bytes(1000))), 20_000),
    ),
    "empty CONTINUATION": lambda: itertools.chain(
        [frame(Kind.HEADERS, 0, 1, HEADERS)], repeated(frame(Kind.CONTINUATION, 0, 1), 60_000)
    ),
    "calls that are taken back": lambda: calls_taken_back(5_000),
    "probes that are taken back": lambda: calls_taken_back(5_000, path=HEALTH_PATH),
    "calls that the server resets": lambda: calls_that_offend(5_000),
    "calls without an end": lambda: (
        b"".join(frame(Kind.HEADERS, END_HEADERS, stream, HEADERS) for stream in range(first, first + 100, 2))
        for first in range(1, 14_000, 100)
    ),
    "HEADERS for a stream that is over": lambda: itertools.chain(
        [OPEN, frame(Kind.DATA, END_STREAM, 1, CALL), reset(1)],
        repeated(frame(Kind.HEADERS, END_HEADERS | END_STREAM, 1, HEADERS), 10_000),
    ),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_flood_is_bounded_and_holds_up_nobody(kind: str, front: Front, connect: Connect) -> None:
    """It may be stopped, or be taken as slowly as the server likes; nobody reads what it answers."""
    connection = connect(buffer=4096)
    memory_before, seconds_before = memory(front.gateway), cpu_seconds(front.gateway)
    connection.socket.settimeout(BLOCKED)
    with contextlib.suppress(TimeoutError):
        for count, part in enumerate(FLOODS[kind]()):
            connection.send(part)
            if connection.closed:
                break
            if count % 32 == 16:
                check_served(front)
    check_served(front)
    assert memory(front.gateway) - memory_before < MOST_MEMORY
    assert cpu_seconds(front.gateway) - seconds_before < MOST_SECONDS
    connection.cut()


def bomb() -> bytes:
    """Returns 16 kB of headers that stand for 50 MB."""
    stored = b"\x40" + integer(1, 7) + b"x" + integer(3900, 7) + b"y" * 3900
    return HEADERS + stored + integer(62, 7, 0x80) * 12_000


BOMBS: Final[dict[str, bytes]] = {
    "one entry many times": bomb(),
    "entry of the static table many times": HEADERS + b"\x90" * 16_000,
    "many small fields": HEADERS + b"\x00\x01a\x00" * 4_000,
    "many empty names": HEADERS + b"\x00\x00\x00" * 5_000,
    "many updates of the table": b"\x20\x3f\xe1\x1f" * 4_000 + HEADERS,
    "many entries that push each other out": HEADERS + b"\x40\x01a\x01b" * 3_200,
    "Huffman": HEADERS + b"\x00\x01x" + integer(15_000, 7, 0x80) + b"\x00" * 15_000,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_headers_that_stand_for_much_more_are_not_unpacked(kind: str, front: Front, connect: Connect) -> None:
    memory_before, seconds_before = memory(front.gateway), cpu_seconds(front.gateway)
    connection = connect()
    for number in range(5):
        stream = 2 * number + 1
        connection.send(
            frame(Kind.HEADERS, END_HEADERS, stream, BOMBS[kind]), frame(Kind.DATA, END_STREAM, stream, CALL)
        )
        connection.until_over(stream)
        if connection.closed:
            break
    assert memory(front.gateway) - memory_before < MOST_MEMORY
    assert cpu_seconds(front.gateway) - seconds_before < MOST_SECONDS


# Those that are small enough as their bytes go, and only many, may be taken.
@STRICT
@pytest.mark.parametrize("kind", ["one entry many times", "entry of the static table many times", "Huffman"])
def test_headers_are_as_large_as_what_they_stand_for(kind: str, front: Front, connect: Connect) -> None:
    connection = connect()
    connection.send(frame(Kind.HEADERS, END_HEADERS, 1, BOMBS[kind]), frame(Kind.DATA, END_STREAM, 1, CALL))
    connection.until_closed_or(lambda: connection.on(1).over)
    assert connection.on(1).status != 0
    assert front.upstream.received.empty()


def test_metadata_beyond_the_limit_is_refused_and_the_connection_goes_on(front: Front, connect: Connect) -> None:
    """Also where the table of headers was changed by what was refused: the next call uses it."""
    connection = connect()
    stored = b"\x40" + integer(6, 7) + b"x-once" + integer(3, 7) + b"yes"
    large = HEADERS + stored + literal(b"x-large", b"x" * 40_000)
    parts = [large[at : at + 16_000] for at in range(0, len(large), 16_000)]
    connection.send(frame(Kind.HEADERS, 0, 1, parts[0]))
    for part in parts[1:-1]:
        connection.send(frame(Kind.CONTINUATION, 0, 1, part))
    connection.send(frame(Kind.CONTINUATION, END_HEADERS, 1, parts[-1]), frame(Kind.DATA, END_STREAM, 1, CALL))
    assert connection.answer(1).status == 8
    assert front.upstream.received.empty()
    connection.send(
        frame(Kind.HEADERS, END_HEADERS, 3, HEADERS + integer(62, 7, 0x80)), frame(Kind.DATA, END_STREAM, 3, CALL)
    )
    assert connection.answer(3).status == 0


@STRICT
def test_continuation_without_end_ends_the_connection(front: Front, connect: Connect) -> None:
    """Long before it has grown large."""
    connection = connect()
    connection.acts = False  # nothing may come in between
    connection.send(frame(Kind.HEADERS, 0, 1, HEADERS))
    sent = 0
    while not connection.closed and sent < 4 * MEGABYTE:
        connection.send(frame(Kind.CONTINUATION, 0, 1, literal(b"x-a", bytes(16_000))))
        connection.quiet(0.0)
        sent += 16_000
    assert connection.closed
    assert sent < MEGABYTE


@STRICT
def test_rapid_reset_ends_the_connection(front: Front, connect: Connect) -> None:
    """Who takes back thousands of calls at once is no client."""
    connection = connect()
    for part in calls_taken_back(20_000):
        connection.send(part)
        connection.quiet(0.0)
        if connection.closed:
            break
    connection.drain()
    assert connection.goaways[-1][1] == Code.ENHANCE_YOUR_CALM


def test_cancelling_client_is_no_attacker(front: Front, connect: Connect) -> None:
    """A caller that takes back many calls one after the other, and makes others, goes on."""
    connection = connect()
    stream = 1
    for number in range(300):
        release = front.upstream.hold() if number % 10 == 0 else None
        stream = connection.begin(CALL)
        if release is not None:
            front.upstream.next_request()
            connection.send(reset(stream))
            assert release.gone.wait(LONG)
        else:
            assert connection.answer(stream).status == 0
            front.upstream.next_request()
    assert not connection.goaways


@pytest.mark.parametrize(
    ("size", "calls"), [(1_000, 1_000), pytest.param(60_000, 3_000, marks=pytest.mark.wire)], ids=["small", "large"]
)
def test_busy_client_is_no_attacker(size: int, calls: int, front: Front, connect: Connect) -> None:
    """It widens windows as it reads, also those of streams that are over meanwhile, and measures its line by pings."""
    front.upstream.default, usual = (
        lambda _: Reply(200, {"reference": SHIPMENT, "state": "x" * size}),
        front.upstream.default,
    )
    try:
        connection = connect()
        connection.widens = False
        for number in range(calls):
            stream = connection.begin(CALL)
            assert connection.answer(stream).status == 0
            length = len(connection.on(stream).data)
            connection.send(
                *[window_update(stream, PIECE)] * (length // PIECE),
                window_update(0, length),
                frame(Kind.PING, 0, 0, struct.pack(">Q", number)),
            )
            front.upstream.received.get_nowait()
        connection.ping()
        assert not connection.goaways
    finally:
        front.upstream.default = usual


@STRICT
def test_streams_beyond_the_limit_are_refused(front: Front, connect: Connect) -> None:
    """With the code that says that nothing was done, so that a client may try again."""
    connection = connect()
    connection.until(lambda: connection.acknowledged)
    limit = connection.told[Setting.MAX_CONCURRENT_STREAMS]
    assert 100 <= limit <= 100_000
    connection.send(*(frame(Kind.HEADERS, END_HEADERS, 2 * number + 1, HEADERS) for number in range(limit + 10)))
    connection.until(lambda: connection.on(2 * (limit + 9) + 1).over)
    refused = sorted(stream for stream, answer in connection.answers.items() if answer.over)
    assert refused == [2 * number + 1 for number in range(limit, limit + 10)]
    assert {connection.on(stream).reset for stream in refused} == {Code.REFUSED_STREAM}
    connection.send(*(reset(2 * number + 1) for number in range(10)))
    assert connection.answer(connection.begin(CALL, stream=2 * limit + 101)).status == 0


def test_connections_that_say_nothing_hold_up_nobody(front: Front, connect: Connect) -> None:
    """Nor do those that stop in the middle of something."""
    before = memory(front.gateway)
    for sent in (b"", PREFACE[:10], PREFACE, PREFACE + settings() + OPEN[:20], PREFACE + settings() + OPEN):
        for _ in range(40):
            connect(greeting=sent)
    begun = time.monotonic()
    check_served(front)
    assert time.monotonic() - begun < MOST_SECONDS
    assert memory(front.gateway) - before < MOST_MEMORY
    port = int(front.gateway.address.rpartition(":")[2])
    # Those of the test before, and of who was served, may be about to go.
    kept = "the gateway does not keep just those that are open"
    wait_until(lambda: connections(port) == 201, kept, LONG)
