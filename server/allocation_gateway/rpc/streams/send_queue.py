"""The items of a job that wait to be sent, in the groups in which they may be sent together."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from allocation_gateway.rpc.streams.job import Item


class SendQueue:
    """What waits: single items by what they may be sent with, and batches that are made already."""

    def __init__(self, most: int) -> None:
        """Starts empty.

        Args:
            most: How many items may be sent together.
        """
        self._most = most
        self._groups: OrderedDict[bytes, deque[Item]] = OrderedDict()
        self._batches: deque[Sequence[Item]] = deque()
        self._is_there = asyncio.Event()

    def add(self, items: Iterable[Item]) -> None:
        """Queues items to be sent."""
        for item in items:
            self._groups.setdefault(item.key, deque()).append(item)
        self._is_there.set()

    def add_batch(self, items: Sequence[Item]) -> None:
        """Queues items that are to be sent with each other, and with no others."""
        if items:
            self._batches.append(items)
            self._is_there.set()

    async def wait(self) -> None:
        """Waits until something waits."""
        while not self._groups and not self._batches:
            self._is_there.clear()
            await self._is_there.wait()

    @property
    def fills_a_batch(self) -> bool:
        """Whether those whose turn it is are as many as may be sent together."""
        if self._batches:
            return True
        first = next(iter(self._groups.values()), ())
        return len(first) >= self._most

    def take_overdue(self, now: float) -> list[Item]:
        """Takes all whose time is up."""
        overdue: list[Item] = []
        for key, group in tuple(self._groups.items()):
            kept = deque(_within(group, now, overdue))
            if kept:
                self._groups[key] = kept
            else:
                del self._groups[key]
        batches = (_within(batch, now, overdue) for batch in self._batches)
        self._batches = deque([batch for batch in batches if batch])
        return overdue

    def take(self) -> Sequence[Item]:
        """Takes the next ones that are sent together: none if nothing waits."""
        if self._batches:
            return self._batches.popleft()
        if not self._groups:
            return ()
        key, group = next(iter(self._groups.items()))
        taken = [group.popleft() for _ in range(min(len(group), self._most))]
        if group:
            # Those of another selector have their turn next.
            self._groups.move_to_end(key)
        else:
            del self._groups[key]
        return taken


def _within(items: Iterable[Item], now: float, overdue: list[Item]) -> list[Item]:
    """Returns the items whose time is not up, and adds the others to a list."""
    kept: list[Item] = []
    for item in items:
        (overdue if item.until <= now else kept).append(item)
    return kept
