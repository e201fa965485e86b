"""The phases of a write, and which of them may follow which."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Phase(enum.Enum):
    """How far a write has come."""

    WAITING = "waiting"
    """It waits for its turn: for a place at upstream, for its claim, or for another write of the same shipment."""
    HELD = "held"
    """It holds its claim, and nothing that was sent for it can have an effect."""
    SENDING = "sending"
    """An attempt is under way."""
    IN_DOUBT = "in doubt"
    """Something sent for it may have had an effect, or may still have one: it is read back."""
    ENDED = "ended"
    """It has its answer, or it was left to the next caller."""


TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.WAITING: frozenset({Phase.HELD, Phase.IN_DOUBT, Phase.ENDED}),
    Phase.HELD: frozenset({Phase.SENDING, Phase.ENDED}),
    Phase.SENDING: frozenset({Phase.HELD, Phase.IN_DOUBT, Phase.ENDED}),
    Phase.IN_DOUBT: frozenset({Phase.HELD, Phase.ENDED}),
    Phase.ENDED: frozenset(),
}


class IllegalTransitionError(Exception):
    """A write was moved to a phase that cannot follow the one it is in: a defect."""


def check(before: Phase, after: Phase) -> None:
    """Checks a transition.

    Raises:
        IllegalTransitionError: The phase cannot follow.
    """
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(f"a write cannot go from {before.value} to {after.value}")
