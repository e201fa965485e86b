"""Flow control, both ways: nobody is sent more than they have room for, and nobody who has no room costs much."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.front import LONG, READ, SHIPMENT, running_front
from support.http2 import (
    PREFACE,
    WINDOW,
    Code,
    Connection,
    Kind,
    Setting,
    frame,
    message,
    reset,
    settings,
    window_update,
)
from support.upstream import Reply
from support.workers import wait_until
from wire.conftest import STRICT, check_served, chosen, connections, memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.front import Front
    from support.upstream import Received

    Connect = Callable[..., Connection]

CALL: Final = message(READ.SerializeToString())
LARGE: Final = 200_000
FRAME_LIMIT: Final = 16_384
MEGABYTE: Final = 1 << 20
WIDEST: Final = 2**31 - 1
# Seconds in which something that must not come would have come.
MOMENT: Final = 0.1


def large(received: Received) -> Reply:
    """Answers with what becomes a large response."""
    return Reply(200, {"reference": SHIPMENT, "state": "x" * LARGE})


def padded_call(size: int) -> bytes:
    """Returns a call of a size, most of which is a field that nobody knows."""
    filling = b"\x00" * size
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    return message(READ.SerializeToString() + b"\xfa\x3f" + length + filling)


def greeting(**values: int) -> bytes:
    return PREFACE + settings({Setting[name.upper()]: value for name, value in values.items()})


@pytest.fixture
def talkative(front: Front) -> Front:
    """The gateway, whose upstream answers at length."""
    front.upstream.answer(200, {"reference": SHIPMENT, "state": "x" * LARGE})
    return front


def test_large_response_fits_into_what_it_is_given(talkative: Front, connect: Connect) -> None:
    """It waits for room as often as it takes, and never takes more."""
    connection = connect()
    connection.widens = False
    stream = connection.begin(CALL)
    room = WINDOW
    while not connection.on(stream).ended:
        connection.until_data(stream, room)
        assert len(connection.on(stream).data) <= room
        connection.send(window_update(0, 30_000), window_update(stream, 30_000))
        room += 30_000
    assert connection.on(stream).status == 0
    assert len(connection.on(stream).data) > LARGE
    assert connection.largest <= FRAME_LIMIT


@pytest.mark.parametrize("narrow", ["stream", "connection"])
def test_response_waits_for_the_narrower_window(narrow: str, talkative: Front, connect: Connect) -> None:
    connection = connect(greeting=greeting(initial_window_size=WIDEST if narrow == "connection" else WINDOW))
    connection.widens = False
    if narrow == "stream":
        connection.send(window_update(0, MEGABYTE))
    stream = connection.begin(CALL)
    connection.until(lambda: len(connection.on(stream).data) == WINDOW)
    connection.quiet(MOMENT)
    assert len(connection.on(stream).data) == WINDOW
    connection.send(window_update(stream if narrow == "stream" else 0, MEGABYTE))
    assert connection.answer(stream).status == 0


def test_tiny_windows_deliver_a_response_in_pieces(talkative: Front, connect: Connect) -> None:
    connection = connect(greeting=greeting(initial_window_size=1))
    connection.widens = False
    stream = connection.begin(CALL)
    for expected in (1, 2, 12):
        connection.until_data(stream, expected)
        connection.quiet(MOMENT / 2)
        assert len(connection.on(stream).data) == expected
        connection.send(window_update(stream, 1 if expected == 1 else 10))
    connection.send(window_update(stream, MEGABYTE), window_update(0, MEGABYTE))
    assert connection.answer(stream).status == 0


def test_response_waits_at_a_window_of_zero(front: Front, connect: Connect) -> None:
    """Also if it is small. What has no data needs no window."""
    connection = connect(greeting=greeting(initial_window_size=0))
    stream = connection.begin(CALL)
    refused = connection.begin(message(b""))
    assert connection.answer(refused).status == 3
    connection.quiet(MOMENT)
    assert connection.on(stream).data == b""
    assert not connection.on(stream).ended
    connection.send(window_update(stream, 1000))
    assert connection.answer(stream).status == 0


def test_change_of_the_initial_window_counts_for_streams_under_way(talkative: Front, connect: Connect) -> None:
    """Also if it becomes less than nothing by that: then as much has to be made up for first."""
    connection = connect(greeting=greeting(initial_window_size=1000))
    connection.widens = False
    stream = connection.begin(CALL)
    connection.until(lambda: len(connection.on(stream).data) == 1000)
    connection.send(settings({Setting.INITIAL_WINDOW_SIZE: 400}))  # 600 less than nothing
    connection.ping()
    connection.send(window_update(stream, 600))
    connection.quiet(MOMENT)
    assert len(connection.on(stream).data) == 1000
    connection.send(window_update(stream, 50))
    connection.until(lambda: len(connection.on(stream).data) == 1050)
    connection.quiet(MOMENT)
    assert len(connection.on(stream).data) == 1050
    connection.send(settings({Setting.INITIAL_WINDOW_SIZE: 500}))  # 100 more
    connection.until(lambda: len(connection.on(stream).data) == 1150)
    connection.send(settings({Setting.INITIAL_WINDOW_SIZE: MEGABYTE}), window_update(0, MEGABYTE))
    assert connection.answer(stream).status == 0


@STRICT
def test_change_of_the_initial_window_may_not_overflow_a_window(talkative: Front, connect: Connect) -> None:
    connection = connect(greeting=greeting(initial_window_size=0))
    stream = connection.begin(CALL)
    connection.send(window_update(stream, WIDEST), settings({Setting.INITIAL_WINDOW_SIZE: WIDEST}))
    connection.drain()
    assert connection.goaways[-1][1] == Code.FLOW_CONTROL_ERROR


def test_streams_share_a_connections_window(front: Front, connect: Connect) -> None:
    """One that has no room holds up no other."""
    for _ in range(2):
        front.upstream.answer(200, {"reference": SHIPMENT, "state": "x" * LARGE})
    connection = connect(greeting=greeting(initial_window_size=1000))
    connection.widens = False
    connection.send(window_update(0, MEGABYTE))
    first = connection.begin(CALL)
    connection.until(lambda: len(connection.on(first).data) == 1000)
    second = connection.begin(CALL)
    connection.until(lambda: len(connection.on(second).data) == 1000)
    third = connection.begin(CALL)
    assert connection.answer(third).status == 0
    connection.send(window_update(second, MEGABYTE))
    assert connection.answer(second).status == 0
    assert not connection.on(first).ended
    connection.send(reset(first))


@pytest.mark.parametrize("end", ["reset", "closed", "cut off"])
def test_response_that_waits_for_room_is_dropped_with_its_stream(end: str, talkative: Front, connect: Connect) -> None:
    connection = connect(greeting=greeting(initial_window_size=10))
    stream = connection.begin(CALL)
    connection.until(lambda: len(connection.on(stream).data) == 10)
    if end == "reset":
        connection.send(reset(stream))
        connection.ping()
        connection.send(window_update(0, MEGABYTE))
        assert connection.answer(connection.begin(message(b""))).status == 3
    elif end == "closed":
        connection.finish_sending()
        connection.drain()
    else:
        connection.cut()


def test_end_does_not_wait_long_for_who_makes_no_room(engine: str) -> None:
    with (
        running_front(settings=chosen(engine), SHUTDOWN_GRACE="1") as front,
        Connection(front.gateway.address, greeting=greeting(initial_window_size=0)) as connection,
    ):
        connection.begin(CALL)
        front.gateway.wait_for("call", code="OK")
        begun = time.monotonic()
        assert front.gateway.stop() == 0
        assert time.monotonic() - begun < LONG
        connection.drain()


@pytest.mark.parametrize("size", [70_000, 250_000])
def test_large_request_gets_the_room_that_it_needs(size: int, front: Front, connect: Connect) -> None:
    """A client that honours every window gets its message across, again and again."""
    connection = connect()
    connection.until(lambda: connection.acknowledged)
    connection.ping()
    for _ in range(5 * MEGABYTE // size):  # more than the connection has room for, all in all
        stream = connection.begin(None, end=False)
        rest = padded_call(size)
        while rest:
            connection.until_room(stream)
            size_of_part = min(connection.room(stream), FRAME_LIMIT)
            part, rest = rest[:size_of_part], rest[size_of_part:]
            connection.send_data(stream, part, end=not rest)
        assert connection.answer(stream).status == 0


def test_empty_messages_and_padding_use_no_room_up_for_good(front: Front, connect: Connect) -> None:
    """Padding counts against the window too, and has to be given back."""
    connection = connect()
    connection.until(lambda: connection.acknowledged)
    stream = connection.begin(None, end=False)
    for _ in range(3 * connection.room(stream) // 256 + 1):
        connection.until_room(stream, 256)
        connection.send_data(stream, b"\xff" + bytes(255), flags=0x8)
    connection.send_data(stream, CALL, end=True)
    assert connection.answer(stream).status == 0


def test_requests_that_never_end_cost_no_more_than_was_sent(front: Front, connect: Connect) -> None:
    """On many streams, none of which would be too much by itself."""
    connection = connect()
    connection.until(lambda: connection.acknowledged)
    before, sent = memory(front.gateway), 0
    data = message(bytes(250_000), length=260_000)
    for _ in range(150):
        stream = connection.begin(None, end=False)
        for at in range(0, len(data), FRAME_LIMIT):
            connection.send(frame(Kind.DATA, 0, stream, data[at : at + FRAME_LIMIT]))
        sent += len(data)
        connection.quiet(0.0)
    check_served(front)
    assert memory(front.gateway) - before < 2 * sent


@pytest.fixture
def verbose(front: Front) -> Iterator[Event]:
    """Has upstream answer everything at length, as soon as the event is set."""
    release, usual = Event(), front.upstream.default
    front.upstream.default = lambda received: replace(large(received), wait=release)
    yield release
    release.set()
    front.upstream.default = usual


def reader_without_room(connect: Connect) -> Connection:
    """Returns a connection with wide windows, and a socket that takes nothing unless it is read."""
    connection = connect(greeting=greeting(initial_window_size=WIDEST), buffer=4096)
    connection.send(window_update(0, WIDEST - WINDOW))
    return connection


def ended(front: Front) -> list[dict[str, Any]]:
    """Returns the log lines of the calls that have ended."""
    return [line for line in front.gateway.lines if line["event"] == "call"]


def test_reader_that_reads_nothing_costs_little_and_holds_up_nobody(
    verbose: Event, front: Front, connect: Connect
) -> None:
    """Whatever all of its calls are answered is bounded in memory."""
    connection = reader_without_room(connect)
    before = memory(front.gateway)
    for _ in range(100):
        connection.begin(CALL)
    for _ in range(100):
        front.upstream.next_request()
    verbose.set()
    wait_until(lambda: len(ended(front)) >= 100, "a call did not end", LONG)
    check_served(front)
    assert memory(front.gateway) - before < 100 * MEGABYTE
    port = int(front.gateway.address.rpartition(":")[2])
    wait_until(lambda: connections(port) == 2, "it is not the only one that is kept beside the standing one", LONG)
    connection.cut()
    wait_until(lambda: connections(port) == 1, "the connection is kept", LONG)


def test_reader_that_reads_late_is_answered_everything(verbose: Event, front: Front, connect: Connect) -> None:
    """Its later calls may have to wait until it has read what the earlier ones were answered."""
    connection = reader_without_room(connect)
    verbose.set()
    streams = [connection.begin(CALL) for _ in range(100)]
    wait_until(lambda: ended(front) != [], "no call ends", LONG)
    check_served(front)
    assert all(connection.answer(stream).status == 0 for stream in streams)
