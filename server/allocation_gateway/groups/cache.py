"""A memory of values that age: what is fresh is told at once, and what is not is asked for once, whoever wants it.

The life of a value: it is fresh for its time to live, less some jitter so that replicas do not all ask at once. Whoever
reads it in the last part of that time has it loaded anew in the background. After that it is stale: the next one to
want it waits for it to be loaded, and if that fails, gets the stale value all the same, up to a bound. After a failure
nothing is loaded for a while.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Aging:
    """How values age, in seconds.

    Attributes:
        ttl: How long a value is fresh.
        stale: How long after that it is still given out if it cannot be loaded.
        jitter: The largest part of the time to live that is taken off at random.
        ahead: The part of its life after which a value that is read is loaded anew.
        pause: How long after a failure nothing is loaded.
    """

    ttl: float
    stale: float = 0.0
    jitter: float = 0.1
    ahead: float = 0.8
    pause: float = 5.0


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A value and its life, in seconds of the cache's clock."""

    value: V
    stored_at: float
    refresh_at: float
    fresh_until: float
    kept_until: float


class Loaded(NamedTuple, Generic[V]):
    """What was loaded.

    Attributes:
        value: The value.
        fresh_until: Until when it is fresh, by the cache's clock; None for the time to live from now on.
    """

    value: V
    fresh_until: float | None = None


class LoadFailedError(Exception):
    """A value is not there and could not be loaded. The cause says why."""


class Cache(Generic[K, V]):
    """A bounded cache. The value unused for longest makes room.

    Args:
        aging: How values age.
        size: How many values there may be.
        load: Loads a value; without it, values come by put() alone. What it raises is a failure to load.
        clock: Tells the time in seconds.
        chance: Gives a number from 0 to 1 for the jitter.
    """

    def __init__(
        self,
        aging: Aging,
        *,
        size: int,
        load: Callable[[K], Awaitable[Loaded[V]]] | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._aging = aging
        self._size = size
        self._load = load
        self._clock = clock
        self._chance = chance
        self._entries: OrderedDict[K, Entry[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[V]] = {}
        # Also those whose result is no longer wanted, so that they are not collected before they end.
        self._tasks: set[asyncio.Task[V]] = set()
        # When a key may be loaded again after a failure.
        self._pauses: OrderedDict[K, float] = OrderedDict()

    def peek(self, key: K) -> V | None:
        """Returns a value that may be used now without waiting; None if there is none.

        One that is stale may be used only while it cannot be loaded.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        if now >= entry.refresh_at and not self._is_usable(key, entry, now):
            return None
        self._entries.move_to_end(key)
        return entry.value

    def _is_usable(self, key: K, entry: Entry[V], now: float) -> bool:
        """Decides about a value in the last part of its life or after it, and has it loaded anew where that helps."""
        if now >= entry.kept_until:
            del self._entries[key]
            return False
        is_fresh, may_load = now < entry.fresh_until, self._load is not None and not self.paused(key)
        if is_fresh and may_load:
            self._flight(key)
        return is_fresh or not may_load

    async def get(self, key: K) -> V:
        """Returns a value, and loads it if it is not fresh. Cancelling one who waits does not concern the others.

        Raises:
            LoadFailedError: It cannot be loaded, and there is none that is not too stale.
        """
        found = self.peek(key)
        if found is not None:
            return found
        if self.paused(key):
            raise LoadFailedError
        try:
            return await asyncio.shield(self._flight(key))
        except Exception as error:
            # The failure has begun a pause, in which a stale value may be used.
            found = self.peek(key)
            if found is None:
                raise LoadFailedError from error
            return found

    def paused(self, key: K) -> bool:
        """Tells whether loading a value has failed so recently that it is not tried again."""
        return self._clock() < self._pauses.get(key, 0.0)

    def entry(self, key: K) -> Entry[V] | None:
        """Returns a value with its life, however stale; None if it is not there. Does not count as use."""
        return self._entries.get(key)

    def fresh(self) -> Iterator[tuple[K, Entry[V]]]:
        """Returns all that is fresh. Does not count as use."""
        now = self._clock()
        return ((key, entry) for key, entry in list(self._entries.items()) if now < entry.fresh_until)

    def put(self, key: K, value: V, *, fresh_until: float | None = None) -> Entry[V]:
        """Stores a value. It counts more than one that is being loaded.

        Args:
            key: Its key.
            value: The value; not None.
            fresh_until: Until when it is fresh, if not for the time to live from now on.
        """
        self._flights.pop(key, None)
        return self._store(key, value, fresh_until)

    def _store(self, key: K, value: V, fresh_until: float | None = None) -> Entry[V]:
        now = self._clock()
        if fresh_until is None:
            fresh_until = now + self._aging.ttl * (1 - self._aging.jitter * self._chance())
        entry = Entry(
            value=value,
            stored_at=now,
            refresh_at=now + (fresh_until - now) * self._aging.ahead,
            fresh_until=fresh_until,
            kept_until=fresh_until + self._aging.stale,
        )
        self._pauses.pop(key, None)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return entry

    def invalidate(self, key: K) -> None:
        """Forgets a value, its failures, and what is being loaded: that was asked for before."""
        self._entries.pop(key, None)
        self._pauses.pop(key, None)
        self._flights.pop(key, None)

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self._pauses.clear()
        self._flights.clear()

    def _flight(self, key: K) -> asyncio.Task[V]:
        """Returns the one task that loads a value."""
        task = self._flights.get(key)
        if task is None:
            task = asyncio.create_task(self._fly(key))
            self._flights[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._landed)
        return task

    def _landed(self, task: asyncio.Task[V]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, even if nobody waits any more

    async def _fly(self, key: K) -> V:
        if self._load is None:
            raise LoadFailedError
        task = asyncio.current_task()
        try:
            value, fresh_until = await self._load(key)
        except Exception:
            if self._flights.get(key) is task:
                del self._flights[key]
                self._pause(key)
            raise
        if self._flights.get(key) is task:
            del self._flights[key]
            self._store(key, value, fresh_until)
        return value

    def _pause(self, key: K) -> None:
        self._pauses[key] = self._clock() + self._aging.pause
        self._pauses.move_to_end(key)
        if len(self._pauses) > self._size:
            self._pauses.popitem(last=False)

    async def close(self) -> None:
        """Ends what is being loaded."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
