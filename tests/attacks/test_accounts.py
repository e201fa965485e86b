"""The accounts of our own server by themselves: bytes that are held, work in a turn, floods, connections, times."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from allocation_gateway.wire import frames, message
from allocation_gateway.wire.connection_table import ConnectionTable, counted_address
from allocation_gateway.wire.errors import Http2ConnectionError
from allocation_gateway.wire.flood_budget import CREDIT_PER_CALL, CREDIT_PER_MESSAGE, FloodBudget
from allocation_gateway.wire.hpack import CompressionError, Decoder, ExcessiveError, literal
from allocation_gateway.wire.lifetime import Due, Lifetime
from allocation_gateway.wire.limits import Limits
from allocation_gateway.wire.memory import TLS_COST, ConnectionMemory, MemoryPool
from allocation_gateway.wire.message import UnreadableError
from allocation_gateway.wire.request import parse
from allocation_gateway.wire.streams import StreamTable
from allocation_gateway.wire.turns import NEWCOMER, TurnQueue, Turns, message_units, units, units_of_fields

if TYPE_CHECKING:
    from allocation_gateway.wire.call import Call

LIMITS: Final = Limits(
    message=262_144,
    metadata=16_384,
    calls=100,
    connections=3,
    connections_per_address=2,
    held=1_000,
    keepalive_time=60.0,
    keepalive_timeout=20.0,
    age=300.0,
    age_grace=60.0,
)


@dataclass
class FakeCall:
    """What the accounts know of a call."""

    charged: int = 0
    ended: int = 0

    def end(self) -> None:
        self.ended += 1


def call() -> Call:
    return cast("Call", FakeCall())


# Bytes.


def test_connection_that_holds_most_is_ended_when_all_hold_too_much() -> None:
    async def run() -> list[str]:
        pool, ended = MemoryPool(1_000), list[str]()
        loop = asyncio.get_running_loop()
        accounts = {
            name: ConnectionMemory(pool, loop, lambda name=name: ended.append(name))  # type: ignore[misc] # the default
            for name in ("small", "large", "medium")
        }
        for name, size in (("small", 200), ("large", 450), ("medium", 350)):
            pool.join(accounts[name])
            accounts[name].charge(call(), size)
        assert not ended
        accounts["small"].charge(call(), 1)
        assert not ended, "not in the middle of what it does"
        await asyncio.sleep(0)
        assert pool.held == 551
        return ended

    assert asyncio.run(run()) == ["large"]


def test_connection_is_tight_before_it_is_full_and_free_again_when_its_calls_are_over() -> None:
    async def run() -> None:
        pool = MemoryPool(1_000)
        account = ConnectionMemory(pool, asyncio.get_running_loop(), lambda: None)
        pool.join(account)
        one, other = call(), call()
        account.charge(one, 250)
        assert not account.is_tight
        account.charge(other, 1)
        assert account.is_tight
        assert not account.is_full
        account.charge(other, 250)
        assert account.is_full
        account.charge(other, -100)
        account.release(one)
        account.release(other)
        assert (account.held, pool.held) == (0, 0)

    asyncio.run(run())


def test_connection_is_tight_when_others_hold_much() -> None:
    async def run() -> None:
        pool, loop = MemoryPool(1_000), asyncio.get_running_loop()
        account, other = (ConnectionMemory(pool, loop, lambda: None) for _ in range(2))
        for one in (account, other):
            pool.join(one)
        other.charge(call(), 501)
        assert account.is_tight
        pool.leave(other)
        assert not account.is_tight

    asyncio.run(run())


def test_what_tls_takes_is_set_aside_up_to_half_of_all() -> None:
    pool = MemoryPool(100 * TLS_COST, max_message=1_000)
    pool.count_tls(10)
    assert pool.limit == 90 * TLS_COST
    pool.count_tls(1_000)
    assert pool.limit == 50 * TLS_COST
    pool.count_tls(-1_010)
    assert pool.limit == pool.whole


def test_room_is_left_for_some_of_the_largest_requests_however_many_have_tls() -> None:
    pool = MemoryPool(100 * TLS_COST, max_message=20 * TLS_COST)
    pool.count_tls(1_000)
    assert pool.limit == 80 * TLS_COST


# Work.


@dataclass(eq=False)
class Worker:
    """A connection with so much to do."""

    turns: Turns
    left: int
    name: str
    log: list[str] = field(default_factory=list)
    work_end: int = NEWCOMER

    def take_turn(self, share: int) -> int:
        done = min(share, self.left)
        self.left -= done
        self.log.append(self.name)
        if self.left:
            self.turns.line_up(self)
        return done

    def abort(self) -> None:
        self.log.append(f"{self.name} aborted")


class Broken(Worker):
    """A connection with a defect."""

    def take_turn(self, share: int) -> int:
        del share
        raise RuntimeError("a defect")


def test_connections_in_line_take_turns_and_others_are_served_in_between() -> None:
    async def run() -> None:
        turns, log = Turns(asyncio.get_running_loop()), list[str]()
        for name in "abcdef":
            turns.line_up(Worker(turns, 128, name, log))
        await asyncio.sleep(0)
        assert log == list("abcd"), "a turn has an end"
        await asyncio.sleep(0)
        assert log == list("abcd") + list("efab")
        await asyncio.sleep(0)
        assert log == list("abcd") + list("efab") + list("cdef")

    asyncio.run(run())


def test_connection_that_lines_up_twice_has_one_place() -> None:
    async def run() -> None:
        turns, log = Turns(asyncio.get_running_loop()), list[str]()
        one, other = (Worker(turns, 640, name, log) for name in "ab")
        for connection in (one, one, one, other, one):
            turns.line_up(connection)
        await asyncio.sleep(0)
        assert log == ["a", "b"]

    asyncio.run(run())


def test_connection_with_little_work_waits_for_none_of_those_that_have_had_much() -> None:
    """However many they are, each with large messages, of which the cost is known when they are unpacked."""

    class Dear(Worker):
        def take_turn(self, share: int) -> int:
            super().take_turn(share)
            return 512

    async def run() -> None:
        turns, log = Turns(asyncio.get_running_loop()), list[str]()
        for _ in range(64):
            turns.line_up(Dear(turns, 10_000, "dear", log))
        for _ in range(100):
            await asyncio.sleep(0)
        had = len(log)
        turns.line_up(Worker(turns, 16, "cheap", log, work_end=0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert "cheap" in log[had : had + 2]

    asyncio.run(run())


def test_work_for_fresh_bytes_counts_for_the_place_in_line() -> None:
    async def run() -> None:
        turns, log = Turns(asyncio.get_running_loop()), list[str]()
        greedy, other = (Worker(turns, 64, name, log, work_end=0) for name in ("greedy", "other"))
        turns.worked(greedy, 1_000)
        turns.line_up(greedy)
        turns.line_up(other)
        await asyncio.sleep(0)
        assert log == ["other", "greedy"]

    asyncio.run(run())


def test_connection_that_has_had_much_waits_for_a_while_and_not_for_all_that_it_had() -> None:
    """That of a proxy, while others fill the line."""

    async def run() -> None:
        turns, log = Turns(asyncio.get_running_loop()), list[str]()
        for _ in range(8):
            turns.line_up(Worker(turns, 100_000, "other", log, work_end=0))
        proxy = Worker(turns, 64, "proxy", log)
        for _ in range(1_000):
            turns.worked(proxy, 1_000)
        turns.line_up(proxy)
        for _ in range(50):
            await asyncio.sleep(0)
        assert log.index("proxy") == 8 * 512 / 64, "as long as a new connection"

    asyncio.run(run())


def test_fresh_bytes_share_a_turn_and_each_connection_may_make_a_call() -> None:
    async def run() -> None:
        turns = Turns(asyncio.get_running_loop())
        whole, one = turns.share(), Worker(turns, 0, "one")
        turns.worked(one, whole - 100)
        assert turns.share() == 100
        turns.worked(one, 100)
        least = turns.share()
        call = units(frames.HEADERS, frames.END_HEADERS, 200) + units(frames.DATA, frames.END_STREAM, 200)
        assert call <= least < whole
        await asyncio.sleep(0)
        assert turns.share() == whole

    asyncio.run(run())


def test_turn_of_many_connections_has_an_end() -> None:
    """Beyond it, even who asks for little waits in line."""

    async def run() -> None:
        turns, done = Turns(asyncio.get_running_loop()), 0
        for _ in range(2_000):
            share = min(turns.share(), 16)
            turns.worked(Worker(turns, 0, "one"), share)
            done += share
        assert 1_024 <= done <= 2_048 + 16
        await asyncio.sleep(0)
        assert turns.share() == 1_024

    asyncio.run(run())


def test_connection_with_a_defect_is_aborted_and_holds_up_no_other() -> None:
    async def run() -> None:
        turns, log = Turns(asyncio.get_running_loop()), list[str]()
        turns.line_up(Broken(turns, 1, "a", log))
        turns.line_up(Worker(turns, 300, "b", log))
        for _ in range(10):
            await asyncio.sleep(0)
        assert log == ["a aborted", *"bbbbb"]

    asyncio.run(run())


def test_connection_that_cannot_even_be_aborted_does_not_stop_the_line() -> None:
    class Stubborn(Broken):
        def abort(self) -> None:
            raise ValueError("another defect")

    async def run() -> None:
        loop, told = asyncio.get_running_loop(), list[Any]()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        turns, log = Turns(loop), list[str]()
        turns.line_up(Stubborn(turns, 1, "a", log))
        turns.line_up(Worker(turns, 300, "b", log))
        for _ in range(10):
            await asyncio.sleep(0)
        assert log == [*"bbbbb"]
        assert [str(one) for one in told] == ["another defect"]

    asyncio.run(run())


def test_call_that_cannot_be_ended_holds_up_no_other() -> None:
    def fails() -> None:
        raise ZeroDivisionError

    async def run() -> None:
        turns, one = Turns(asyncio.get_running_loop()), FakeCall()
        turns.end([fails, one.end])
        await asyncio.sleep(0)
        assert one.ended == 1

    asyncio.run(run())


def test_messages_are_read_of_one_connection_after_the_other() -> None:
    """However many streams one of them has."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        turns = Turns(loop)
        streams, other = TurnQueue(turns, loop), TurnQueue(turns, loop)
        many = [asyncio.create_task(streams.turn(64)) for _ in range(500)]
        one = asyncio.create_task(other.turn(64))
        for _ in range(3):
            await asyncio.sleep(0)
        assert one.done()
        assert not all(reader.done() for reader in many)
        await asyncio.gather(*many)

    asyncio.run(run())


@pytest.mark.parametrize(("size", "most"), [(100, 16), (262_144, 1)])
def test_few_messages_are_read_in_a_turn_if_they_become_large(size: int, most: int) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        turns, turn = Turns(loop), 0
        streams = [TurnQueue(turns, loop) for _ in range(64)]
        read: Counter[int] = Counter()

        async def reader(one: TurnQueue) -> None:
            for _ in range(3):
                await one.turn(message_units(size))
                read[turn] += 1

        tasks = [asyncio.create_task(reader(one)) for one in streams]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            turn += 1
        assert max(read.values()) == most

    asyncio.run(run())


@pytest.mark.parametrize("count", [1, 5, 50])
def test_what_a_message_has_cost_less_than_it_can_is_given_back(count: int) -> None:
    """Whether its queue has a place in the line again, as it has if others of its connection wait, or has none."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        turns, read = Turns(loop), Counter[str]()
        queues = {"known": TurnQueue(turns, loop), "unknown": TurnQueue(turns, loop)}

        async def reader(name: str, cost: int) -> None:
            while True:
                await queues[name].turn(cost)
                read[name] += 1
                if cost > 64:
                    queues[name].refund(cost - 64)
                await asyncio.sleep(0)

        costs = {"known": 64, "unknown": 528}
        tasks = [loop.create_task(reader(name, cost)) for name, cost in costs.items() for _ in range(count)]
        for _ in range(2_000):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        assert read["unknown"] >= 1_000 // 3
        assert read["known"] <= 1.1 * read["unknown"]

    asyncio.run(run())


def test_messages_and_ends_are_dealt_out_over_turns() -> None:
    async def run() -> None:
        turns = Turns(asyncio.get_running_loop())
        calls = [FakeCall() for _ in range(500)]
        turns.end([one.end for one in calls[:250]])
        turns.end([one.end for one in calls[250:]])
        assert not any(one.ended for one in calls), "what ends at the same moment has one turn, whose ever it is"
        await asyncio.sleep(0)
        assert 0 < sum(one.ended for one in calls) < 500
        streams = TurnQueue(turns, asyncio.get_running_loop())
        readers = [asyncio.create_task(streams.turn(64)) for _ in range(100)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert 0 < sum(reader.done() for reader in readers) < 100
        await asyncio.gather(*readers)
        assert {one.ended for one in calls} == {1}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "length", "more"),
    [(frames.HEADERS, 16_384, 100), (frames.SETTINGS, 16_384, 100), (frames.DATA, 16_384, 10), (frames.PING, 8, 0)],
)
def test_frames_that_cost_more_count_more(kind: int, length: int, more: int) -> None:
    assert units(kind, 0, length) >= 1 + more
    assert units(frames.DATA, 0, 1) == 1


def test_frame_that_ends_a_request_counts_the_handler_that_begins() -> None:
    for kind in (frames.DATA, frames.HEADERS):
        assert units(kind, frames.END_STREAM, 10) >= units(kind, 0, 10) + 10
    for kind in (frames.PING, frames.SETTINGS):
        assert units(kind, frames.ACK, 8) == units(kind, 0, 8), "the same flag means something else"


def test_fields_count_more_if_they_stand_for_much() -> None:
    assert units_of_fields(1_000) == 0
    assert units_of_fields(16_384) >= 100


# Metadata and messages.


REQUIRED: Final = [(":method", "POST"), (":scheme", "http"), (":path", "/a/b")]


def test_values_that_a_proxy_has_joined_are_few() -> None:
    usual = parse([*REQUIRED, ("a-bin", "QQ,Qg=="), ("b-bin", ""), ("c-bin", "QQ,,")])
    assert usual.metadata == (("a-bin", b"A"), ("a-bin", b"B"), ("b-bin", b""), ("c-bin", b"A"))
    for value in ("," * 4_000, "QQ," * 1_300, "?," * 2_000, ",".join(["QQ"] * 20)):
        fields = [*REQUIRED, *[("x-bin", value)] * 100, ("y", "1")]
        metadata = parse(fields).metadata
        assert len(metadata) < 100, value[:4]
        assert metadata[-1] == ("y", "1")


@pytest.mark.parametrize("members", [1, 2, 16])
def test_compressed_message_may_have_several_members(members: int) -> None:
    body = b"".join(gzip.compress(b"a" * 100) for _ in range(members))
    framed = b"\x01" + len(body).to_bytes(4, "big") + body
    assert message.read(framed, "gzip", 1_600) == b"a" * 100 * members
    with pytest.raises(UnreadableError, match="larger than"):
        message.read(framed, "gzip", 100 * members - 1)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"") * 1_000),
        ("gzip", gzip.compress(b"a") + b"b"),
        ("gzip", gzip.compress(b"a") + gzip.compress(b"b")[:-1]),
        ("deflate", zlib.compress(b"a") * 2),
    ],
    ids=["very many members", "something else", "a part of one", "no members at all"],
)
def test_compressed_message_ends_where_it_says(encoding: str, body: bytes) -> None:
    with pytest.raises(UnreadableError, match=f"not valid {encoding}"):
        message.read(b"\x01" + len(body).to_bytes(4, "big") + body, encoding, 100_000)


# Floods.


def test_budget_ends_comes_back_with_time_and_with_what_is_answered() -> None:
    budget = FloodBudget(0.0)
    for _ in range(10_000):
        budget.charge()
    budget.credit(CREDIT_PER_CALL, sent=512)
    budget.charge(11)
    budget.credit(CREDIT_PER_MESSAGE, sent=0)
    budget.charge(4)
    budget.refill(2.0)
    budget.charge(201)
    with pytest.raises(Http2ConnectionError) as raised:
        budget.charge()
    assert raised.value.code == frames.ENHANCE_YOUR_CALM


def test_streams_that_were_reset_are_forgotten_in_favour_of_the_client() -> None:
    """As long as it cannot be known any more, what comes for them is taken to have been on its way."""
    streams = StreamTable()
    streams.last = 100_001
    for stream in range(1, 10_000, 2):
        streams.note_reset(stream)
    assert all(streams.was_reset(stream) for stream in range(1, 10_000, 2))
    assert not streams.was_reset(10_001)


@pytest.mark.parametrize(
    "block",
    [
        literal(b"x-a", b"y" * 3_900) + b"\x40\x01a" + b"\x7f\xbd\x1e" + b"z" * 4_028 + b"\xbe" * 20,
        literal(b"a", b"") * 513,
        b"\x90" * 513,
    ],
    ids=["much from one entry", "many small fields", "many fields of the table"],
)
def test_field_blocks_that_stand_for_much_are_not_decoded_to_their_end(block: bytes) -> None:
    with pytest.raises(ExcessiveError):
        Decoder(16_384).decode(block)


def test_field_block_that_is_too_large_is_decoded_for_the_table() -> None:
    decoder = Decoder(16_384)
    assert decoder.decode(b"\x40\x01a\x01b" + literal(b"x-large", b"x" * 40_000)) is None
    assert decoder.decode(b"\xbe") == [("a", "b")]


@pytest.mark.parametrize(("count", "is_read"), [(2, True), (3, False), (16_000, False)])
def test_field_block_begins_with_few_size_updates(count: int, is_read: bool) -> None:
    block = b"\x20" * count + literal(b"a", b"b")
    if is_read:
        assert Decoder(16_384).decode(block) == [("a", "b")]
        return
    with pytest.raises(CompressionError):
        Decoder(16_384).decode(block)


# Connections.


@dataclass(eq=False)
class FakeConnection:
    """What the table knows of a connection."""

    address: str
    has_called: bool = False
    aborted: bool = False
    lost: Any = None

    def abort(self) -> None:
        self.aborted = True

    def stop(self) -> None: ...

    def give_up(self) -> list[asyncio.Task[None]]:
        return []

    def tick(self, now: float) -> None: ...


def test_connections_are_limited_for_each_address() -> None:
    table = ConnectionTable(LIMITS)
    first, second, third, other = (FakeConnection(address) for address in ("a", "a", "a", "b"))
    assert table.admit(first)
    assert table.admit(second)
    assert not table.admit(third)
    assert table.admit(other)
    table.discard(third)
    table.discard(first)
    table.discard(first)
    assert table.admit(third)
    assert len(table) == 3
    assert table.refused == 1


def test_oldest_connection_that_has_made_no_call_makes_room() -> None:
    table = ConnectionTable(replace(LIMITS, connections_per_address=10))
    busy, idle, idler, late, later = (FakeConnection("a") for _ in range(5))
    for one in (busy, idle, idler):
        assert table.admit(one)
    busy.has_called = True
    assert table.admit(late)
    assert [one.aborted for one in (busy, idle, idler)] == [False, True, False]
    idler.has_called = late.has_called = True
    assert not table.admit(later)
    assert list(table) == [busy, idler, late]
    assert table.refused == 2


def test_connections_count_before_their_greeting_has_ended() -> None:
    table = ConnectionTable(LIMITS)
    assert table.admit(FakeConnection("a"))
    assert table.greet("a")
    assert not table.greet("a")
    table.greeted("a")
    assert table.greet("a")
    assert table.greet("b")
    assert table.greet("c")
    assert not table.greet("d"), "as many in all as there may be connections"
    assert table.refused == 2


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_network_of_ipv6_counts_as_one_address(address: str, counted: str) -> None:
    assert counted_address(address) == counted


# Times.


def test_connection_has_to_begin_and_to_make_a_call_in_time() -> None:
    silent, idle, busy = (Lifetime(LIMITS, 0.0) for _ in range(3))
    for one in (idle, busy):
        one.settings_received()
    assert silent.due(9.0, 0, has_called=False) is Due.NOTHING
    assert silent.due(11.0, 0, has_called=False) is Due.ABORT
    for one in (idle, busy):
        one.heard(61.0)
    assert idle.due(59.0, 0, has_called=False) is Due.NOTHING
    assert idle.due(61.0, 0, has_called=False) is Due.DRAIN
    assert busy.due(61.0, 0, has_called=True) is Due.NOTHING


def test_silent_connection_is_probed_and_then_let_go() -> None:
    one = Lifetime(LIMITS, 0.0)
    one.settings_received()
    assert one.due(60.0, 0, has_called=True) is Due.PROBE
    assert one.due(79.0, 0, has_called=True) is Due.NOTHING
    assert one.due(81.0, 0, has_called=True) is Due.ABORT


def test_peer_that_reads_slowly_is_there() -> None:
    one = Lifetime(LIMITS, 0.0)
    one.settings_received()
    assert one.due(1.0, 1_000, has_called=True) is Due.NOTHING
    assert one.due(60.0, 900, has_called=True) is Due.NOTHING
    assert one.due(119.0, 900, has_called=True) is Due.NOTHING
    assert one.due(121.0, 900, has_called=True) is Due.PROBE


def test_old_connection_is_drained_refuses_calls_and_ends_them() -> None:
    one = Lifetime(LIMITS, 0.0)
    one.settings_received()
    one.heard(331.0)
    assert one.due(331.0, 0, has_called=True) is Due.DRAIN
    one.drained(331.0)
    assert one.due(331.5, 0, has_called=True) is Due.NOTHING
    assert one.due(333.0, 0, has_called=True) is Due.REFUSE_NEW_CALLS
    one.heard(392.0)
    assert one.due(392.0, 0, has_called=True) is Due.END_CALLS
    one.closing(392.0)
    assert one.due(393.0, 0, has_called=True) is Due.NOTHING
    assert one.due(395.0, 0, has_called=True) is Due.CLOSE
    assert one.due(395.0, 10, has_called=True) is Due.NOTHING
    assert one.due(413.0, 10, has_called=True) is Due.ABORT


@pytest.mark.parametrize("at", [61.0, 331.0], ids=["without a call", "of age"])
def test_calls_of_a_connection_that_was_asked_to_go_have_an_end(at: float) -> None:
    """Whatever the reason: only if the server stops, it says itself how long they have."""
    one, stopped = (Lifetime(LIMITS, 0.0) for _ in range(2))
    for each, is_stopping in ((one, False), (stopped, True)):
        each.settings_received()
        each.drained(at, is_stopping=is_stopping)
        each.heard(at + 61.0)
    assert one.calls_end_at == at + 60.0
    assert one.due(at + 61.0, 0, has_called=True) is Due.END_CALLS
    assert stopped.due(at + 61.0, 0, has_called=True) is Due.REFUSE_NEW_CALLS
