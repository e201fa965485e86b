"""The limit of requests under way, under real asyncio, in virtual time.

Any schedule of arrivals, departures, cancellations and pauses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from allocation_gateway.protection.concurrency import ConcurrencyLimiter
from allocation_gateway.protection.model import RejectedError
from allocation_gateway.protection.rate import TokenBucket
from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.protection.concurrency import Lane

MOST = 3
LIMIT = 4
QUEUE = 5
LONGEST = 1.0
HOUR = 3600.0


class Callers:
    """A limiter, and everyone who comes to it.

    Attributes:
        inside: Who has a place, with its lane.
        order: Who got a place after waiting, by lane, in the order in which they got it.
        refused: How long each one had waited that was refused.
    """

    def __init__(self, *, most: int = MOST, limit: int = LIMIT, queue: int = QUEUE, rate: float = 0.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.bucket = TokenBucket(rate, 2, clock=self.loop.time)
        self.lengths: dict[str, int] = {}
        self.limiter = ConcurrencyLimiter(
            most, limit, queue, LONGEST, bucket=self.bucket, clock=self.loop.time, on_queue_change=self._queue_changed
        )
        self.most, self.limit = most, limit
        self.inside: dict[int, Lane] = {}
        self.order: dict[str, list[int]] = {"write": [], "read": []}
        self.times: list[float] = []
        self.refused: dict[int, tuple[float, RejectedError]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def _queue_changed(self, lane: Lane) -> None:
        self.lengths[lane.name] = len(lane.queue)

    def lanes(self) -> tuple[Lane, Lane]:
        return self.limiter.writes, self.limiter.reads

    def arrive(self, lane: Lane, patience: float = HOUR) -> int:
        number = len(self.tasks)
        self.tasks.append(asyncio.create_task(self._call(number, lane, patience)))
        return number

    async def _call(self, number: int, lane: Lane, patience: float) -> None:
        came = self.loop.time()
        try:
            if self.limiter.try_acquire(lane):
                assert not lane.queue, "somebody was overtaken by a newcomer"
            else:
                await self.limiter.acquire(lane, came + patience)
                # Not those who entered at once: who has been called before may take note of it only after them.
                self.order[lane.name].append(number)
        except RejectedError as error:
            self.refused[number] = self.loop.time() - came, error
            return
        self.inside[number] = lane
        self.times.append(self.loop.time())

    def leave(self, number: int, seconds: float = 0.0) -> None:
        self.limiter.release(self.inside.pop(number), seconds)

    async def settle(self) -> None:
        """Lets everything happen that can happen without time passing."""
        for _ in range(8):
            await asyncio.sleep(0)

    def check_counts(self) -> None:
        held = [lane.name for lane in self.inside.values()]
        assert len(held) <= self.limit
        assert max(held.count("write"), held.count("read")) <= self.most

    def check_nobody_waits_in_vain(self) -> None:
        """No lost wake-up: without a rate limit, whoever waits does so since its places are taken."""
        writes, reads = self.lanes()
        assert writes.in_use + reads.in_use == len(self.inside)
        for lane in (writes, reads):
            assert not any(place.done() for place in lane.queue)
            if lane.queue:
                assert lane.in_use == self.most or len(self.inside) == self.limit

    async def check_whole(self) -> None:
        """Everybody gone, nothing is left behind, and all places can be taken again."""
        for number in list(self.inside):
            self.leave(number)
        await asyncio.sleep(LONGEST)
        await self.settle()
        for number in list(self.inside):
            self.leave(number)
        assert all(task.done() for task in self.tasks)
        for task in self.tasks:
            if not task.cancelled():
                task.result()
        writes, reads = self.lanes()
        assert [writes.in_use, reads.in_use, len(writes.queue), len(reads.queue)] == [0, 0, 0, 0]
        assert not any(self.lengths.values())
        await asyncio.sleep(60)
        got = [self.limiter.try_acquire(lane) for lane in [writes] * self.most + [reads] * (self.limit - self.most)]
        assert all(got[: self.limit if not self.bucket.wait(1) else 2])
        assert not self.limiter.try_acquire(reads)


LANES = st.sampled_from([0, 0, 1])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), LANES, st.sampled_from([0.0, 0.2, 0.6, HOUR])),
        st.tuples(st.just("arrive"), LANES, st.just(HOUR)),
        st.tuples(st.just("leave"), st.integers(0, 50), st.sampled_from([0.0, 0.05, 0.2])),
        st.tuples(st.just("leave"), st.integers(0, 50), st.just(0.01)),
        st.tuples(st.just("cancel"), st.integers(0, 50), st.just(0.0)),
        st.tuples(st.just("cancel"), st.integers(-3, -1), st.just(0.0)),
        # A caller that is cancelled in the same moment in which it gets its place.
        st.tuples(st.just("leave and cancel"), st.integers(0, 50), st.just(0.0)),
        st.tuples(st.just("yield"), st.just(0), st.just(0.0)),
        st.tuples(st.just("sleep"), st.just(0), st.sampled_from([0.05, 0.3, 1.0])),
        st.tuples(st.just("pause"), st.just(0), st.sampled_from([0.1, 0.7])),
    ),
    min_size=20,
    max_size=150,
)


async def act(callers: Callers, what: str, which: int, number: float) -> None:
    """Does one thing of a schedule."""
    if what == "arrive":
        callers.arrive(callers.lanes()[which], number)
    if what.startswith("leave") and callers.inside:
        callers.leave(list(callers.inside)[which % len(callers.inside)], number)
    if what.endswith("cancel") and callers.tasks:
        callers.tasks[which % len(callers.tasks)].cancel()
    if what == "pause":
        callers.bucket.pause(number)
    if what in {"yield", "sleep"}:
        await asyncio.sleep(number)


async def play(actions: Sequence[tuple[str, int, float]], rate: float | None) -> None:
    """Plays a schedule; without a rate also without pauses, so that nothing but places is waited for."""
    callers = Callers(rate=rate or 0.0)
    for what, which, number in actions:
        if what == "pause" and rate is None:
            continue
        await act(callers, what, which, number)
        callers.check_counts()
        if what in {"yield", "sleep"} and rate is None:
            await callers.settle()
            callers.check_nobody_waits_in_vain()
    for order in callers.order.values():
        assert order == sorted(order), "somebody was overtaken in its own line"
    assert all(waited <= LONGEST + 1e-6 for waited, _ in callers.refused.values())
    await callers.check_whole()
    if rate:
        for first, start in enumerate(callers.times):
            for last, end in enumerate(callers.times[first:]):
                assert last + 1 <= 2 + rate * (end - start) + 1e-3


@pytest.mark.properties
@given(actions=ACTIONS)
@settings(max_examples=150, deadline=None)
def test_no_schedule_loses_a_place_lets_in_too_many_or_leaves_somebody_waiting(
    actions: list[tuple[str, int, float]],
) -> None:
    run(play(actions, None))


@pytest.mark.properties
@given(actions=ACTIONS, rate=st.sampled_from([0.0, 2.0, 10.0, 100.0]))
@settings(max_examples=150, deadline=None)
def test_nor_does_one_with_a_rate_limit_and_pauses(actions: list[tuple[str, int, float]], rate: float) -> None:
    run(play(actions, rate))


def test_a_line_is_served_in_the_order_of_arrival() -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        for _ in range(5):
            callers.arrive(callers.limiter.writes)
        await callers.settle()
        for expected in range(5):
            assert list(callers.inside) == [expected]
            callers.leave(expected)
            await callers.settle()

    run(work())


def test_who_is_cancelled_makes_room_in_the_line_at_once() -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        for _ in range(1 + QUEUE):
            callers.arrive(callers.limiter.writes)
        await callers.settle()
        for task in callers.tasks[1:]:
            task.cancel()
        await callers.settle()
        assert callers.lengths == {"write": 0}
        last = callers.arrive(callers.limiter.writes)
        await callers.settle()
        callers.leave(0)
        await callers.settle()
        assert list(callers.inside) == [last]

    run(work())


def test_whoever_comes_later_does_not_overtake_who_has_just_been_called() -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        first, second = callers.arrive(callers.limiter.writes), callers.arrive(callers.limiter.writes)
        await callers.settle()
        callers.leave(first)
        assert not callers.limiter.try_acquire(callers.limiter.writes)
        await callers.settle()
        assert list(callers.inside) == [second]

    run(work())


def test_writes_that_fill_their_places_and_their_line_leave_places_for_reads_and_the_other_way_round() -> None:
    async def work(mine: int) -> None:
        callers = Callers()
        lane, other = callers.lanes()[mine], callers.lanes()[1 - mine]
        for _ in range(MOST + QUEUE):
            callers.arrive(lane)
        await callers.settle()
        assert lane.in_use == MOST
        assert len(lane.queue) == QUEUE
        assert callers.limiter.try_acquire(other)

    run(work(0))
    run(work(1))


def test_where_writes_and_reads_wait_they_take_turns() -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        callers.arrive(callers.limiter.writes)
        await callers.settle()
        for lane in [callers.limiter.writes] * 3 + [callers.limiter.reads] * 3:
            callers.arrive(lane)
        await callers.settle()
        served = []
        while callers.inside:
            number, lane = next(iter(callers.inside.items()))
            served.append(lane.name)
            callers.leave(number)
            await callers.settle()
        assert served == ["write", "read", "write", "read", "write", "read", "write"]

    run(work())


@pytest.mark.parametrize(
    ("service", "patience", "admitted"),
    [
        (0.2, HOUR, 4),  # 4 * 0.2 and the caution are within the longest wait
        (0.5, HOUR, 1),
        (2.0, HOUR, 0),
        (0.2, 0.5, 1),  # the wait and the service have to fit into what the caller has left
        (0.2, 0.1, 0),
    ],
)
def test_whoever_cannot_be_served_in_time_is_refused_at_once(service: float, patience: float, admitted: int) -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        assert callers.limiter.try_acquire(callers.limiter.writes)
        callers.limiter.release(callers.limiter.writes, service)
        assert callers.limiter.try_acquire(callers.limiter.writes)
        for _ in range(QUEUE):
            callers.arrive(callers.limiter.writes, patience)
        await callers.settle()
        assert len(callers.limiter.writes.queue) == admitted
        assert len(callers.refused) == QUEUE - admitted
        for waited, error in callers.refused.values():
            assert waited == 0
            assert error.policy == "queue"
            assert error.seconds == pytest.approx(service * (admitted + 1))

    run(work())


def test_the_estimate_follows_how_long_requests_take_now() -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        for seconds in [5.0] + [0.1] * 60:
            assert callers.limiter.try_acquire(callers.limiter.writes)
            callers.limiter.release(callers.limiter.writes, seconds)
        assert callers.limiter.try_acquire(callers.limiter.writes)
        callers.arrive(callers.limiter.writes)
        await callers.settle()
        assert not callers.refused

    run(work())


def test_who_takes_turns_with_the_other_line_for_tokens_is_told_so_in_time() -> None:
    async def work() -> None:
        callers = Callers(rate=5.0)
        for lane in callers.lanes():
            assert callers.limiter.try_acquire(lane)
        for _ in range(2):
            callers.arrive(callers.limiter.reads)
        await callers.settle()
        # Every second token goes to a read: the second write would get the fourth one, after 0.8 seconds.
        callers.arrive(callers.limiter.writes)
        await callers.settle()
        with pytest.raises(RejectedError) as caught:
            await callers.limiter.acquire(callers.limiter.writes, callers.loop.time() + 0.7)
        assert caught.value.seconds == pytest.approx(0.8)

    run(work())


def test_the_line_has_an_end_also_while_nothing_is_known_of_how_long_requests_take() -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        for _ in range(1 + QUEUE + 3):
            callers.arrive(callers.limiter.writes)
        await callers.settle()
        assert len(callers.limiter.writes.queue) == QUEUE
        assert [waited for waited, _ in callers.refused.values()] == [0, 0, 0]

    run(work())


@pytest.mark.parametrize(("patience", "waited"), [(HOUR, LONGEST), (0.3, 0.3)])
def test_whoever_still_waits_when_its_time_is_up_is_refused_then(patience: float, waited: float) -> None:
    async def work() -> None:
        callers = Callers(most=1, limit=1)
        callers.arrive(callers.limiter.writes)
        await callers.settle()
        late = callers.arrive(callers.limiter.writes, patience)
        await callers.tasks[late]
        assert callers.refused[late][0] == pytest.approx(waited)
        assert not callers.limiter.writes.queue

    run(work())


def test_what_a_pause_or_the_rate_makes_too_late_is_refused_at_once_for_that_reason() -> None:
    async def work() -> None:
        callers = Callers(rate=1.0)
        assert callers.limiter.try_acquire(callers.limiter.writes)
        assert callers.limiter.try_acquire(callers.limiter.writes)
        slow = callers.arrive(callers.limiter.writes)
        callers.bucket.pause(30.0)
        paused = callers.arrive(callers.limiter.reads)
        await callers.settle()
        assert [callers.refused[number][1].policy for number in (slow, paused)] == ["throttle", "throttle"]
        assert callers.refused[paused][1].seconds == 30.0
        await asyncio.sleep(30.0)
        for _ in range(2):
            callers.limiter.release(callers.limiter.writes, 0.0)
        await asyncio.gather(*[callers.tasks[callers.arrive(callers.limiter.writes)] for _ in range(3)])
        assert [error.policy for _, error in list(callers.refused.values())[2:]] == ["rate"]

    run(work())


def test_nobody_snatches_the_token_of_whoever_waits_for_it() -> None:
    async def work() -> None:
        callers = Callers(rate=10_000.0)
        assert callers.limiter.try_acquire(callers.limiter.writes)
        assert callers.limiter.try_acquire(callers.limiter.writes)
        first = callers.arrive(callers.limiter.writes)
        # The token is there, and the timer that gives it away is not due yet.
        await asyncio.sleep(0.0005)
        assert callers.bucket.wait(1) == 0
        assert not any(callers.limiter.try_acquire(lane) for lane in callers.lanes())
        await callers.tasks[first]

    run(work())


def test_a_short_pause_is_waited_for() -> None:
    async def work() -> None:
        callers = Callers()
        callers.bucket.pause(0.5)
        numbers = [callers.arrive(lane) for lane in callers.lanes()]
        await asyncio.gather(*callers.tasks)
        assert sorted(callers.inside) == numbers
        assert callers.times == pytest.approx([callers.times[0]] * 2)

    run(work())


def test_thousands_of_cancelled_callers_under_a_loop_in_real_time_leave_the_limiter_whole() -> None:
    async def work() -> None:
        callers = Callers(most=20, limit=22, queue=5000)

        async def hold(number: int) -> None:
            await callers.tasks[number]
            if number in callers.inside:
                await asyncio.sleep(0.001)
                callers.leave(number, 0.001)

        holders = []
        for turn in range(3000):
            number = callers.arrive(callers.lanes()[turn % 3 == 0])
            holders.append(asyncio.create_task(hold(number)))
            if turn % 2:
                callers.tasks[(turn * 7919) % (turn + 1)].cancel()
            if turn % 50 == 0:
                await asyncio.sleep(0.001)
            callers.check_counts()
        await asyncio.wait_for(asyncio.gather(*holders, return_exceptions=True), 20)
        writes, reads = callers.lanes()
        assert [writes.in_use, reads.in_use, len(writes.queue), len(reads.queue)] == [0, 0, 0, 0]
        assert all(callers.limiter.try_acquire(lane) for lane in [writes] * 20 + [reads] * 2)

    asyncio.run(work())
