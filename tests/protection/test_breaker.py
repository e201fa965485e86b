"""The circuit breaker beside a model that keeps every end of a request in a list."""

from __future__ import annotations

from typing import Any

from allocation_gateway.protection.breaker import REFUSED, Breaker, BreakerOptions, BreakerState
from allocation_gateway.upstream.call import CallOutcome
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.clock import Clock

OPTIONS = BreakerOptions(window=10.0, min_calls=4, failure_ratio=0.5, open_time=5.0, probes=2)
# With the random number of these tests, an open breaker stays so for this part of the open time more.
JITTER = 1.125


def made(clock: Clock, told: list[BreakerState] | None = None) -> Breaker:
    told = [] if told is None else told
    return Breaker(OPTIONS, clock=clock, random=lambda: 0.5, on_change=lambda state, _: told.append(state))


def opened(clock: Clock) -> Breaker:
    breaker = made(clock)
    for _ in range(4):
        breaker.end(breaker.begin(), CallOutcome.FAILURE)
    return breaker


def state_of(breaker: Breaker) -> BreakerState:
    """Returns the state: asked by a function, so that the type checker does not take it for what it was before."""
    return breaker.state


def closed_by_probes(breaker: Breaker, clock: Clock) -> None:
    """Lets time pass and upstream recover."""
    clock.advance(OPTIONS.open_time * 8 * JITTER)
    for _ in range(OPTIONS.probes):
        breaker.end(breaker.begin(), CallOutcome.SUCCESS)


class Modelled(RuleBasedStateMachine):
    """Any sequence of begins, ends and pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = made(self.clock)
        self.under_way: list[tuple[int, int]] = []  # the ticket, and which period of the model it began in
        self.period = 0
        self.state = BreakerState.CLOSED
        self.ends: list[tuple[int, bool]] = []
        self.until = 0.0
        self.failed_in_a_row = 0
        self.answers = 0

    def enter(self, state: BreakerState) -> None:
        self.state = state
        self.period += 1

    def open(self) -> None:
        self.until = self.clock.now + OPTIONS.open_time * min(2**self.failed_in_a_row, 8) * JITTER
        self.enter(BreakerState.OPEN)

    def tenth(self) -> int:
        return int(self.clock.now / (OPTIONS.window / 10))

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 4.0, 6.0, 11.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def begin(self) -> None:
        ticket = self.breaker.begin()
        if self.state is BreakerState.OPEN and self.clock.now >= self.until:
            self.answers = 0
            self.enter(BreakerState.HALF_OPEN)
        probes = sum(period == self.period for _, period in self.under_way)
        refused = self.state is BreakerState.OPEN or (self.state is BreakerState.HALF_OPEN and probes >= OPTIONS.probes)
        assert (ticket == REFUSED) == refused
        if not refused:
            self.under_way.append((ticket, self.period))

    @precondition(lambda self: self.under_way)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.FAILURE, CallOutcome.IGNORED]),
    )
    def end(self, data: Any, outcome: CallOutcome) -> None:
        ticket, period = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.breaker.end(ticket, outcome)
        if period != self.period or outcome is CallOutcome.IGNORED:
            return
        failed = outcome is CallOutcome.FAILURE
        if self.state is BreakerState.CLOSED:
            self.ends.append((self.tenth(), failed))
            counted = [one for tenth, one in self.ends if tenth > self.tenth() - 10]
            if failed and len(counted) >= OPTIONS.min_calls and sum(counted) >= len(counted) * OPTIONS.failure_ratio:
                self.open()
        elif failed:
            self.failed_in_a_row += 1
            self.open()
        else:
            self.answers += 1
            if self.answers == OPTIONS.probes:
                self.failed_in_a_row = 0
                self.ends = []
                self.enter(BreakerState.CLOSED)

    @invariant()
    def agrees(self) -> None:
        assert self.breaker.state is self.state
        if self.state is BreakerState.CLOSED:
            assert self.breaker.wait() == 0
        if self.state is BreakerState.OPEN:
            assert self.breaker.wait() == max(self.until - self.clock.now, 0)

    def teardown(self) -> None:
        """From wherever it is, with whatever under way: once upstream answers it is closed again."""
        for ticket, _ in self.under_way:
            self.breaker.end(ticket, CallOutcome.IGNORED)
        if self.breaker.state is not BreakerState.CLOSED:
            closed_by_probes(self.breaker, self.clock)
        assert self.breaker.state is BreakerState.CLOSED


TestModelled = Modelled.TestCase
TestModelled.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_few_failures_or_a_small_part_of_them_do_not_open_it() -> None:
    clock = Clock()
    breaker = made(clock)
    for outcome in [CallOutcome.FAILURE] * 3 + [CallOutcome.SUCCESS] * 4:
        breaker.end(breaker.begin(), outcome)
    assert state_of(breaker) is BreakerState.CLOSED
    breaker.end(breaker.begin(), CallOutcome.FAILURE)
    assert state_of(breaker) is BreakerState.OPEN


def test_failures_of_long_ago_do_not_count() -> None:
    clock = Clock()
    breaker = made(clock)
    for _ in range(3):
        breaker.end(breaker.begin(), CallOutcome.FAILURE)
    clock.advance(OPTIONS.window)
    breaker.end(breaker.begin(), CallOutcome.FAILURE)
    assert state_of(breaker) is BreakerState.CLOSED


def test_probes_that_end_without_a_outcome_make_room_for_others() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.advance(OPTIONS.open_time * JITTER)
    for _ in range(10):
        tickets = [breaker.begin() for _ in range(OPTIONS.probes)]
        assert REFUSED not in tickets
        assert breaker.begin() == REFUSED
        assert breaker.wait() > 0
        for ticket in tickets:
            breaker.end(ticket, CallOutcome.IGNORED)
    closed_by_probes(breaker, clock)
    assert state_of(breaker) is BreakerState.CLOSED


def test_what_began_before_it_opened_is_of_no_account_afterwards() -> None:
    clock = Clock()
    breaker = made(clock)
    early = [breaker.begin() for _ in range(20)]
    for ticket in early[:4]:
        breaker.end(ticket, CallOutcome.FAILURE)
    wait = breaker.wait()
    for ticket in early[4:8]:
        breaker.end(ticket, CallOutcome.FAILURE)
    assert breaker.wait() == wait
    clock.advance(wait)
    probe = breaker.begin()
    for ticket in early[8:12]:
        breaker.end(ticket, CallOutcome.FAILURE)
    for ticket in early[12:16]:
        breaker.end(ticket, CallOutcome.SUCCESS)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.end(probe, CallOutcome.SUCCESS)
    breaker.end(breaker.begin(), CallOutcome.SUCCESS)
    for ticket in early[16:]:
        breaker.end(ticket, CallOutcome.FAILURE)
    assert state_of(breaker) is BreakerState.CLOSED


def test_an_upstream_that_stays_down_is_tried_ever_more_rarely_up_to_a_limit() -> None:
    clock = Clock()
    breaker = opened(clock)
    waits = []
    for _ in range(6):
        waits.append(breaker.wait())
        clock.advance(breaker.wait())
        breaker.end(breaker.begin(), CallOutcome.FAILURE)
    assert waits == [OPTIONS.open_time * JITTER * factor for factor in (1, 2, 4, 8, 8, 8)]
    closed_by_probes(breaker, clock)
    for _ in range(4):
        breaker.end(breaker.begin(), CallOutcome.FAILURE)
    assert breaker.wait() == OPTIONS.open_time * JITTER


def test_each_change_of_state_is_told_once() -> None:
    clock = Clock()
    told: list[BreakerState] = []
    breaker = made(clock, told)
    for _ in range(6):
        breaker.end(breaker.begin(), CallOutcome.FAILURE)
    closed_by_probes(breaker, clock)
    assert told == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_what_opened_it_is_forgotten_once_upstream_answers_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.advance(OPTIONS.open_time * JITTER)  # less than the window
    for outcome in [CallOutcome.SUCCESS] * OPTIONS.probes + [CallOutcome.FAILURE] * 3:
        breaker.end(breaker.begin(), outcome)
    assert state_of(breaker) is BreakerState.CLOSED


def test_what_the_metric_shows_does_not_wait_for_a_call() -> None:
    """An API that nobody calls any more is not told to be kept from being called for ever."""
    clock = Clock()
    breaker = opened(clock)
    assert breaker.shown() == 2
    clock.advance(OPTIONS.open_time * JITTER)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.shown() == 1
    tickets = [breaker.begin() for _ in range(OPTIONS.probes)]
    assert breaker.shown() == 1
    for ticket in tickets:
        breaker.end(ticket, CallOutcome.SUCCESS)
    assert breaker.shown() == 0
