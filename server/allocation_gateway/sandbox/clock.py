"""The sandbox's one source of time, which tests and the control paths can move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def system_time() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


class Clock:
    """Calling it gives the present moment, always in UTC: the source's time plus whatever was added since.

    Dates and expiries follow this clock. Delays (latency faults, the bulk worker) follow real time, so that moving
    the clock never makes the server wait.
    """

    def __init__(self, source: Callable[[], datetime] = system_time) -> None:
        self._source = source
        self._offset = timedelta()

    def __call__(self) -> datetime:
        """The present moment."""
        return self._source() + self._offset

    def advance(self, seconds: float) -> None:
        """Move time by so many seconds; negative moves it back.

        Raises:
            OverflowError: the moment would lie outside what a date can hold; nothing has moved then.
        """
        offset = self._offset + timedelta(seconds=seconds)
        # Quotes and delivery windows look some weeks ahead, so a margin is kept at both ends.
        for margin in (timedelta(days=-366), timedelta(days=366)):
            _ = self._source() + offset + margin
        self._offset = offset

    def reset(self) -> None:
        """Return to the source's time."""
        self._offset = timedelta()
