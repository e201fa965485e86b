"""The items of a job that have to be read until all is known that is told of them, or until their time is up.

Those are what is queued upstream, until it is known what became of it; and what was refused for how it stands, once, so
that the refusal can show the allocation that is in the way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc.streams import outcomes
from allocation_gateway.rpc.streams.outcomes import Found, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.rpc.streams.job import Item
    from allocation_gateway.rpc.streams.readings import Readings

    Conclude: TypeAlias = Callable[[Item, Found], None]

# The state of something whose allocation has failed may be left from an earlier try, as long as upstream has not come
# to this one: it is believed when it was read so often.
FAILED_READINGS: Final = 2
MISSING: Final = frozenset(
    {ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND, ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND}
)


class _FollowedItem:
    """An item that is followed."""

    __slots__ = ("conclude", "failed", "item", "refusal", "timer")

    def __init__(
        self, item: Item, conclude: Conclude, refusal: GatewayError | None, timer: asyncio.TimerHandle
    ) -> None:
        self.item = item
        self.conclude = conclude
        self.refusal = refusal
        self.timer = timer
        self.failed = 0


class PendingItems:
    """The items of one call that are read until it is known what became of them. It is a ReadingListener.

    Attributes:
        readings: How often they were read.
    """

    def __init__(self, readings: Readings, row: Operation) -> None:
        """Follows nothing yet.

        Args:
            readings: Reads them.
            row: The row that reads them.
        """
        self.readings = 0
        self._readings = readings
        self._row = row
        self._followed: dict[str, _FollowedItem] = {}

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, item: Item, conclude: Conclude, refusal: GatewayError | None = None) -> None:
        """Follows an item from now on.

        Args:
            item: The item.
            conclude: Is told what became of it.
            refusal: With what it was refused for how it stands; None if it is queued.
        """
        timer = asyncio.get_running_loop().call_at(item.until, self._overdue, item)
        self._followed[item.reference] = _FollowedItem(item, conclude, refusal, timer)
        self._readings.follow(item.reference, self, at_once=refusal is not None)

    def read(self, reference: str, found: AnyAllocation | GatewayError) -> bool:
        """See ReadingListener."""
        followed = self._followed.get(reference)
        if followed is None:
            return True
        self.readings += 1
        concluded = self._concluded(followed, found)
        if concluded is None:
            return False
        self._end(followed, concluded)
        return True

    def _concluded(self, followed: _FollowedItem, found: AnyAllocation | GatewayError) -> Found | None:
        if followed.refusal is not None:
            return Found(OutcomeKind.REFUSED, error=self._explained(followed.refusal, found))
        if isinstance(found, GatewayError):
            return Found(OutcomeKind.REFUSED, error=found) if found.reason in MISSING else None
        standing = outcomes.of_standing(self._row, found)
        if standing is None:
            return None
        if standing.kind is OutcomeKind.ALLOCATED:
            found.reconciled = True
        elif self._row.allocations.states.has_failed(found.state):
            followed.failed += 1
            if followed.failed < FAILED_READINGS:
                return None
        return standing

    def _explained(self, refusal: GatewayError, found: AnyAllocation | GatewayError) -> GatewayError:
        """Returns a refusal with the allocation that is there, if there is one."""
        if isinstance(found, GatewayError) or not self._row.allocations.is_allocated(found):
            return refusal
        return refusal.with_allocation(found)

    def _overdue(self, item: Item) -> None:
        followed = self._followed.get(item.reference)
        if followed is not None and followed.item is item:
            self._readings.leave(item.reference, self)
            refusal = followed.refusal
            self._end(
                followed, Found(OutcomeKind.QUEUED) if refusal is None else Found(OutcomeKind.REFUSED, error=refusal)
            )

    def _end(self, followed: _FollowedItem, found: Found) -> None:
        followed.timer.cancel()
        del self._followed[followed.item.reference]
        followed.conclude(followed.item, found)

    def close(self) -> None:
        """Follows nothing any more."""
        for reference, followed in self._followed.items():
            followed.timer.cancel()
            self._readings.leave(reference, self)
        self._followed.clear()
