"""How long to wait before trying again: exponential, with full jitter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Two to this is more than any cap is of any base, and still a number.
_LARGEST_EXPONENT: Final = 64


class Backoff:
    """Waits that may grow with each attempt, up to a cap, drawn at random so that callers do not march in step."""

    __slots__ = ("_base", "_cap", "_random")

    def __init__(self, base: float, cap: float, *, random: Callable[[], float]) -> None:
        """Makes a backoff.

        Args:
            base: The longest wait before the first further attempt, in seconds.
            cap: The longest wait at all, in seconds, apart from what upstream asks for.
            random: A number from 0 to 1.
        """
        self._base = base
        self._cap = cap
        self._random = random

    def seconds(self, attempts: int, at_least: float = 0.0) -> float:
        """Returns how long to wait.

        Args:
            attempts: How many attempts there were, 1 or more.
            at_least: What upstream asked for, in seconds. The jitter comes on top: everybody was asked the same.
        """
        longest = min(self._cap, self._base * 2.0 ** min(attempts - 1, _LARGEST_EXPONENT))
        return at_least + longest * self._random()
