"""Items of streams in virtual time: the promise holds for each of them, whatever it is sent with."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import pytest
import structlog
from chaos import broken

from simulation.batches import BatchWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.properties

WORLDS: Final = 25
# So many at most are tried until a broken policy is caught.
MOST: Final = 60


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keeps the worlds from logging."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def broken_rules(seed: int, policy: str = "") -> set[str]:
    with broken.broken(policy) if policy else nullcontext():
        return {one.rule for one in BatchWorld(seed).run()}


def test_no_world_breaks_the_promise() -> None:
    found = {seed: broken_rules(seed) for seed in range(WORLDS)}
    assert {seed: rules for seed, rules in found.items() if rules} == {}


def test_a_world_is_full_of_bulk_calls_that_are_put_together_anew() -> None:
    world = BatchWorld(1)
    world.run()
    assert world.writes == len(world.history.operations)
    together = {(one.number, one.trace) for one in world.history.requests if one.writes}
    assert len(together) > 2 * len({number for number, _ in together})
    assert BatchWorld(1).run() == []


@pytest.mark.parametrize(
    ("policy", "rules"),
    [
        ("batches-again", {"two effects", "sent before the settle time"}),
        ("no-read-back", {"two effects"}),
        ("forgotten-results", {"two effects"}),
        ("blind-retry", {"two effects", "sent before the settle time"}),
    ],
)
def test_a_broken_policy_is_caught(policy: str, rules: set[str]) -> None:
    assert any(rules & broken_rules(seed, policy) for seed in range(MOST))
