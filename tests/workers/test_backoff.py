"""The pauses between the starts of a worker that keeps ending."""

from __future__ import annotations

from allocation_gateway.workers.backoff import RestartBackoff


def test_first_one_is_replaced_at_once_and_then_the_pauses_double_up_to_a_bound() -> None:
    backoff = RestartBackoff()
    pauses = [backoff.pause(lived=1.0) for _ in range(5000)]
    assert pauses[:9] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pauses[-1] == 30
    assert backoff.failures == 5000


def test_one_that_lives_for_long_starts_the_series_anew() -> None:
    backoff = RestartBackoff()
    for _ in range(5):
        backoff.pause(lived=59.9)
    assert backoff.pause(lived=60.0) == 0
    assert (backoff.failures, backoff.pause(lived=1.0)) == (1, 0.5)
