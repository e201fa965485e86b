"""How much work a peer may cause that leads nowhere, before its connection is ended."""

from __future__ import annotations

from typing import Final

from allocation_gateway.wire import frames
from allocation_gateway.wire.errors import Http2ConnectionError

# Frames that cost us work and lead nowhere, and calls that are begun and given up: so many at once, and so many each
# second. A call that is answered makes up for some: clients measure bandwidth by pings.
_CAPACITY: Final = 10_000
_REFILL_PER_SECOND: Final = 100
_CREDIT_PER_CALL: Final = 10
# How many bytes clients read at least before they widen the window of a call by as many: also after its end.
_BYTES_PER_CREDIT: Final = 4096


class FloodBudget:
    """A token bucket that is charged for frames without use, and credited for calls that are answered."""

    __slots__ = ("_left", "_refilled_at")

    def __init__(self, now: float) -> None:
        """Starts full, at a time by the loop's clock."""
        self._left = _CAPACITY
        self._refilled_at = now

    def charge(self, cost: int = 1) -> None:
        """Takes some of it.

        Raises:
            Http2ConnectionError: Nothing is left.
        """
        self._left -= cost
        if self._left < 0:
            raise Http2ConnectionError(
                frames.ENHANCE_YOUR_CALM, "The connection has sent too many frames that serve no request."
            )

    def credit(self, sent: int) -> None:
        """Makes up for some, since a call was answered with so many bytes."""
        self._left = min(self._left + _CREDIT_PER_CALL + sent // _BYTES_PER_CREDIT, _CAPACITY)

    def refill(self, now: float) -> None:
        """Makes up for the time that has passed."""
        passed, self._refilled_at = now - self._refilled_at, now
        self._left = min(self._left + int(passed * _REFILL_PER_SECOND) + 1, _CAPACITY)
