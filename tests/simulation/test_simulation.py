"""The simulation itself: it can be replayed, it finds nothing, and what it would find it makes small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from chaos import broken

from simulation import run, shrink
from simulation.batches import BatchWorld
from simulation.dice import Mask
from simulation.world import SESSIONS
from simulation.worlds import world_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.properties

TESTS: Final = str(Path(__file__).resolve().parents[1])
# Of some seed or other: `make simulate` tries many more.
WORLDS: Final = 60
# Beyond those. In 119 a caller leaves while the store is slow, which then begins the claim after another's allocation.
KEPT: Final = (119, 10_000_406)
_DIGESTS: Final = """
from simulation import run
from simulation.worlds import world_of
run.prepare()
for seed in range(5):
    world = world_of(seed)
    world.run()
    print(world.digest())
"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keeps the worlds from logging."""
    import logging

    import structlog

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def digests(hash_seed: str) -> str:
    """Returns what the histories of some worlds come to, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": TESTS, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", _DIGESTS]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_seed_always_gives_the_same_history() -> None:
    """Also in another process, in which sets are in another order."""
    first = digests("1")
    assert len(set(first.split())) == 5
    assert digests("2") == first


def test_no_world_breaks_the_promise() -> None:
    found = run.tried(first=0, count=WORLDS)
    assert found.broken == []
    assert found.writes > WORLDS * SESSIONS
    assert found.answers["OK"] > found.writes // 2
    assert found.answers["OK  reconciled"] > 0


@pytest.mark.parametrize("seed", KEPT)
def test_a_world_that_once_seemed_to_break_the_promise_keeps_it(seed: int) -> None:
    assert run.tried(first=seed, count=1).broken == []


def needs_one(seed: int, rule: str) -> bool:
    """Tells whether one session is enough: some need what others do to the gateway, such as opening its breaker.

    A session of items has several shipments.
    """
    every = frozenset(range(SESSIONS))
    return not isinstance(world_of(seed), BatchWorld) and any(
        shrink.breaks(seed, Mask(sessions=every - {number}), rule) for number in every
    )


def test_what_is_found_is_made_small() -> None:
    """Whoever has to understand it reads of one shipment, and of no fault that it does not need."""
    policy, rule = "blind-retry", "two effects"
    with broken.broken(policy):
        seed = next(seed for seed in range(WORLDS) if shrink.breaks(seed, Mask(), rule) and needs_one(seed, rule))
        mask = shrink.shrunk(seed, rule)
        world = world_of(seed, mask)
        violations = world.run()
    assert len(mask.sessions) == SESSIONS - 1
    assert (mask.without_kills, mask.without_store_faults) == (True, True)
    assert rule in {one.rule for one in violations}
    assert sum("allocated" in line for line in world.story(violations)) >= 2


@pytest.mark.parametrize("policy", ["age-as-of-the-failure", "own-clock", "early-release"])
def test_a_broken_policy_is_caught(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of them: `make simulate` tries all."""
    monkeypatch.setattr(broken, "wall", run.wall)
    assert run.caught(policy, seed=1)


def test_every_broken_policy_is_tried_and_says_how_it_is_caught() -> None:
    assert run.CAUGHT_BY.keys() == {*broken.POLICIES, *broken.SIMULATED_POLICIES, "batches-again"}
