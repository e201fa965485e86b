"""How many requests are under way at once, and who waits for a slot.

Writes and reads have queues of their own. There are some more slots than either of them may take, so that
neither ever shuts the other out; where both wait, they take turns. Whoever would wait too long is told so at once: a
caller that learns after half a second that it is refused has lost half a second, and whoever is behind it too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from allocation_gateway.protection.model import RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.protection.rate import TokenBucket

# How much the last service time counts in the average.
_WEIGHT: Final = 0.1
# An estimate is rough. Whoever is let into the queue should also be served.
_CAUTION: Final = 1.25
# Event loops tell time in milliseconds; a shorter timer would spin.
_SHORTEST_TIMER: Final = 0.001


class Lane:
    """The writes, or the reads: their queue, and how long they take.

    Attributes:
        name: What metrics call it.
        limit: How many slots it may take.
        in_use: How many it has taken.
        queue: Who waits, the first one first. The result of each says whether it has a slot.
        average_seconds: The average time in a slot, weighted to the latest ones.
    """

    __slots__ = ("average_seconds", "in_use", "limit", "name", "queue")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.in_use = 0
        self.average_seconds = 0.0
        # An ordered dict, since leaving the queue takes the same short time from anywhere in it.
        self.queue: OrderedDict[asyncio.Future[bool], None] = OrderedDict()


class ConcurrencyLimiter:
    """A limit of requests under way, with a short queue before it.

    Attributes:
        writes: The lane of writes.
        reads: The lane of reads.
    """

    def __init__(
        self,
        per_lane: int,
        limit: int,
        max_queue: int,
        max_wait: float,
        *,
        bucket: TokenBucket,
        clock: Callable[[], float],
        on_queue_change: Callable[[Lane], None],
    ) -> None:
        """Makes a limiter of which no slot is taken.

        Args:
            per_lane: How many writes, and how many reads, may be under way at once.
            limit: How many of both together. What it is more than the former is left to each lane by the other.
            max_queue: How many may wait in each of the two queues.
            max_wait: For how many seconds.
            bucket: Tokens, of which each request needs one.
            clock: The event loop's clock.
            on_queue_change: Is told of each lane whose queue has become longer or shorter.
        """
        self.writes = Lane("write", per_lane)
        self.reads = Lane("read", per_lane)
        self._limit = limit
        self._in_use = 0
        self._max_queue = max_queue
        self._max_wait = max_wait
        self._bucket = bucket
        self._clock = clock
        self._on_queue_change = on_queue_change
        self._next = self.reads
        # Set while somebody who could have a slot waits for a token. Nobody waits before a free slot for less.
        self._timer: asyncio.TimerHandle | None = None

    def try_acquire(self, lane: Lane) -> bool:
        """Takes a slot if there is one and nobody waits for it. It has to be given back: see release()."""
        if (
            self._in_use >= self._limit
            or lane.in_use >= lane.limit
            or self._timer is not None
            or self._bucket.take() > 0
        ):
            return False
        self._in_use += 1
        lane.in_use += 1
        return True

    async def acquire(self, lane: Lane, deadline: float) -> None:
        """Waits for a slot where try_acquire() has found none. It has to be given back: see release().

        Args:
            lane: Whose slot it is.
            deadline: Until when, by the event loop's clock; no longer than the longest wait in any case.

        Raises:
            RejectedError: There is none in time: at once if that can be foreseen, or else when the time is up.
        """
        seconds, policy = self._estimate(lane)
        allowed = min(self._max_wait, deadline - self._clock() - lane.average_seconds)
        if len(lane.queue) >= self._max_queue or seconds * _CAUTION > allowed:
            raise RejectedError(policy, seconds)
        loop = asyncio.get_running_loop()
        slot: asyncio.Future[bool] = loop.create_future()
        lane.queue[slot] = None
        self._on_queue_change(lane)
        self._admit()
        end = loop.call_later(max(min(self._max_wait, deadline - self._clock()), 0.0), self._give_up, lane, slot)
        try:
            if await slot:
                return
        except asyncio.CancelledError:
            if slot.cancelled():
                self._remove(lane, slot)
            elif slot.result():
                # The slot and the news of the cancellation crossed on their way.
                self.release_unused(lane)
            raise
        finally:
            end.cancel()
        seconds, policy = self._estimate(lane)
        raise RejectedError(policy, seconds)

    def release_unused(self, lane: Lane) -> None:
        """Gives a slot back that was not used, and its token."""
        self._bucket.put_back()
        self._vacate(lane)

    def release(self, lane: Lane, seconds: float) -> None:
        """Gives a slot back that was held for so many seconds. See release_unused() for one that was not needed."""
        lane.average_seconds += (seconds - lane.average_seconds) * _WEIGHT if lane.average_seconds else seconds
        self._vacate(lane)

    def _vacate(self, lane: Lane) -> None:
        self._in_use -= 1
        lane.in_use -= 1
        if self.reads.queue or self.writes.queue:
            self._admit()

    def _estimate(self, lane: Lane) -> tuple[float, str]:
        """Returns how long somebody who came now would wait, in seconds, and for what."""
        other = self._other(lane)
        turn = len(lane.queue) + 1
        free = min(self._limit - self._in_use, lane.limit - lane.in_use)
        for_slot = max(turn - free, 0) * lane.average_seconds / max(lane.in_use, 1)
        for_token = self._bucket.wait(turn + min(turn, len(other.queue)))
        return (for_token, self._bucket.policy) if for_token > for_slot else (for_slot, "queue")

    def _other(self, lane: Lane) -> Lane:
        return self.reads if lane is self.writes else self.writes

    def _admit(self) -> None:
        """Gives slots to those who wait, as long as there are slots and tokens."""
        if self._timer is not None:
            return
        while (lane := self._turn()) is not None:
            slot = next(iter(lane.queue))
            if slot.done():
                # Cancelled, but its task has not run since.
                self._remove(lane, slot)
                continue
            seconds = self._bucket.take()
            if seconds > 0:
                delay = max(seconds, _SHORTEST_TIMER)
                self._timer = asyncio.get_running_loop().call_later(delay, self._token_due)
                return
            del lane.queue[slot]
            self._on_queue_change(lane)
            self._in_use += 1
            lane.in_use += 1
            self._next = self._other(lane)
            slot.set_result(True)

    def _turn(self) -> Lane | None:
        """Returns the lane whose turn it is among those in which somebody waits and can have a slot."""
        if self._in_use >= self._limit:
            return None
        for lane in (self._next, self._other(self._next)):
            if lane.queue and lane.in_use < lane.limit:
                return lane
        return None

    def _token_due(self) -> None:
        self._timer = None
        self._admit()

    def _give_up(self, lane: Lane, slot: asyncio.Future[bool]) -> None:
        """Ends a wait whose time is up."""
        if not slot.done():
            slot.set_result(False)
            self._remove(lane, slot)

    def _remove(self, lane: Lane, slot: asyncio.Future[bool]) -> None:
        if slot not in lane.queue:
            return
        del lane.queue[slot]
        self._on_queue_change(lane)
        if self._timer is not None and self._turn() is None:
            self._timer.cancel()
            self._timer = None
