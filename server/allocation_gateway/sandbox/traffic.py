"""How many requests came, by method and path template."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.journal import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# One name for every path no template has, so that a scanner cannot grow the table.
UNMATCHED = "(unmatched)"


class Traffic:
    """Counts requests and numbers them in the order in which they came."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._total = 0

    def arrive(self, method: str, template: str | None, traceparent: str) -> Arrival:
        """Count a request; the arrival is what an engine names as the cause of its effects."""
        request = UNMATCHED if template is None else f"{method} {template}"
        self._counts[request] += 1
        self._total += 1
        return Arrival(self._total, self._clock(), request, traceparent)

    def view(self) -> dict[str, object]:
        """The counts as the control path shows them."""
        return {"total": self._total, "counts": dict(sorted(self._counts.items()))}

    def reset(self) -> None:
        """Start counting again."""
        self._counts.clear()
        self._total = 0
