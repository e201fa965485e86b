"""Bounds of our own server: of what a call may send, of connections, and of the bytes that are held for callers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest
from support.front import LONG, READ, running_front
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    HEALTH_PATH,
    Code,
    Connection,
    Kind,
    Setting,
    block,
    frame,
    literal,
    message,
    request_fields,
    settings,
)
from wire.conftest import STRICT, chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[..., Connection]

pytestmark = STRICT

CALL: Final = message(READ.SerializeToString())
WATCH: Final = "/grpc.health.v1.Health/Watch"
REFLECTION: Final = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
UNKNOWN: Final = "/allocation.v1.ShipmentAllocationService/NoSuchMethod"
EXHAUSTED, UNIMPLEMENTED, INTERNAL = 8, 12, 13
# Asks reflection for the file of the health service.
QUESTION: Final = message(b"\x22\x15grpc.health.v1.Health")
# More calls than resets are remembered.
MANY: Final = 2_000
# A call that is refused before it is opened, and one whose message is too much.
REFUSALS: Final = {(None, Code.REFUSED_STREAM), (EXHAUSTED, Code.NO_ERROR)}
# Bytes that a small gateway may hold: one connection half of them.
FEW: Final = 1_048_576


@pytest.mark.parametrize("path", [None, WATCH], ids=["unary", "answered by a stream"])
def test_second_message_of_a_call_that_takes_one_is_refused_at_once(path: str | None, connect: Connect) -> None:
    """Before the caller has ended the request, and before the second one is whole."""
    connection = connect()
    fields = request_fields() if path is None else request_fields(path)
    stream = connection.begin(CALL if path is None else message(b""), fields, end=False)
    connection.ping()
    assert not connection.on(stream).over
    connection.send_data(stream, b"\0")
    assert connection.answer(stream).status == INTERNAL
    assert connection.on(stream).reset == Code.NO_ERROR


def test_trailers_beyond_the_limit_of_metadata_are_refused(connect: Connect) -> None:
    connection = connect()
    stream = connection.begin(CALL, end=False)
    large = literal(b"x-large", b"x" * 15_000)
    connection.send(
        frame(Kind.HEADERS, END_STREAM, stream, large), frame(Kind.CONTINUATION, END_HEADERS, stream, large)
    )
    assert connection.answer(stream).status == EXHAUSTED
    assert connection.answer(connection.begin(CALL)).status == 0


def test_rest_of_many_calls_that_were_refused_early_is_passed_over(connect: Connect) -> None:
    """However long ago that was: their trailers, too."""
    connection = connect()
    unknown, trailer = block(request_fields(UNKNOWN)), literal(b"x-end", b"1")
    first = 1
    for stream in range(first, first + 2 * MANY, 2):
        connection.send(frame(Kind.HEADERS, END_HEADERS, stream, unknown))
    last = first + 2 * (MANY - 1)
    assert connection.answer(last).status == UNIMPLEMENTED
    for stream in (first, first + 2, last):
        connection.send(
            frame(Kind.DATA, 0, stream, b"late"), frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream, trailer)
        )
    assert connection.answer(connection.begin(CALL, stream=last + 2)).status == 0
    assert not connection.goaways


def test_connections_beyond_the_limit_take_the_place_of_those_without_a_call(engine: str) -> None:
    """Those that have made a call stay, and if all have, one more is closed."""
    with ExitStack() as stack:
        front = stack.enter_context(running_front(settings=chosen(engine, MAX_CONNECTIONS="3")))
        address = front.gateway.address

        def opened(*, calls: bool) -> Connection:
            connection = stack.enter_context(Connection(address))
            if calls:
                probe = connection.begin(message(b""), request_fields(HEALTH_PATH))
                assert connection.answer(probe, LONG).status == 0
            else:
                connection.until(lambda: connection.acknowledged, LONG)
            return connection

        busy, idle, other = opened(calls=True), opened(calls=False), opened(calls=True)
        late = opened(calls=True)
        idle.drain(LONG)
        refused = stack.enter_context(Connection(address))
        refused.drain(LONG)
        for connection in (busy, other, late):
            assert connection.answer(connection.begin(CALL), LONG).status == 0
        front.gateway.wait_for("library", logger="allocation_gateway.wire.server", level="warning")


def test_connections_of_one_address_are_limited(engine: str) -> None:
    with ExitStack() as stack:
        front = stack.enter_context(running_front(settings=chosen(engine, MAX_CONNECTIONS_PER_ADDRESS="2")))
        first, second, third = (stack.enter_context(Connection(front.gateway.address)) for _ in range(3))
        third.drain(LONG)
        for connection in (first, second):
            assert connection.answer(connection.begin(CALL), LONG).status == 0


def test_requests_that_are_not_complete_are_held_to_a_bound(engine: str) -> None:
    """Beyond it they are refused, and the connection goes on for those that need less."""
    with ExitStack() as stack:
        front = stack.enter_context(running_front(settings=chosen(engine, MAX_HELD_BYTES=str(FEW))))
        connection = stack.enter_context(Connection(front.gateway.address))
        streams = [connection.begin(None, end=False) for _ in range(5)]
        for stream in streams:
            connection.send_data(stream, message(b"", length=200_000))
            for _ in range(12):
                connection.send_data(stream, bytes(16_000))
        connection.until(lambda: any(connection.on(stream).over for stream in streams), LONG)
        assert {connection.on(stream).status for stream in streams} == {None, EXHAUSTED}
        assert connection.answer(connection.begin(CALL), LONG).status == 0
        assert not connection.goaways


def test_answers_that_are_not_taken_are_held_to_a_bound(engine: str) -> None:
    """New calls are refused, before or after their headers; those of others are served."""
    with ExitStack() as stack:
        front = stack.enter_context(running_front(settings=chosen(engine, MAX_HELD_BYTES=str(FEW))))
        connection, other = (stack.enter_context(Connection(front.gateway.address)) for _ in range(2))
        connection.send(settings({Setting.INITIAL_WINDOW_SIZE: 0}))
        fields = request_fields(REFLECTION)
        for _ in range(500):
            connection.begin(QUESTION, fields)
            if connection.closed:
                break
        connection.until(lambda: any(answer.over for answer in connection.answers.values()), LONG)
        over = [answer for answer in connection.answers.values() if answer.over]
        assert {(answer.status, answer.reset) for answer in over} <= REFUSALS
        assert other.answer(other.begin(CALL), LONG).status == 0
