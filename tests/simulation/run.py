"""The simulation: tries worlds until enough writes were made in them, and shrinks what it finds.

Usage: PYTHONPATH=tests python -m simulation.run [--writes N] [--seed SEED] [--processes N] [--world SEED]

Then it breaks one policy after the other, each of which has to be caught. --world runs one world alone, twice, and
prints what happened in it. SIMULATION_WRITES and SIMULATION_SEED are the same as the options.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Final

import structlog
from chaos import broken

from simulation.shrink import shrunk
from simulation.upstream import EPOCH
from simulation.worlds import BATCHES, world_of

if TYPE_CHECKING:
    from simulation.world import World

_WRITES: Final = 1_000_000
_SEED: Final = 1
# So many worlds are tried at a time by one process.
_CHUNK: Final = 50
# The seeds of one run are so far apart from those of the next.
_APART: Final = 10_000_000
# So many worlds at most are tried until a broken policy is caught.
_MOST_BROKEN: Final = 400
# Of all writes, so few may end without its ever being known whether they were carried out: half of these since somebody
# has cancelled the shipment, or a proxy has sent the request twice.
_MOST_UNDECIDED: Final = 0.006
# By which rules a broken policy may be caught.
CAUGHT_BY: Final = {
    "blind-retry": {"two effects", "sent before the settle time"},
    "early-release": {"two effects"},
    "no-read-back": {"two effects"},
    "adopt-anything": {"OK without its effect"},
    "age-as-of-the-failure": {"not done, and yet done"},
    "no-tolerance": {"not done, and yet done"},
    "stretching-tolerance": {"OK without its effect"},
    "own-clock": {"not done, and yet done", "OK without its effect"},
    "foreign-release": {"two effects"},
    "forgotten-doubt": {"two effects", "sent before the settle time"},
    "batches-again": {"two effects", "sent before the settle time"},
    "believed-refusal": {"not done, and yet done"},
    "cancelled-is-proof": {"not done, and yet done"},
    "trusted-caches": {"two effects", "not done, and yet done"},
    "exact-locks": {"two writes at once"},
}
# What callers have to do for it to be caught soon, where that is rare.
CAUGHT_IN: Final = {
    "stretching-tolerance": "outside",
    "batches-again": BATCHES,
    "believed-refusal": "contest",
    "cancelled-is-proof": "outside",
    "trusted-caches": "sequence",
    "exact-locks": "contest",
}


@dataclass
class Found:
    """What came of some worlds."""

    worlds: int = 0
    writes: int = 0
    undecided: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Takes what came of others."""
        self.worlds += other.worlds
        self.writes += other.writes
        self.undecided += other.undecided
        self.answers += other.answers
        self.broken += other.broken


def prepare() -> None:
    """Keeps quiet what logs, and the garbage collector at bay until a chunk is done."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=True
    )
    gc.disable()
    # What there is by now stays, and need not be looked through.
    gc.collect()
    gc.freeze()
    broken.wall = wall


def wall() -> float:
    """Returns what the clock of a gateway shows in a world: upstream's is another."""
    import asyncio

    return EPOCH + asyncio.get_running_loop().time()


def tried(first: int, count: int, policy: str = "", kind: str = "") -> Found:
    """Tries some worlds, whose seeds follow each other.

    Args:
        first: The seed of the first one.
        count: How many.
        policy: The policy that is broken in them; empty for none.
        kind: What all callers do; empty for whatever the seed says.
    """
    found = Found()
    with broken.broken(policy) if policy else nullcontext():
        for seed in range(first, first + count):
            world = world_of(seed, kind=kind)
            violations = world.run()
            found.worlds += 1
            found.writes += world.writes
            found.undecided += world.undecided
            for call in world.history.calls:
                found.answers[f"{call.code} {call.reason}{' reconciled' if call.reconciled else ''}".strip()] += 1
            found.broken += [(seed, one.rule) for one in violations]
    gc.collect()
    return found


def everything(pool: ProcessPoolExecutor, seed: int, writes: int, at_once: int) -> Found:
    """Tries worlds until so many writes were made."""
    found = Found()
    chunks = iter(range(seed * _APART, (seed + 1) * _APART, _CHUNK))
    running = {pool.submit(tried, next(chunks), _CHUNK) for _ in range(at_once)}
    while running:
        done = next(as_completed(running))
        running.remove(done)
        found.add(done.result())
        if found.writes < writes and not found.broken:
            running.add(pool.submit(tried, next(chunks), _CHUNK))
    return found


def caught(policy: str, seed: int) -> str:
    """Looks for a world in which a broken policy is caught. Returns what is to be said of it; empty if it is not."""
    for first in range(seed * _APART, seed * _APART + _MOST_BROKEN, 10):
        found = tried(first, 10, policy, CAUGHT_IN.get(policy, ""))
        rules = [(world, rule) for world, rule in found.broken if rule in CAUGHT_BY[policy]]
        if rules:
            world, rule = rules[0]
            return f"caught in world {world}: {rule}"
    return ""


def explain(seed: int, rule: str) -> None:
    """Prints the smallest part of a world that breaks a rule."""
    mask = shrunk(seed, rule)
    _say(f"World {seed} breaks the rule {rule!r}. It does so without {mask}:")
    _tell(world_of(seed, mask))


def _tell(world: World) -> None:
    violations = world.run()
    for line in world.story(violations):
        _say(f"  {line}")
    for one in violations:
        _say(f"  BROKEN: {one.rule}: {one.id}: {one.text}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Runs the simulation; 1 if the promise was broken, or a broken policy was not caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=int(os.environ.get("SIMULATION_WRITES", str(_WRITES))))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SIMULATION_SEED", str(_SEED))))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--world", type=int)
    options = parser.parse_args()
    prepare()
    if options.world is not None:
        _tell(first := world_of(options.world))
        again = world_of(options.world)
        again.run()
        _say("The second run was the same." if again.digest() == first.digest() else "THE SECOND RUN WAS ANOTHER.")
        return 0
    with ProcessPoolExecutor(options.processes, initializer=prepare) as pool:
        started = time.monotonic()
        found = everything(pool, options.seed, options.writes, 2 * options.processes)
        seconds = time.monotonic() - started
        verdicts = dict(zip(CAUGHT_BY, pool.map(caught, CAUGHT_BY, repeat(options.seed)), strict=True))
    _say(f"Seed {options.seed}: {found.writes} writes in {found.worlds} worlds, in {seconds:.0f} s")
    for answer, count in found.answers.most_common():
        _say(f"  {count:9} {answer}")
    _say(f"  {found.undecided:9} writes of which it can never be known what became of them")
    for world, rule in found.broken[:3]:
        explain(world, rule)
    failures = len(found.broken)
    if found.undecided > _MOST_UNDECIDED * found.writes:
        _say("BROKEN: too many of them")
        failures += 1
    for policy, verdict in verdicts.items():
        _say(f"{policy}: {verdict or 'NOT CAUGHT'}")
        failures += not verdict
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
