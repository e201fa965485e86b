"""The items of a job that have to be read until all is known that is told of them, or until their time is up.

Those are what is queued upstream, until it is known what became of it; and what was refused for how it stands, or can
never be known for that, once, so that the error can show the allocation that is there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc.streams import outcomes
from allocation_gateway.rpc.streams.belief import Belief, Standing, standing_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.rpc.streams.job import Item
    from allocation_gateway.rpc.streams.outcomes import Found
    from allocation_gateway.rpc.streams.readings import Readings
    from allocation_gateway.telemetry.observation import Observation

    Conclude: TypeAlias = Callable[[Item, Found], None]


class _FollowedItem:
    """An item that is followed."""

    __slots__ = ("belief", "conclude", "found", "item", "timer")

    def __init__(
        self,
        item: Item,
        conclude: Conclude,
        found: Found,
        timer: asyncio.TimerHandle,
        belief: Belief,
    ) -> None:
        self.item = item
        self.conclude = conclude
        self.found = found
        self.timer = timer
        self.belief = belief


class PendingItems:
    """The items of one call that are read until it is known what became of them. It is a ReadingListener.

    Attributes:
        readings: How often they were read.
        observation: The call, as telemetry sees it.
    """

    def __init__(self, readings: Readings, row: Operation, observation: Observation) -> None:
        """Follows nothing yet.

        Args:
            readings: Reads them.
            row: The row that reads them.
            observation: The call, as telemetry sees it.
        """
        self.readings = 0
        self.observation = observation
        self._readings = readings
        self._row = row
        self._followed: dict[str, _FollowedItem] = {}

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, item: Item, conclude: Conclude, found: Found) -> None:
        """Follows an item from now on.

        Args:
            item: The item.
            conclude: Is told what became of it.
            found: What is known: it is queued, or there is an error that one reading is to explain.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_at(item.until, self._overdue, item)
        # What a claim remembers was queued then: a state that is left from before has had its time since.
        belief = Belief(loop.time() if found.taken is None else found.taken.latest, is_known=True)
        self._followed[item.reference] = _FollowedItem(item, conclude, found, timer, belief)
        queued_since = None if found.taken is None else found.taken.earliest
        self._readings.follow(item.reference, self, at_once=found.error is not None, queued_since=queued_since)

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
        if followed.found.error is not None:
            return followed.found._replace(error=self._explained(followed.found.error, found))
        standing = standing_of(self._row, found)
        now = asyncio.get_running_loop().time()
        if not followed.belief.is_final(standing, now, self._readings.patience):
            return None
        if standing is Standing.ALLOCATED and not isinstance(found, GatewayError):
            found.reconciled = True
        return outcomes.of_reading(standing, found)

    def _explained(self, error: GatewayError, found: AnyAllocation | GatewayError) -> GatewayError:
        """Returns an error with the allocation that is there, if there is one."""
        if isinstance(found, GatewayError) or not self._row.allocations.is_allocated(found):
            return error
        return error.with_allocation(found)

    def _overdue(self, item: Item) -> None:
        followed = self._followed.get(item.reference)
        if followed is not None and followed.item is item:
            self._readings.leave(item.reference, self)
            self._end(followed, followed.found)

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
