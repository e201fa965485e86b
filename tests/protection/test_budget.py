"""Budgets: however callers behave, what is sent on top of what was asked for is bounded."""

from __future__ import annotations

from fractions import Fraction

from allocation_gateway.protection.budget import Budget
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock

EVENTS = st.lists(st.sampled_from(["asked", "again", "again", "again"]), max_size=300)


def made(ratio: float, burst: int, clock: Clock | None = None, per_second: float = 0.0) -> Budget:
    return Budget(ratio, burst, clock=clock or Clock(), on_withdrawal=lambda _granted: None, per_second=per_second)


def happens(budget: Budget, event: str) -> bool:
    """Tells whether something is sent once more."""
    if event == "again":
        return budget.withdraw()
    budget.deposit()
    return False


@given(ratio=st.sampled_from([0.1, 0.2, 1 / 3, 1.0]), burst=st.integers(0, 12), events=EVENTS)
def test_over_any_span_of_any_sequence_further_sends_are_bounded(ratio: float, burst: int, events: list[str]) -> None:
    budget = made(ratio, burst)
    spent = [happens(budget, event) for event in events]
    for first in range(0, len(events), 7):
        asked = again = 0
        for event, granted in zip(events[first:], spent[first:], strict=True):
            asked += event == "asked"
            again += granted
            assert again <= burst + Fraction(ratio) * asked


@given(ratio=st.sampled_from([0.1, 0.25, 0.5]), burst=st.integers(1, 12), events=EVENTS)
def test_it_grants_as_a_model_in_exact_fractions_does(ratio: float, burst: int, events: list[str]) -> None:
    budget = made(ratio, burst)
    part = Fraction(str(ratio))
    model = Fraction(burst)
    for event in events:
        if event == "asked":
            budget.deposit()
            model = min(model + part, Fraction(burst))
        else:
            granted = model >= 1
            model -= granted
            assert budget.withdraw() is granted


def test_in_a_total_outage_writes_sent_over_writes_asked_for_stay_at_1_1_after_the_burst() -> None:
    budget = made(0.1, 10)
    sent = 0
    for _ in range(10_000):
        budget.deposit()
        sent += 1
        while budget.withdraw():
            sent += 1
    assert 10_900 <= sent <= 11_000 + 10


def test_a_calm_week_pays_for_no_storm() -> None:
    budget = made(0.1, 10)
    for _ in range(100_000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 10


def test_what_comes_with_time_is_no_more_than_the_burst() -> None:
    clock = Clock()
    budget = made(0.0, 5, clock, per_second=2.0)
    assert sum(budget.withdraw() for _ in range(100)) == 5
    clock.advance(1.0)
    assert sum(budget.withdraw() for _ in range(100)) == 2
    clock.advance(3600.0)
    assert sum(budget.withdraw() for _ in range(100)) == 5


def test_each_withdrawal_is_told_with_its_outcome() -> None:
    told: list[bool] = []
    budget = Budget(0.5, 1, clock=Clock(), on_withdrawal=told.append)
    budget.withdraw()
    budget.withdraw()
    assert told == [True, False]
