"""How long to wait before a process that has ended is started again."""

from __future__ import annotations

_FIRST = 0.5
_MOST = 30.0
_DOUBLINGS = 10
# A process that has lived so long has not ended of how it started.
_HEALTHY = 60.0


class RestartBackoff:
    """The pauses between the starts of one process: none at first, then doubling, until one lives long enough.

    Attributes:
        failures: How many have ended too soon, one after the other.
    """

    def __init__(self) -> None:
        self.failures = 0

    def pause(self, lived: float) -> float:
        """Returns the seconds until the next start, after a process that has lived for so many."""
        self.failures = 1 if lived >= _HEALTHY else self.failures + 1
        if self.failures == 1:
            return 0.0
        return float(min(_FIRST * 2 ** min(self.failures - 2, _DOUBLINGS), _MOST))
