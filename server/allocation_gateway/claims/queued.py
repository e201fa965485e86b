"""The claims of many writes that are made at once. Few of their steps are under way at a time.

A server carries out what one connection asks in order. If a wave asked for the claims of eight hundred items as fast as
it can, each step of a single call would wait behind all of them, for up to a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from allocation_gateway.claims.delegating import DelegatingClaims
from allocation_gateway.claims.model import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from allocation_gateway.claims.model import ClaimStore

T = TypeVar("T")

# Steps that are under way at once: a server has carried them out after some two milliseconds, and one that is ten
# milliseconds away still carries out three thousand of them in a second.
_MOST_STEPS: Final = 32


class StepQueue:
    """Places for steps that are under way at once, given in the order in which they are asked for."""

    __slots__ = ("_free", "_waiting")

    def __init__(self, places: int = _MOST_STEPS) -> None:
        """Has all of its places free."""
        # Less than none after a time in which the store could not be asked.
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """Carries out a step when there is a place for it.

        Raises:
            StoreUnavailableError: The store has not answered. The step may have been carried out.
        """
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait()
        try:
            return await step()
        except StoreUnavailableError:
            self._let_all_go()
            raise
        finally:
            self._leave()

    async def _wait(self) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                # It was given the place in the same turn of the loop.
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting and self._free >= 0:
            place = self._waiting.popleft()
            # Who was cancelled meanwhile needs none.
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _let_all_go(self) -> None:
        """Gives a place to all who wait: each would wait for the time-outs of others before it meets its own."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                self._free -= 1
                place.set_result(None)


class QueuedClaims(DelegatingClaims):
    """A store whose steps wait for a place. See ClaimStore for them."""

    __slots__ = ("_queue",)

    def __init__(self, store: ClaimStore, queue: StepQueue) -> None:
        """Takes what carries out the steps, and where they wait."""
        super().__init__(store)
        self._queue = queue

    def at(self, references: Sequence[str]) -> QueuedClaims:
        """Returns where the claims are of writes to exactly these references."""
        return QueuedClaims(self._store.at(references), self._queue)

    async def _carry_out(self, step: Callable[[], Awaitable[T]]) -> T:
        return await self._queue.run(step)
