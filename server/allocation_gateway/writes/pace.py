"""What is done for many items is done a few at a time, so that other calls have their turns of the loop in between.

A call needs some ten turns from its first byte to its last. If each of a hundred items has a step in the same turn, and
eight bulk calls are under way, every one of those ten turns lasts as long as hundreds of steps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

T = TypeVar("T")

PER_TURN: Final = 8
"""So many items are done in one turn while nothing but streams and watches is in hand."""
PER_TURN_BESIDE_CALLS: Final = 2
"""And so many while there are other calls. One would cost the items a fifth more: each turn has costs of its own."""


class Pace:
    """One turn of the event loop after the other, for all of a process who have something to do for many items.

    A turn is for one of those who wait, in the order in which they came. Who finds nobody waiting has it at once.
    """

    def __init__(self, has_calls: Callable[[], bool] = bool) -> None:
        """Has had no turn yet.

        Args:
            has_calls: Tells whether there are calls in hand that do not last, which want their turns soon.
        """
        self._has_calls = has_calls
        self._waiting: deque[asyncio.Future[None]] = deque()
        # Whether this turn is somebody's.
        self._is_taken = False

    async def parts(self, items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
        """Yields items, as many in each turn as may be done in it."""
        start = 0
        while start < len(items):
            await self._turn()
            end = start + (PER_TURN_BESIDE_CALLS if self._has_calls() else PER_TURN)
            yield items[start:end]
            start = end

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._is_taken:
            self._is_taken = True
            loop.call_soon(self._next)
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            # Who waits no more has no use for it.
            if not turn.done():
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._is_taken = False
