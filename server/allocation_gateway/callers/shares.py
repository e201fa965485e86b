"""How much of the gateway the callers of one rule may use, so that they cannot use up what is for others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from allocation_gateway.callers.errors import over_share
from allocation_gateway.protection.rate import TokenBucket

if TYPE_CHECKING:
    from typing import Self

_RETRY_SECONDS: Final = 1.0


class Share:
    """The calls of a rule: how many there may be in a second, and how many in hand.

    Attributes:
        in_hand: How many there are in hand now.
    """

    def __init__(self, rate: float, burst: int, in_hand: int) -> None:
        """Starts without any.

        Args:
            rate: Calls in a second. 0: no limit.
            burst: How many of them there may be at once, after a pause.
            in_hand: Calls in hand at once. 0: no limit.
        """
        self.limits = (rate, burst, in_hand)
        self._most = in_hand
        self._bucket = TokenBucket(rate, burst, clock=time.monotonic)
        self.in_hand = 0

    def __enter__(self) -> Self:
        """Counts a call for as long as a block lasts.

        Raises:
            GatewayError: RESOURCE_EXHAUSTED, the share is used up.
        """
        if self._most and self.in_hand >= self._most:
            raise over_share("calls in hand", _RETRY_SECONDS)
        seconds = self._bucket.take()
        if seconds:
            raise over_share("calls in a second", seconds)
        self.in_hand += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.in_hand -= 1
