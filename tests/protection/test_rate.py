"""The token bucket: never more than it says in any span of time, and never less than it could."""

from __future__ import annotations

import pytest
from allocation_gateway.protection.rate import LONGEST_PAUSE, TokenBucket
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock

RATES = st.sampled_from([0.5, 3.0, 10.0, 333.3])
STEPS = st.lists(st.one_of(st.just("take"), st.floats(0.0, 3.0)), max_size=120)


@given(rate=RATES, burst=st.integers(1, 5), steps=STEPS)
def test_in_any_span_of_time_there_are_at_most_the_burst_and_the_rate(
    rate: float, burst: int, steps: list[str | float]
) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock=clock)
    taken: list[float] = []
    for step in steps:
        if not isinstance(step, str):
            clock.advance(step)
        elif (seconds := bucket.take()) == 0:
            taken.append(clock.now)
        else:
            # As long as it says, and no longer: the next one gets its token then.
            before = clock.now
            clock.advance(seconds * 0.9)
            assert bucket.wait(1) > 0
            clock.now = before + seconds
            assert bucket.take() == 0
            taken.append(clock.now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - taken[first]) + 1e-3


@given(rate=RATES, burst=st.integers(1, 5), calls=st.integers(1, 20))
def test_the_wait_for_a_place_in_the_line_is_when_its_token_comes(rate: float, burst: int, calls: int) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock=clock)
    foreseen = clock.now + bucket.wait(calls)
    for _ in range(calls):
        clock.advance(bucket.wait(1))
        assert bucket.take() == 0
    assert clock.now == pytest.approx(foreseen)


def test_without_a_rate_there_is_no_limit_but_what_upstream_asks_for() -> None:
    clock = Clock()
    bucket = TokenBucket(0.0, 1, clock=clock)
    assert [bucket.take() for _ in range(1000)] == [0.0] * 1000
    bucket.pause(3.0)
    bucket.pause(1.0)
    assert (bucket.take(), bucket.policy) == (3.0, "throttle")
    clock.advance(2.9)
    assert bucket.take() == pytest.approx(0.1)
    clock.advance(0.1)
    assert (bucket.take(), bucket.take(), bucket.policy) == (0.0, 0.0, "rate")


def test_a_pause_holds_a_limited_account_too_and_its_tokens_come_meanwhile() -> None:
    clock = Clock()
    bucket = TokenBucket(1.0, 2, clock=clock)
    assert [bucket.take(), bucket.take(), bucket.take()] == [0.0, 0.0, 1.0]
    bucket.pause(5.0)
    assert [bucket.wait(1), bucket.wait(2), bucket.wait(6)] == [5.0, 5.0, 6.0]
    clock.advance(5.0)
    assert [bucket.take(), bucket.take(), bucket.take()] == [0.0, 0.0, 1.0]


def test_a_pause_lasts_no_longer_than_its_limit_whatever_was_asked_for() -> None:
    clock = Clock()
    bucket = TokenBucket(0.0, 1, clock=clock)
    bucket.pause(3600.0)
    assert bucket.wait(1) == LONGEST_PAUSE


def test_a_token_that_was_not_used_is_there_for_another_one_but_never_makes_more_than_a_burst() -> None:
    bucket = TokenBucket(1.0, 2, clock=Clock())
    bucket.put_back()
    assert [bucket.take(), bucket.take(), bucket.take()] == [0.0, 0.0, 1.0]
    bucket.put_back()
    assert [bucket.take(), bucket.take()] == [0.0, 1.0]
