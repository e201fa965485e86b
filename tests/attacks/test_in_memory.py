"""Our own server in memory and in virtual time: what peers cause is bounded in each turn, and accounted for."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Final

import pytest
from fuzz import server
from fuzz.echo import COLLECT, SPREAD, UNARY
from fuzz.peer import GREETING
from fuzz.program import call_headers
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    PADDED,
    Kind,
    Setting,
    frame,
    literal,
    message,
    reset,
    settings,
    window_update,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fuzz.server import World
    from fuzz.transport import Transport

# As they are by default, where the fuzzer has smaller ones.
LIMITS: Final = server.settings(
    MAX_REQUEST_BYTES="262144",
    MAX_METADATA_BYTES="16384",
    MAX_CONCURRENT_CALLS="1000",
    MAX_CONNECTION_AGE="300",
    KEEPALIVE_TIME="60",
    KEEPALIVE_TIMEOUT="20",
)
WIDEST: Final = 2**31 - 1
WINDOW: Final = 65_535
CALL: Final = call_headers(UNARY)
# The handlers of the fuzzer do what the first byte says: wait for an hour, or answer 70,000 bytes.
WAITS, ENLARGES = message(b"w"), message(b"l")


def run(work: Callable[[World], Awaitable[None]]) -> None:
    """Runs a test in a world of its own, in which the greeting was exchanged."""

    async def main() -> None:
        async with server.opened(LIMITS) as world:
            greet(world.transport)
            await world.settle()
            await work(world)

    server.run(main())


def greet(transport: Transport) -> None:
    transport.give(GREETING + settings())


def opened(count: int, fields: bytes = CALL, *, first: int = 1) -> bytes:
    """Returns the HEADERS of calls without an end."""
    return b"".join(frame(Kind.HEADERS, END_HEADERS, first + 2 * number, fields) for number in range(count))


def called(count: int, body: bytes, fields: bytes = CALL) -> bytes:
    """Returns whole calls."""
    return b"".join(
        frame(Kind.HEADERS, END_HEADERS, stream, fields) + frame(Kind.DATA, END_STREAM, stream, body)
        for stream in range(1, 2 * count, 2)
    )


# Work.


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (frame(Kind.PING, 0, 0, bytes(8)), 17),
        (settings(), 9),
        (frame(Kind.DATA, PADDED, 1, b"\x05" + bytes(5)), 13),
    ],
    ids=["PING", "SETTINGS", "padding"],
)
def test_frame_that_is_answered_by_another_counts_as_two(sent: bytes, answer: int) -> None:
    """Else a turn of those would be as long as two of others."""

    async def work(world: World) -> None:
        transport = world.transport
        transport.give(opened(1))
        await world.settle()
        before = len(transport.taken)
        transport.give(sent * 1_000)
        while len(transport.taken) == before:  # noqa: ASYNC110 - it is turns of the loop that pass
            await asyncio.sleep(0)
        assert 400 < (len(transport.taken) - before) / answer < 600
        await world.settle()
        assert (len(transport.taken) - before) // answer >= 1_000

    run(work)


# Bytes.


def test_metadata_of_an_open_call_is_on_the_account_as_it_is_kept() -> None:
    """A field of four bytes is a tuple and two texts."""

    async def work(world: World) -> None:
        world.transport.give(opened(1, CALL + b"\x00\x02ab\x02cd" * 400))
        await world.settle()
        assert world.engine.memory.held > 400 * 200

    run(work)


def test_answers_that_are_not_read_stay_on_the_account_and_few_are_handed_over() -> None:
    """However wide the windows are: the transport in memory fails if it is given much that nobody reads."""

    async def work(world: World) -> None:
        transport = world.transport
        transport.give(settings({Setting.INITIAL_WINDOW_SIZE: WIDEST}) + window_update(0, WIDEST - WINDOW))
        transport.read(really=False)
        transport.give(called(30, ENLARGES))
        await world.settle()
        assert 65_536 < transport.get_write_buffer_size() < 200_000
        assert world.engine.memory.held > 30 * 70_000
        transport.read(really=True)
        await world.settle()
        assert len(transport.taken) > 30 * 70_000
        assert not world.engine.memory.held

    run(work)


def test_answers_that_are_let_out_together_are_handed_over_in_turns() -> None:
    async def work(world: World) -> None:
        transport = world.transport
        transport.give(settings({Setting.INITIAL_WINDOW_SIZE: 0}) + window_update(0, WIDEST - WINDOW))
        transport.give(called(30, ENLARGES))
        await world.settle()
        before, held = len(transport.taken), world.engine.memory.held
        assert held > 30 * 70_000
        transport.give(settings({Setting.INITIAL_WINDOW_SIZE: WIDEST}))
        assert world.engine.memory.held == held, "not at once"
        for _ in range(2):
            await asyncio.sleep(0)
        assert len(transport.taken) - before < 200_000
        await world.settle()
        assert len(transport.taken) - before > 30 * 70_000
        assert not world.engine.memory.held

    run(work)


def test_small_answers_that_are_let_out_together_end_few_calls_in_a_turn() -> None:
    async def work(world: World) -> None:
        transports = [world.transport, *(world.connect() for _ in range(9))]
        for transport in transports:
            transport.give(b"" if transport is world.transport else GREETING)
            transport.give(settings({Setting.INITIAL_WINDOW_SIZE: 0}) + called(200, message(b"e")))
        await world.settle()
        held = world.engine.memory.held
        for transport in transports:
            transport.give(settings({Setting.INITIAL_WINDOW_SIZE: 100}))
        for _ in range(2):
            await asyncio.sleep(0)
        assert world.engine.memory.held > held // 2
        await world.settle()
        assert not world.engine.memory.held

    run(work)


def test_connection_that_is_evicted_keeps_nothing_that_nobody_reads() -> None:
    async def work(world: World) -> None:
        transport = world.transport
        transport.give(settings({Setting.INITIAL_WINDOW_SIZE: WIDEST}) + window_update(0, WIDEST - WINDOW))
        transport.read(really=False)
        transport.give(called(5, ENLARGES))
        await world.settle()
        world.engine.memory.limit = 100_000
        # Nothing is read of it any more: it is the call of another one that finds the account too full.
        other = world.connect()
        greet(other)
        other.give(opened(1))
        await world.settle()
        assert transport.is_lost
        assert not other.is_lost
        assert not transport.get_write_buffer_size()

    run(work)


@pytest.mark.parametrize(
    ("sent", "least"),
    [
        (frame(Kind.DATA, 0, 1, bytes(16_000))[:-1], 15_000),
        (frame(Kind.HEADERS, 0, 1, CALL + bytes(10_000)), 10_000),
        (frame(Kind.HEADERS, 0, 1, CALL) + frame(Kind.CONTINUATION, 0, 1, bytes(16_000)), 16_000),
    ],
    ids=["frame", "headers", "continuation"],
)
def test_what_is_not_complete_is_on_the_account(sent: bytes, least: int) -> None:
    async def work(world: World) -> None:
        world.transport.give(sent)
        await world.settle()
        assert world.engine.memory.held >= least

    run(work)


def test_request_is_on_the_account_twice_while_it_is_answered() -> None:
    """As the bytes that came, and as what becomes of them."""

    async def work(world: World) -> None:
        body = message(b"w" * 200_000)
        parts = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
        world.transport.give(opened(1))
        for part in parts:
            world.transport.give(frame(Kind.DATA, END_STREAM if part is parts[-1] else 0, 1, part))
        await world.settle()
        assert world.engine.memory.held > 2 * 200_000

    run(work)


# Work.


def test_field_blocks_in_many_frames_are_decoded_in_turns() -> None:
    """The last frame is empty, and has the whole block decoded."""

    async def work(world: World) -> None:
        transports = [world.connect() for _ in range(8)]
        filling = literal(b"x", b"y" * 1_000)
        begun = frame(Kind.HEADERS, 0, 1, CALL + filling * 12) + frame(Kind.CONTINUATION, 0, 1, filling * 2)
        for transport in transports:
            greet(transport)
            transport.give(begun)
            await world.settle()
        held = world.engine.memory.held
        for transport in transports:
            transport.give(frame(Kind.CONTINUATION, END_HEADERS, 1, b""))
        # As many as have become calls, which are dearer by what any call takes.
        assert world.engine.memory.held - held <= 4 * 2_500
        await world.settle()
        assert world.engine.memory.held - held > 8 * 2_000

    run(work)


def test_fields_that_stand_for_much_count_as_work() -> None:
    """A byte may stand for four thousand: ten such calls are for ten turns."""

    async def work(world: World) -> None:
        stored = b"\x40" + literal(b"x", b"y" * 3_900)[1:]
        world.transport.give(opened(1, CALL + stored) + opened(30, CALL + b"\xbe" * 3, first=3))
        at_once = world.engine.memory.held
        await world.settle()
        assert world.engine.memory.held > 2 * at_once

    run(work)


async def with_open_calls(world: World, path: str) -> list[Transport]:
    """Returns connections that have opened 1,600 calls in all, of which nothing but the headers has come."""
    transports = [world.connect() for _ in range(16)]
    for transport in transports:
        greet(transport)
        transport.give(opened(100, call_headers(path)))
    await world.settle()
    return transports


# The trailers of a request, without which no request ends that has none of them.
TRAILERS: Final = literal(b"a", b"b")


@pytest.mark.parametrize("path", [UNARY, SPREAD])
@pytest.mark.parametrize("has_trailers", [False, True])
def test_requests_that_become_whole_together_begin_few_handlers_in_a_turn(path: str, has_trailers: bool) -> None:
    """The last frame of each is a few bytes, and what it begins is most of what a call costs."""

    async def work(world: World) -> None:
        transports = await with_open_calls(world, path)
        if has_trailers:
            for transport in transports:
                transport.give(b"".join(frame(Kind.DATA, 0, stream, WAITS) for stream in range(1, 200, 2)))
            await world.settle()
            last = [frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS) for stream in range(1, 200, 2)]
        else:
            last = [frame(Kind.DATA, END_STREAM, stream, WAITS) for stream in range(1, 200, 2)]
        for transport in transports:
            transport.give(b"".join(last))
        await asyncio.sleep(0)
        assert 0 < world.witness.running <= 256
        await world.settle()
        assert world.witness.running == 1_600

    run(work)


@pytest.mark.parametrize(
    ("path", "body"),
    [(UNARY, message(b"w") + b"\0"), (UNARY, message(b"", length=300_000)), (COLLECT, message(b"", length=300_000))],
    ids=["a second message", "too large", "too large in a stream"],
)
def test_requests_that_fail_together_are_answered_in_turns(path: str, body: bytes) -> None:
    async def work(world: World) -> None:
        transports = await with_open_calls(world, path)
        for transport in transports:
            transport.give(b"".join(frame(Kind.DATA, 0, stream, body) for stream in range(1, 200, 2)))
        await asyncio.sleep(0)
        assert 0 < sum(transport.taken.count(b"grpc-status") for transport in transports) <= 256
        await world.settle()
        assert sum(transport.taken.count(b"grpc-status") for transport in transports) == 1_600

    run(work)


def test_what_a_connection_had_at_once_counts_for_its_place_in_line() -> None:
    """It waits in line for the rest of the same bytes: who has had less, and comes after it, comes before it."""

    async def work(world: World) -> None:
        greedy, modest = (world.connect() for _ in range(2))
        for transport in (greedy, modest):
            greet(transport)
            transport.give(called(1, message(b"e")))
            await world.settle()
        greedy.give(frame(Kind.PING, 0, 0, b"greedy..") * 1_500)
        modest.give(frame(Kind.PING, 0, 0, b"modest..") * 50)
        for _ in range(20):
            await asyncio.sleep(0)
            if modest.taken.count(b"modest..") == 50:
                break
        assert greedy.taken.count(b"greedy..") == 512, "its share of the turn in which they came, and none in line"
        await world.settle()
        assert (greedy.taken.count(b"greedy.."), modest.taken.count(b"modest..")) == (1_500, 50)

    run(work)


def test_handlers_of_streams_that_begin_and_those_that_are_woken_count_as_work() -> None:
    async def work(world: World) -> None:
        turns = world.engine.turns

        async def cost(sent: bytes) -> int:
            """Returns the units for what is sent to one that has the whole turn."""
            await world.settle()
            before = turns.share()
            world.transport.give(sent)
            return before - turns.share()

        begun = await cost(opened(20)), await cost(opened(20, call_headers(COLLECT), first=41))
        assert begun[1] >= begun[0] + 20 * 8
        part = message(b"abc")[:1]
        woken = [await cost(b"".join(frame(Kind.DATA, 0, first + 2 * n, part) for n in range(20))) for first in (1, 41)]
        assert woken[1] >= woken[0] + 20 * 4

    run(work)


@pytest.mark.parametrize(
    ("sizes", "least", "most"),
    [((250_000,), 500, 2_000), ((10, 250_000, 250_000, 250_000), 500, 2_000), ((10,) * 8, 100, 600)],
    ids=["large", "large after a small one", "small"],
)
def test_messages_that_are_unpacked_in_one_turn_are_few(sizes: tuple[int, ...], least: int, most: int) -> None:
    """Whatever came before them; and not only one, if they are small."""

    async def work(world: World) -> None:
        transports = [world.connect() for _ in range(16)]
        packed = b"".join(message(gzip.compress(bytes(size)), flag=1) for size in sizes)
        for transport in transports:
            greet(transport)
            transport.give(opened(1, call_headers(COLLECT, "gzip")))
        await world.settle()
        for transport in transports:
            transport.give(frame(Kind.DATA, 0, 1, packed))
        read, units = world.witness.messages, list[int]()
        for _ in range(200):
            before = len(read)
            await asyncio.sleep(0)
            units.append(sum(16 + len(one) // 512 for one in read[before:]))
        assert len(read) == 16 * len(sizes)
        assert least <= max(units) <= most

    run(work)


def test_calls_whose_time_is_up_together_end_in_turns() -> None:
    async def work(world: World) -> None:
        world.transport.give(opened(1_000, CALL + literal(b"grpc-timeout", b"1S")))
        await world.settle()
        held = world.engine.memory.held
        (connection,) = world.engine.connections
        connection.tick(asyncio.get_running_loop().time() + 2)
        assert world.engine.memory.held == held, "not at once"
        connection.tick(asyncio.get_running_loop().time() + 2)
        await asyncio.sleep(0)
        assert held // 2 < world.engine.memory.held < held
        await world.settle()
        assert not world.engine.memory.held
        assert world.transport.taken.count(b"grpc-status\x014") == 1_000

    run(work)


def test_calls_of_a_server_that_stops_end_in_turns_and_are_all_answered() -> None:
    async def work(world: World) -> None:
        world.transport.give(opened(1_000))
        await world.settle()
        held = world.engine.memory.held
        (connection,) = world.engine.connections
        connection.give_up()
        assert world.engine.memory.held == held, "not at once"
        await world.settle()
        assert world.transport.taken.count(b"grpc-status\x0214") == 1_000
        assert world.transport.has_ended

    run(work)


def test_calls_of_many_connections_that_are_lost_together_end_in_turns() -> None:
    async def work(world: World) -> None:
        transports = [world.connect() for _ in range(8)]
        for transport in transports:
            greet(transport)
            transport.give(called(100, WAITS, call_headers(SPREAD)))
        await world.settle()
        assert world.witness.running == 800
        for transport in transports:
            transport.cut()
        for _ in range(4):
            await asyncio.sleep(0)
        assert world.witness.running >= 200
        await world.settle()
        assert not world.witness.running

    run(work)


@pytest.mark.parametrize(("count", "ends"), [(19, False), (21, True)])
def test_calls_that_end_by_violations_end_their_connection_soon(count: int, ends: bool) -> None:
    async def work(world: World) -> None:
        for number in range(count):
            stream = 2 * number + 1
            world.transport.give(opened(1, first=stream) + window_update(stream, 0))
        await world.settle()
        assert world.transport.has_ended is ends

    run(work)


def test_calls_too_many_do_not_end_their_connection() -> None:
    """They break no rule: who has sent them may not have read the limit yet."""

    async def work(world: World) -> None:
        world.transport.give(opened(4096))
        await world.settle()
        world.transport.give(opened(300, first=2 * 4096 + 1))
        await world.settle()
        refused = frame(Kind.RST_STREAM, 0, 0, (7).to_bytes(4))[9:]
        assert world.transport.taken.count(refused) >= 300
        assert not world.transport.has_ended

    run(work)


@pytest.mark.parametrize("waited", [0.0, 2.0], ids=["at once", "after seconds"])
@pytest.mark.parametrize("path", [UNARY, SPREAD, COLLECT])
@pytest.mark.parametrize(
    "offence", [reset, lambda stream: window_update(stream, 0)], ids=["reset", "MadeYouReset by an increment of 0"]
)
def test_calls_that_are_reset_together_end_in_turns(waited: float, path: str, offence: Callable[[int], bytes]) -> None:
    """Their bytes are off the account at once, and nothing of them is sent any more."""

    async def work(world: World) -> None:
        transports = [world.connect() for _ in range(50)]
        for transport in transports:
            greet(transport)
            transport.give(b"" if path == COLLECT else called(16, WAITS, call_headers(path)))
            transport.give(opened(16, call_headers(path)) if path == COLLECT else b"")
        await world.settle()
        await world.wait(waited)
        assert world.witness.running == 800
        for transport in transports:
            transport.give(b"".join(map(offence, range(1, 32, 2))))
        # What is sent at once is the resets of its own.
        assert not world.engine.memory.held
        for _ in range(3):
            await asyncio.sleep(0)
        assert 800 - 3 * 200 <= world.witness.running < 800
        await world.settle()
        assert not world.witness.running
        assert not any(b"grpc-status" in transport.taken for transport in transports)
        assert not any(transport.has_ended for transport in transports)

    run(work)


def test_request_that_never_became_whole_makes_up_for_no_flood() -> None:
    async def work(world: World) -> None:
        world.transport.give(frame(Kind.PING, 0, 0, bytes(8)) * 9_900)
        await world.settle()
        world.transport.give(opened(500, CALL + literal(b"grpc-timeout", b"1S")))
        await world.wait(2.0)
        assert world.transport.taken.count(b"grpc-status\x014") == 500
        world.transport.give(frame(Kind.PING, 0, 0, bytes(8)) * 1_000)
        await world.settle()
        assert world.transport.has_ended

    run(work)


# Times.


def test_connection_that_made_its_first_calls_late_ages_like_any_other() -> None:
    """It was asked to go before it had aged: then its calls have the time that those of an old one have."""

    async def work(world: World) -> None:
        transport = world.transport

        async def answer_pings(seconds: int) -> None:
            for _ in range(seconds):
                await world.wait(1.0)
                transport.give(frame(Kind.PING, 0, 0, bytes(8)))

        await answer_pings(61)
        transport.give(called(1, WAITS))
        await world.settle()
        assert world.witness.running == 1
        await answer_pings(12)
        assert not world.witness.running
        assert b"The server is shutting down." in transport.taken

    run(work)


def test_headers_alone_are_no_call() -> None:
    async def work(world: World) -> None:
        connections = world.engine.connections
        world.transport.give(opened(3))
        await world.settle()
        assert not any(connection.has_called for connection in connections)
        world.transport.give(frame(Kind.DATA, END_STREAM, 1, WAITS))
        await world.settle()
        assert all(connection.has_called for connection in connections)

    run(work)
