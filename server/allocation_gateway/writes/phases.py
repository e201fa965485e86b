"""The phases of a write, and which of them may follow which."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Phase(enum.Enum):
    """How far a write has come."""

    WAITING = "waiting"
    """It waits for its turn: for a permit to send, for its claim, or for another write of the same shipment."""
    HELD = "held"
    """It holds its claim, and nothing that was sent for it can have an effect."""
    SENDING = "sending"
    """An attempt is under way."""
    IN_DOUBT = "in doubt"
    """Something sent for it may have had an effect, or may still have one: it is read back."""
    ENDED = "ended"
    """It has its answer, or it was left to the next caller."""

    # Enum's own is a function in Python, and each transition of each write looks phases up.
    __hash__ = object.__hash__


TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.WAITING: frozenset({Phase.HELD, Phase.IN_DOUBT, Phase.ENDED}),
    Phase.HELD: frozenset({Phase.SENDING, Phase.ENDED}),
    Phase.SENDING: frozenset({Phase.HELD, Phase.IN_DOUBT, Phase.ENDED}),
    Phase.IN_DOUBT: frozenset({Phase.HELD, Phase.ENDED}),
    Phase.ENDED: frozenset(),
}
_FIRST: Final = Phase.WAITING


class IllegalTransitionError(Exception):
    """A write was moved to a phase that cannot follow the one it is in: a defect."""


class Progress:
    """The phase that a write is in. Only a transition of the table changes it.

    Attributes:
        phase: The phase.
    """

    __slots__ = ("phase",)

    def __init__(self) -> None:
        self.phase = _FIRST

    def enter(self, phase: Phase) -> None:
        """Goes on to a phase.

        Raises:
            IllegalTransitionError: It cannot follow.
        """
        if phase not in TRANSITIONS[self.phase]:
            raise IllegalTransitionError(f"a write cannot go from {self.phase.value} to {phase.value}")
        self.phase = phase
