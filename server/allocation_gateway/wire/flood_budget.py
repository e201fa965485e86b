"""How much work a peer may cause that leads nowhere, before its connection is ended."""

from __future__ import annotations

from typing import Final

from allocation_gateway.wire import frames
from allocation_gateway.wire.errors import Http2ConnectionError

# Frames that lead nowhere, and calls that are begun and given up: so many at once, and so many each second. A call that
# is answered makes up for some: clients measure bandwidth by pings.
_CAPACITY: Final = 10_000
_REFILL_PER_SECOND: Final = 100
CREDIT_PER_CALL: Final = 10
CREDIT_PER_MESSAGE: Final = 4
# How many bytes clients read before they widen the window of a call, and of the connection, by as many.
_BYTES_PER_CREDIT: Final = 512
# A call that is opened and reset, by either side: both the peer's frames and the handler's start are for nothing.
RESET_COST: Final = 10
# A call that ends because the peer violates the protocol on its stream. Correct clients never do.
VIOLATION_COST: Final = 500
# A call that fails since its connection holds too much.
OVERFULL_COST: Final = 100
# Bytes of a field block that is decoded for nothing, bytes of settings, and calls that are looked through, for one.
FIELD_BYTES_PER_CHARGE: Final = 256
SETTINGS_BYTES_PER_CHARGE: Final = 60
CALLS_PER_CHARGE: Final = 100
# DATA of so many bytes is no tiny frame.
FAIR_DATA_SIZE: Final = 1024


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

    def credit(self, earned: int, sent: int) -> None:
        """Makes up for some: for what was answered, and for so many bytes of it that the peer has taken.

        Args:
            earned: CREDIT_PER_CALL of a call that was answered, CREDIT_PER_MESSAGE of a message of one that goes on.
            sent: How many bytes that was.
        """
        self._left = min(self._left + earned + sent // _BYTES_PER_CREDIT, _CAPACITY)

    def refill(self, now: float) -> None:
        """Makes up for the time that has passed."""
        passed, self._refilled_at = now - self._refilled_at, now
        self._left = min(self._left + int(passed * _REFILL_PER_SECOND) + 1, _CAPACITY)
