"""How many requests are under way at once, and who waits for a place.

Writes and reads stand in lines of their own. There are some more places than either side may take, so that neither
ever shuts the other out; where both wait, they take turns. Whoever would wait too long is told so at once: a caller
that learns after half a second that it is refused has lost half a second, and whoever is behind it too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from allocation_gateway.protection.model import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.protection.rate import Bucket

# How much the last service time counts in the average.
_WEIGHT: Final = 0.1
# An estimate is rough. Whoever is let into the line should also be served.
_CAUTION: Final = 1.25
# Event loops tell time in milliseconds; a shorter timer would spin.
_SHORTEST_TIMER: Final = 0.001


class Lane:
    """One side of the gate: its line, and how long its requests take.

    Attributes:
        name: What metrics call it.
        most: How many places it may take.
        inside: How many it has taken.
        waiting: Who waits, the first one first. The result of each says whether it has a place.
        service: The average time in a place, in seconds, weighted to the latest ones.
    """

    __slots__ = ("inside", "most", "name", "service", "waiting")

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.inside = 0
        self.service = 0.0
        # An ordered dict, since leaving the line takes the same short time from anywhere in it.
        self.waiting: OrderedDict[asyncio.Future[bool], None] = OrderedDict()


class Gate:
    """A limit of requests under way, with a short line before it.

    Attributes:
        writes: The side of writes.
        reads: The side of reads.
    """

    def __init__(
        self,
        most: int,
        limit: int,
        most_waiting: int,
        longest_wait: float,
        *,
        bucket: Bucket,
        clock: Callable[[], float],
        on_line: Callable[[Lane], None],
    ) -> None:
        """Makes an empty gate.

        Args:
            most: How many writes, and how many reads, may be under way at once.
            limit: How many of both together. What it is more than the former is left to each side by the other.
            most_waiting: How many may wait in each of the two lines.
            longest_wait: For how many seconds.
            bucket: Tokens, of which each request needs one.
            clock: The event loop's clock.
            on_line: Is told of each lane whose line has become longer or shorter.
        """
        self.writes = Lane("write", most)
        self.reads = Lane("read", most)
        self._limit = limit
        self._inside = 0
        self._most_waiting = most_waiting
        self._longest_wait = longest_wait
        self._bucket = bucket
        self._clock = clock
        self._on_line = on_line
        self._next = self.reads
        # Set while somebody who could have a place waits for a token. Nobody waits before a free place for less.
        self._timer: asyncio.TimerHandle | None = None

    def try_enter(self, lane: Lane) -> bool:
        """Takes a place if there is one and nobody waits for it; it has to be given back by leave() or forgo()."""
        if (
            self._inside >= self._limit
            or lane.inside >= lane.most
            or self._timer is not None
            or self._bucket.take() > 0
        ):
            return False
        self._inside += 1
        lane.inside += 1
        return True

    async def enter(self, lane: Lane, deadline: float) -> None:
        """Waits for a place where try_enter() has found none. Each one has to be given back by leave() or forgo().

        Args:
            lane: The side.
            deadline: Until when, by the event loop's clock; no longer than the longest wait in any case.

        Raises:
            RefusedError: There is none in time: at once if that can be foreseen, or else when the time is up.
        """
        seconds, policy = self._estimate(lane)
        allowed = min(self._longest_wait, deadline - self._clock() - lane.service)
        if len(lane.waiting) >= self._most_waiting or seconds * _CAUTION > allowed:
            raise RefusedError(policy, seconds)
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        lane.waiting[place] = None
        self._on_line(lane)
        self._admit()
        end = loop.call_later(max(min(self._longest_wait, deadline - self._clock()), 0.0), self._give_up, lane, place)
        try:
            if await place:
                return
        except asyncio.CancelledError:
            if place.cancelled():
                self._remove(lane, place)
            elif place.result():
                # The place and the news of the cancellation crossed on their way.
                self.forgo(lane)
            raise
        finally:
            end.cancel()
        seconds, policy = self._estimate(lane)
        raise RefusedError(policy, seconds)

    def forgo(self, lane: Lane) -> None:
        """Gives a place back that was not used, and its token."""
        self._bucket.put_back()
        self._vacate(lane)

    def leave(self, lane: Lane, seconds: float) -> None:
        """Gives a place back that was held for so many seconds."""
        lane.service += (seconds - lane.service) * _WEIGHT if lane.service else seconds
        self._vacate(lane)

    def _vacate(self, lane: Lane) -> None:
        self._inside -= 1
        lane.inside -= 1
        if self.reads.waiting or self.writes.waiting:
            self._admit()

    def _estimate(self, lane: Lane) -> tuple[float, str]:
        """Returns how long somebody who came now would wait, in seconds, and for what."""
        other = self._other(lane)
        turn = len(lane.waiting) + 1
        free = min(self._limit - self._inside, lane.most - lane.inside)
        for_place = max(turn - free, 0) * lane.service / max(lane.inside, 1)
        for_token = self._bucket.wait(turn + min(turn, len(other.waiting)))
        return (for_token, self._bucket.policy) if for_token > for_place else (for_place, "queue")

    def _other(self, lane: Lane) -> Lane:
        return self.reads if lane is self.writes else self.writes

    def _admit(self) -> None:
        """Gives places to those who wait, as long as there are places and tokens."""
        if self._timer is not None:
            return
        while (lane := self._turn()) is not None:
            place = next(iter(lane.waiting))
            if place.done():
                # Cancelled, but its task has not run since.
                self._remove(lane, place)
                continue
            seconds = self._bucket.take()
            if seconds > 0:
                delay = max(seconds, _SHORTEST_TIMER)
                self._timer = asyncio.get_running_loop().call_later(delay, self._token_due)
                return
            del lane.waiting[place]
            self._on_line(lane)
            self._inside += 1
            lane.inside += 1
            self._next = self._other(lane)
            place.set_result(True)

    def _turn(self) -> Lane | None:
        """Returns the lane whose turn it is among those in which somebody waits and can have a place."""
        if self._inside >= self._limit:
            return None
        for lane in (self._next, self._other(self._next)):
            if lane.waiting and lane.inside < lane.most:
                return lane
        return None

    def _token_due(self) -> None:
        self._timer = None
        self._admit()

    def _give_up(self, lane: Lane, place: asyncio.Future[bool]) -> None:
        """Ends a wait whose time is up."""
        if not place.done():
            place.set_result(False)
            self._remove(lane, place)

    def _remove(self, lane: Lane, place: asyncio.Future[bool]) -> None:
        if place not in lane.waiting:
            return
        del lane.waiting[place]
        self._on_line(lane)
        if self._timer is not None and self._turn() is None:
            self._timer.cancel()
            self._timer = None
