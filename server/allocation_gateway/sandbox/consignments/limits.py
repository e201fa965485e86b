"""The rate limit of the API management in front: so many calls in each stretch of time, by the sandbox's clock."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches


class RateLimit:
    """Counts calls from the first one on until its stretch of time is over."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._ends: datetime | None = None
        self._calls = 0

    def check(self, switches: ConsignmentsSwitches) -> None:
        """Count a call.

        Raises:
            ConsignmentsError: 429, it is one too many.
        """
        if not switches.rate_limit:
            return
        now = self._clock()
        if self._ends is None or now >= self._ends:
            self._ends = now + timedelta(seconds=switches.rate_limit_seconds)
            self._calls = 0
        if self._calls >= switches.rate_limit:
            raise errors.too_many_calls(math.ceil((self._ends - now).total_seconds()))
        self._calls += 1

    def reset(self) -> None:
        """Start counting again."""
        self._ends = None
