"""Who waits for a write, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

# What is left of a caller's time when nothing new is begun for it, in seconds.
_MARGIN: Final = 0.05


class Callers(msgspec.Struct):
    """The calls that wait for one write.

    Attributes:
        deadline: Until when the last of them waits, by the event loop's clock.
        clock: The event loop's clock.
        count: How many wait.
    """

    deadline: float
    clock: Callable[[], float]
    count: int = 1

    def join(self, deadline: float) -> None:
        """Adds a caller, who waits until a moment of its own."""
        self.count += 1
        self.deadline = max(self.deadline, deadline)

    def leave(self) -> None:
        """Removes a caller."""
        self.count -= 1

    @property
    def last_moment(self) -> float:
        """When nothing new is begun for them any more, by the event loop's clock."""
        return self.deadline - _MARGIN

    @property
    def are_waiting(self) -> bool:
        """Whether anybody waits for long enough that something new may be begun."""
        return self.count > 0 and self.clock() < self.last_moment
