"""Reads shipments or consignments until it is known what became of them: each once at a time, whoever waits for it.

When something is read for the first time is learned from how long upstream has taken of late: somewhat later than
that, so that most is final by then. Intervals grow for what takes longer, and are drawn at random around their length,
so that what was queued together is not read together.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.model import references_field
from allocation_gateway.protection.model import RequestKind
from allocation_gateway.rpc.streams.outcomes import retry_seconds
from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.upstream.call import UpstreamCall
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Api, Operation
    from allocation_gateway.telemetry.observation import Observation

_SHORTEST: Final = 0.05
_LONGEST: Final = 30.0
_LONGEST_FIRST: Final = 10.0
_FIRST: Final = 0.5
# How much what upstream has taken for the last one counts in the average, and how much longer the first wait is.
_LEARNING: Final = 0.1
_CAUTION: Final = 1.25
# The next reading of what is not final comes after this part of the time that it has taken so far.
_GROWTH: Final = 0.6
_JITTER: Final = 0.25
# How many are under way at once, if the share of streams is more.
_AT_ONCE: Final = 16


class ReadingListener(Protocol):
    """Who waits for something to be final."""

    def read(self, reference: str, found: AnyAllocation | GatewayError) -> bool:
        """Is called with what a reading has shown. Returns whether that is all that is waited for."""


class _FollowedReference:
    """What is read until nobody waits for it any more."""

    __slots__ = ("is_due", "is_new", "last_pending", "listeners", "reference", "since")

    def __init__(self, reference: str, since: float, *, is_new: bool) -> None:
        self.reference = reference
        self.since = since
        # Whether upstream has only just taken it in hand, so that it tells how long upstream takes.
        self.is_new = is_new
        # When it was read last, and was not final: for so long upstream has taken at least.
        self.last_pending = since
        self.listeners: list[ReadingListener] = []
        self.is_due = False


class Readings:
    """The readings of one API of one account."""

    def __init__(self, api: AccountApi, reader: Operation, observation: Callable[[], Observation]) -> None:
        """Reads nothing yet.

        Args:
            api: Whom to ask.
            reader: The row that reads.
            observation: Makes what telemetry sees of a reading, which is for all who wait for it.
        """
        self._api = api
        self._reader = reader
        self._observation = observation
        self._average = _FIRST
        self._followed: dict[str, _FollowedReference] = {}
        self._due: list[tuple[float, str]] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()

    def follow(self, reference: str, listener: ReadingListener, *, at_once: bool = False) -> None:
        """Reads something until it is final for a listener, which may be told of it at once, too, from then on.

        Args:
            reference: What is read.
            listener: Who is told of each reading.
            at_once: Whether it may be final already, so that the first reading is made now.
        """
        now = self._api.clock()
        followed = self._followed.get(reference)
        if followed is None:
            followed = self._followed[reference] = _FollowedReference(reference, now, is_new=not at_once)
        followed.listeners.append(listener)
        if at_once or not followed.is_due:
            followed.is_due = True
            self._schedule(reference, now if at_once else now + self._jittered(self._average * _CAUTION))
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def leave(self, reference: str, listener: ReadingListener) -> None:
        """Records that a listener does not wait for something any more."""
        followed = self._followed.get(reference)
        if followed is not None and listener in followed.listeners:
            followed.listeners.remove(listener)
            self._forget_if_unwatched(followed)

    def _forget_if_unwatched(self, followed: _FollowedReference) -> None:
        if not followed.listeners and self._followed.get(followed.reference) is followed:
            del self._followed[followed.reference]
            self._changed.set()

    def _schedule(self, reference: str, at: float) -> None:
        heapq.heappush(self._due, (at, reference))
        self._changed.set()

    async def _run(self) -> None:
        """Begins each reading when it is due, for as long as anybody waits."""
        clock = self._api.clock
        while self._followed:
            self._changed.clear()
            now = clock()
            while self._due and self._due[0][0] <= now:
                _, reference = heapq.heappop(self._due)
                followed = self._followed.get(reference)
                if followed is not None and followed.is_due:
                    await self._places.acquire()
                    followed.is_due = False
                    task = asyncio.create_task(self._read(followed))
                    self._under_way.add(task)
                    task.add_done_callback(self._ended)
            wait = self._due[0][0] - clock() if self._due else None
            try:
                async with asyncio.timeout(None if wait is None else max(wait, 0.0)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._due.clear()
        self._task = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._places.release()

    async def _read(self, followed: _FollowedReference) -> None:
        reference = followed.reference
        found = await self._fetch(reference)
        wait = retry_seconds(found) if isinstance(found, GatewayError) else 0.0
        for listener in tuple(followed.listeners):
            if listener.read(reference, found) and listener in followed.listeners:
                followed.listeners.remove(listener)
        now = self._api.clock()
        if not followed.listeners:
            if followed.is_new:
                self._learn(followed, now)
            self._forget_if_unwatched(followed)
            return
        if not isinstance(found, GatewayError):
            followed.last_pending = now
        if not followed.is_due:
            followed.is_due = True
            pause = max(_GROWTH * (now - followed.since), _GROWTH * self._average, _SHORTEST)
            self._schedule(reference, now + max(self._jittered(min(pause, _LONGEST)), wait))

    def _learn(self, followed: _FollowedReference, now: float) -> None:
        """Learns how long upstream takes from something that has become final since it was read before."""
        taken = (followed.last_pending + now) / 2 - followed.since
        self._average = min(max(self._average + (taken - self._average) * _LEARNING, _SHORTEST), _LONGEST_FIRST)

    @staticmethod
    def _jittered(seconds: float) -> float:
        return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - it is no secret

    async def _fetch(self, reference: str) -> AnyAllocation | GatewayError:
        """Reads something once."""
        api, reader = self._api, self._reader
        until = api.times_out_at()
        call = UpstreamCall(Attempt(now=api.now), self._observation(), until, True, AttemptKind.WATCH)
        try:
            permit = await api.protection.acquire_for_stream(RequestKind.READ, until)
        except GatewayError as error:
            return error.with_traceback(None)
        result = await api.send(
            reader, reader.default_route, reader.request(**{references_field(reader.request): reference}), call, permit
        )
        response: Any = result.response
        return response if isinstance(response, GatewayError) else response.allocation

    async def close(self) -> None:
        """Ends all readings."""
        self._followed.clear()
        tasks = [*self._under_way, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class AllReadings:
    """The readings of all APIs of all accounts."""

    def __init__(self, readers: Mapping[Api, Operation], observation: Callable[[], Observation]) -> None:
        """Reads nothing yet.

        Args:
            readers: The rows that read.
            observation: See Readings.
        """
        self._readers = readers
        self._observation = observation
        self._of: dict[AccountApi, Readings] = {}

    def of(self, api: AccountApi) -> Readings:
        """Returns the readings of an API."""
        if api not in self._of:
            self._of[api] = Readings(api, self._readers[api.upstream.api], self._observation)
        return self._of[api]

    def forget(self, api: AccountApi) -> None:
        """Forgets those of one that has ended, of which nothing is read any more."""
        self._of.pop(api, None)

    async def close(self) -> None:
        """Ends all readings."""
        for readings in self._of.values():
            await readings.close()
