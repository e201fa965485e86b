"""How long to wait before a further attempt."""

from __future__ import annotations

from allocation_gateway.protection.backoff import Backoff
from hypothesis import given
from hypothesis import strategies as st


def test_the_longest_wait_doubles_up_to_the_cap() -> None:
    backoff = Backoff(0.1, 1.0, random=lambda: 1.0)
    assert [backoff.seconds(attempts) for attempts in (1, 2, 3, 4, 5, 6, 10_000)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_the_jitter_is_full() -> None:
    drawn = iter([0.0, 0.25, 0.5])
    backoff = Backoff(0.1, 1.0, random=lambda: next(drawn))
    assert [backoff.seconds(3) for _ in range(3)] == [0.0, 0.1, 0.2]


def test_the_jitter_comes_on_top_of_what_upstream_asked_everybody_for() -> None:
    assert Backoff(0.1, 1.0, random=lambda: 0.5).seconds(2, at_least=3.0) == 3.1


@given(attempts=st.integers(1, 100), drawn=st.floats(0.0, 1.0), asked=st.floats(0.0, 100.0))
def test_it_is_never_shorter_than_upstream_asked_for_nor_longer_than_the_cap_on_top(
    attempts: int, drawn: float, asked: float
) -> None:
    seconds = Backoff(0.1, 2.0, random=lambda: drawn).seconds(attempts, asked)
    assert asked <= seconds <= asked + 2.0
