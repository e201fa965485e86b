"""What really happened to bookings, written by the engines at the moment they change something."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

ALLOCATED = "allocated"
DEALLOCATED = "deallocated"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The HTTP request that led to something: its number since the last reset, when it came, and its line.

    `traceparent` is its header of that name, by which a test tells whose request it was; empty without one.
    """

    sequence: int
    time: datetime
    request: str
    traceparent: str = ""

    def view(self) -> dict[str, object]:
        """The arrival as the control path shows it."""
        trace = {"traceparent": self.traceparent} if self.traceparent else {}
        return {"sequence": self.sequence, "time": self.time.isoformat(), "request": self.request, **trace}


@dataclass(frozen=True, slots=True)
class Event:
    """One effect on one reference. `facts` are the effect's particulars, such as the service booked."""

    sequence: int
    time: datetime
    reference: str
    arrival: Arrival
    effect: str
    facts: Mapping[str, object]

    def view(self) -> dict[str, object]:
        """The event as the control path shows it."""
        return {
            "sequence": self.sequence,
            "time": self.time.isoformat(),
            "reference": self.reference,
            "arrival": self.arrival.view(),
            "effect": self.effect,
            **self.facts,
        }


@dataclass(slots=True)
class _Record:
    allocations: int = 0
    deallocations: int = 0
    events: deque[Event] = field(default_factory=deque)


class Journal:
    """Every effect in order, by reference.

    At most `limit` events are kept and the oldest go first, but the numbers of allocations and deallocations are never
    forgotten before a reset: they are what proves or disproves a double booking.
    """

    def __init__(self, clock: Callable[[], datetime], limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._records: dict[str, _Record] = {}
        self._order: deque[_Record] = deque()
        self._sequence = 0

    def write(self, reference: str, effect: str, arrival: Arrival, **facts: object) -> None:
        """Write down an effect that has just happened."""
        self._sequence += 1
        record = self._records.setdefault(reference, _Record())
        record.events.append(Event(self._sequence, self._clock(), reference, arrival, effect, facts))
        record.allocations += effect == ALLOCATED
        record.deallocations += effect == DEALLOCATED
        self._order.append(record)
        if len(self._order) > self._limit:
            self._order.popleft().events.popleft()

    def about(self, reference: str) -> dict[str, Any]:
        """Everything known of one reference; zeros and no events if nothing ever happened to it."""
        record = self._records.get(reference) or _Record()
        return {
            "reference": reference,
            "allocations": record.allocations,
            "deallocations": record.deallocations,
            "events": [event.view() for event in record.events],
        }

    def page(self, after: str, size: int) -> dict[str, Any]:
        """Up to `size` references in alphabetical order after the given one, with their counts but not their events.

        `next` is what to pass as `after` for the following page, or None on the last.
        """
        references = sorted(reference for reference in self._records if reference > after)
        shown = references[:size]
        return {
            "allocations": sum(record.allocations for record in self._records.values()),
            "deallocations": sum(record.deallocations for record in self._records.values()),
            "references": [
                {
                    "reference": reference,
                    "allocations": self._records[reference].allocations,
                    "deallocations": self._records[reference].deallocations,
                }
                for reference in shown
            ],
            "next": shown[-1] if len(references) > size else None,
        }

    def reset(self) -> None:
        """Forget everything; numbering starts again at 1."""
        self._records.clear()
        self._order.clear()
        self._sequence = 0
