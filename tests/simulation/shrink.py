"""Finds the smallest part of a world that still breaks a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from simulation.dice import Mask
from simulation.upstream import KINDS
from simulation.world import SESSIONS
from simulation.worlds import world_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def shrunk(seed: int, rule: str) -> Mask:
    """Returns what can be left out of a world so that it still breaks a rule."""
    mask = Mask()
    size = SESSIONS
    while size:
        smaller = next((one for one in _smaller(mask, size) if breaks(seed, one, rule)), None)
        if smaller is None:
            size //= 2
        else:
            mask = smaller
    return mask


def breaks(seed: int, mask: Mask, rule: str) -> bool:
    """Tells whether a world breaks a rule without what is left out."""
    return any(one.rule == rule for one in world_of(seed, mask).run())


def _smaller(mask: Mask, size: int) -> Iterator[Mask]:
    """Yields what leaves out more: so many sessions at once, or something that befalls all."""
    left = [number for number in range(SESSIONS) if number not in mask.sessions]
    for first in range(0, len(left), size):
        out = frozenset(left[first : first + size])
        if len(out) < len(left):
            yield replace(mask, sessions=mask.sessions | out)
    if not mask.without_kills:
        yield replace(mask, without_kills=True)
    if not mask.without_store_faults:
        yield replace(mask, without_store_faults=True)
    for kind in KINDS:
        if kind not in mask.faults:
            yield replace(mask, faults=mask.faults | {kind})
