"""Which world a seed gives: in most of them callers call by themselves, in some all that is asked for are items."""

from __future__ import annotations

from typing import Final

from simulation.batches import BatchWorld
from simulation.dice import Mask
from simulation.world import World

BATCHES: Final = "batches"
"""What all callers do in a world of items."""
# One world of so many is of items.
_EVERY: Final = 5
_NOTHING: Final = Mask()


def world_of(seed: int, mask: Mask = _NOTHING, kind: str = "") -> World:
    """Returns the world of a seed.

    Args:
        seed: Decides all of it.
        mask: What is left out.
        kind: What all callers do; empty for whatever the seed says.
    """
    are_items = kind == BATCHES if kind else seed % _EVERY == _EVERY - 1
    return (BatchWorld if are_items else World)(seed, mask, kind=kind)
