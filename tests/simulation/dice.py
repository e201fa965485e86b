"""What is random in a simulated world. One seed decides all of it, and each session has a generator of its own.

So a session goes on doing what it did when another one is left out, and a failure can be shrunk.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from chaos import plan

# A factor that keeps the seeds of the generators of one world apart from those of the next.
_APART: Final = 1_000_003


@dataclass(frozen=True)
class Mask:
    """What is left out of a world, to find out what a failure needs.

    Attributes:
        sessions: The sessions that are left out.
        faults: The kinds of faults that strike nobody.
        without_kills: Whether no process is killed.
        without_store_faults: Whether the store works always.
    """

    sessions: frozenset[int] = field(default_factory=frozenset)
    faults: frozenset[str] = field(default_factory=frozenset)
    without_kills: bool = False
    without_store_faults: bool = False


class Dice:
    """The generators of one world."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def of(self, number: int) -> random.Random:
        """Returns a generator by its number: those of sessions count from 0, others are below that."""
        return random.Random(self._seed * _APART + number)  # noqa: S311 - it has to be predictable


def spread(dice: random.Random, shortest: float, longest: float) -> float:
    """Returns a duration, of each order of magnitude between two alike."""
    return plan.spread(dice.random(), shortest, longest)
