"""A bounded cache of values that expire, with one load at a time for each key.

A value is fresh for its time to live, less some jitter so that replicas do not all load at once. Reading it in the last
part of that time loads it again in the background. After that time it is stale: the next reader waits until it is
loaded, and gets the stale value if that fails, up to a limit of age. After a failure nothing is loaded for a while.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from allocation_gateway import tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Expiry:
    """How values expire, in seconds.

    Attributes:
        ttl: How long a value is fresh.
        stale: How long after that it is still used if it cannot be loaded.
        jitter: The largest part of the time to live that is taken off at random.
        refresh_after: The part of that time after which a value that is read is loaded again.
        failure_pause: How long nothing is loaded after a failure.
    """

    ttl: float
    stale: float = 0.0
    jitter: float = 0.1
    refresh_after: float = 0.8
    failure_pause: float = 5.0


@dataclass(frozen=True, slots=True)
class CacheEntry(Generic[V]):
    """A value and the times at which it expires, in seconds of the cache's clock."""

    value: V
    refresh_at: float
    fresh_until: float
    kept_until: float


class Loaded(NamedTuple, Generic[V]):
    """A value that was loaded.

    Attributes:
        value: The value.
        fresh_until: Until when it is fresh, by the cache's clock; None for the time to live from now on.
    """

    value: V
    fresh_until: float | None = None


class LoadFailedError(Exception):
    """A value is not in the cache and could not be loaded. The cause says why."""


class Cache(Generic[K, V]):
    """A bounded cache, from which the least recently used value is evicted.

    Args:
        expiry: How values expire.
        size: How many values there may be.
        load: Loads a value. What it raises counts as a failure to load. Without it, values are put in by put() alone.
        clock: Tells the time in seconds.
        uniform: Returns a number from 0 to 1 at random, for the jitter.
    """

    def __init__(
        self,
        expiry: Expiry,
        *,
        size: int,
        load: Callable[[K], Awaitable[Loaded[V]]] | None = None,
        clock: Callable[[], float] = time.time,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._expiry = expiry
        self._size = size
        self._load = load
        self._clock = clock
        self._uniform = uniform
        self._entries: OrderedDict[K, CacheEntry[V]] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V]] = {}
        # All loads under way, also those whose result is no longer wanted: the event loop alone would not keep them.
        self._tasks: set[asyncio.Task[V]] = set()
        # Until when a key is not loaded after a failure.
        self._paused_until: OrderedDict[K, float] = OrderedDict()

    def peek(self, key: K) -> V | None:
        """Returns a value that may be used without waiting; None if there is none.

        A stale one may be used only while it cannot be loaded.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        if now >= entry.refresh_at and not self._is_usable(key, entry, now):
            return None
        self._entries.move_to_end(key)
        return entry.value

    def _is_usable(self, key: K, entry: CacheEntry[V], now: float) -> bool:
        """Returns whether a value that is due for a refresh or stale may be used. Loads one that is due."""
        if now >= entry.kept_until:
            del self._entries[key]
            return False
        is_fresh, may_load = now < entry.fresh_until, self._load is not None and not self.is_paused(key)
        if is_fresh and may_load:
            self._start_load(key)
        return is_fresh or not may_load

    async def get(self, key: K) -> V:
        """Returns a value, and loads it if it is not fresh. Cancelling one reader does not affect the others.

        Raises:
            LoadFailedError: It cannot be loaded, and there is no stale one that may be used.
        """
        found = self.peek(key)
        if found is not None:
            return found
        if self.is_paused(key):
            raise LoadFailedError
        try:
            return await asyncio.shield(self._start_load(key))
        except Exception as error:
            # After the failure nothing is loaded for a while, in which a stale value may be used.
            found = self.peek(key)
            if found is None:
                raise LoadFailedError from error
            return found

    def is_paused(self, key: K) -> bool:
        """Returns whether loading a value has failed so recently that it is not tried again."""
        return self._clock() < self._paused_until.get(key, 0.0)

    def entry(self, key: K) -> CacheEntry[V] | None:
        """Returns the entry of a value, however stale; None if there is none. Does not count as use."""
        return self._entries.get(key)

    def fresh_entries(self) -> Iterator[tuple[K, CacheEntry[V]]]:
        """Returns the entries of all fresh values. Does not count as use."""
        now = self._clock()
        return ((key, entry) for key, entry in list(self._entries.items()) if now < entry.fresh_until)

    def put(self, key: K, value: V, *, fresh_until: float | None = None) -> CacheEntry[V]:
        """Puts a value in. It takes precedence over one that is being loaded.

        Args:
            key: Its key.
            value: The value; not None.
            fresh_until: Until when it is fresh, if not for the time to live from now on.
        """
        self._loading.pop(key, None)
        return self._store(key, value, fresh_until)

    def expires_at(self, now: float) -> float:
        """Returns until when a value that is learned now is fresh: for the time to live, less some jitter."""
        return now + self._expiry.ttl * (1 - self._expiry.jitter * self._uniform())

    def _store(self, key: K, value: V, fresh_until: float | None = None) -> CacheEntry[V]:
        now = self._clock()
        if fresh_until is None:
            fresh_until = self.expires_at(now)
        entry = CacheEntry(
            value=value,
            refresh_at=now + (fresh_until - now) * self._expiry.refresh_after,
            fresh_until=fresh_until,
            kept_until=fresh_until + self._expiry.stale,
        )
        self._paused_until.pop(key, None)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return entry

    def invalidate(self, key: K) -> None:
        """Removes a value, its failures, and what is being loaded, which was asked for before."""
        self._entries.pop(key, None)
        self._paused_until.pop(key, None)
        self._loading.pop(key, None)

    def clear(self) -> None:
        """Removes everything."""
        self._entries.clear()
        self._paused_until.clear()
        self._loading.clear()

    def _start_load(self, key: K) -> asyncio.Task[V]:
        """Returns the one task that loads a value, and starts it if there is none."""
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._load_value(key))
            self._loading[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._load_ended)
        return task

    def _load_ended(self, task: asyncio.Task[V]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if nobody waits for it any more

    async def _load_value(self, key: K) -> V:
        if self._load is None:
            raise LoadFailedError
        task = asyncio.current_task()
        try:
            value, fresh_until = await self._load(key)
        except Exception:
            if self._loading.get(key) is task:
                del self._loading[key]
                self._pause(key)
            raise
        if self._loading.get(key) is task:
            del self._loading[key]
            self._store(key, value, fresh_until)
        return value

    def _pause(self, key: K) -> None:
        self._paused_until[key] = self._clock() + self._expiry.failure_pause
        self._paused_until.move_to_end(key)
        if len(self._paused_until) > self._size:
            self._paused_until.popitem(last=False)

    async def close(self) -> None:
        """Cancels what is being loaded."""
        await tasks.end(self._tasks)
