"""Reads shipments or consignments until it is known what became of them: each once at a time, whoever waits for it.

When something is read for the first time is learned from how long upstream has taken of late: somewhat later than
that, so that most is final by then. Intervals grow for what takes longer, and are drawn at random around their length,
so that what was queued together is not read together.
"""

from __future__ import annotations

import asyncio
import heapq
import math
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
# How many are under way at once if upstream answers quickly. The slower it is, the more: as many as make so many in a
# second, within the share of streams.
_AT_ONCE: Final = 16
_PER_SECOND: Final = 1_000
# So many times what upstream takes for one, on average, it may take for another.
_PATIENCE: Final = 5.0
# The trace of a reading is linked to so many of the calls that wait for it.
_MOST_LINKS: Final = 32


class ReadingListener(Protocol):
    """Who waits for something to be final."""

    @property
    def observation(self) -> Observation:
        """The call that waits, as telemetry sees it."""

    def read(self, reference: str, found: AnyAllocation | GatewayError) -> bool:
        """Is called with what a reading has shown. Returns whether that is all that is waited for."""


class _FollowedReference:
    """What is read until nobody waits for it any more.

    Attributes:
        reference: What it is.
        since: When somebody has begun to wait for it last: intervals grow from then on.
        queued_at: When upstream has taken it in hand, so that it tells how long upstream takes; None if that is not
            known.
        last_pending: When it was read last, and was not final: for so long upstream has taken at least.
        listeners: Who waits for it.
        newcomers: Who has begun to since a reading is under way: they are told of the next one.
        due_at: When it is read next; None if that is not settled, or is being done.
        is_being_read: Whether a reading is under way.
    """

    __slots__ = (
        "due_at",
        "is_being_read",
        "last_pending",
        "listeners",
        "newcomers",
        "queued_at",
        "reference",
        "since",
    )

    def __init__(self, reference: str, since: float) -> None:
        self.reference = reference
        self.since = since
        self.queued_at: float | None = None
        self.last_pending = since
        self.listeners: list[ReadingListener] = []
        self.newcomers: list[ReadingListener] = []
        self.due_at: float | None = None
        self.is_being_read = False


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
        # What one reading takes, in seconds.
        self._seconds = 0.0
        self._followed: dict[str, _FollowedReference] = {}
        self._due: list[tuple[float, str]] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def patience(self) -> float:
        """For how many seconds a state must have lasted that may be left from before something was queued."""
        return max(self._api.settings.settle_time, _PATIENCE * self._average)

    def follow(
        self, reference: str, listener: ReadingListener, *, at_once: bool = False, queued_since: float | None = None
    ) -> None:
        """Reads something until it is final for a listener, which is told of each reading that begins from then on.

        Args:
            reference: What is read.
            listener: Who is told of each reading.
            at_once: Whether it may be final already, so that the first reading is made now.
            queued_since: Since when it has been queued, at the longest, by the event loop's clock; None if it has just
                been.
        """
        now = self._api.clock()
        followed = self._followed.get(reference)
        if followed is None:
            followed = self._followed[reference] = _FollowedReference(reference, now)
        # Whoever waits already has waited for long, and has long intervals. They are not for who comes now.
        followed.since = now
        if not at_once and queued_since is None:
            # Of what was queued before, it is not known exactly when: it teaches nothing.
            followed.queued_at = followed.last_pending = now
        (followed.newcomers if followed.is_being_read else followed.listeners).append(listener)
        first = (now if queued_since is None else queued_since) + self._jittered(self._average * _CAUTION)
        self._schedule(followed, now if at_once else max(first, now))
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def leave(self, reference: str, listener: ReadingListener) -> None:
        """Records that a listener does not wait for something any more."""
        followed = self._followed.get(reference)
        if followed is None:
            return
        for waiting in (followed.listeners, followed.newcomers):
            if listener in waiting:
                waiting.remove(listener)
        self._forget_if_unwatched(followed)

    def _forget_if_unwatched(self, followed: _FollowedReference) -> None:
        # What is being read is forgotten after that: who comes meanwhile must not have it read a second time.
        is_watched = followed.listeners or followed.newcomers or followed.is_being_read
        if not is_watched and self._followed.get(followed.reference) is followed:
            del self._followed[followed.reference]
            self._changed.set()

    def _schedule(self, followed: _FollowedReference, at: float) -> None:
        """Schedules a reading at a moment, unless there is to be one before."""
        if followed.due_at is not None and followed.due_at <= at:
            return
        followed.due_at = at
        if not followed.is_being_read:
            self._enter(followed, at)

    def _enter(self, followed: _FollowedReference, at: float) -> None:
        heapq.heappush(self._due, (at, followed.reference))
        self._changed.set()

    @property
    def _most(self) -> int:
        """How many readings may be under way at once."""
        places = self._api.protection.stream_places
        return min(max(_AT_ONCE, math.ceil(_PER_SECOND * self._seconds)), places)

    async def _run(self) -> None:
        """Begins each reading when it is due, for as long as anybody waits."""
        clock = self._api.clock
        while self._followed:
            self._changed.clear()
            now = clock()
            while self._due and self._due[0][0] <= now and len(self._under_way) < self._most:
                at, reference = heapq.heappop(self._due)
                followed = self._followed.get(reference)
                # Of one that was moved, the place that it had before is still there.
                if followed is not None and followed.due_at == at and not followed.is_being_read:
                    followed.due_at = None
                    followed.is_being_read = True
                    task = asyncio.create_task(self._read(followed))
                    self._under_way.add(task)
                    task.add_done_callback(self._ended)
            has_room = len(self._under_way) < self._most
            wait = self._due[0][0] - clock() if self._due and has_room else None
            try:
                async with asyncio.timeout(None if wait is None else max(wait, 0.0)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._due.clear()
        self._task = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._changed.set()

    async def _read(self, followed: _FollowedReference) -> None:
        reference, listeners = followed.reference, followed.listeners
        observation = self._observation()
        for listener in listeners[:_MOST_LINKS]:
            observation.serves(listener.observation)
        try:
            found = await self._fetch(reference, observation)
        finally:
            followed.is_being_read = False
            told = tuple(listeners)
            listeners += followed.newcomers
            followed.newcomers.clear()
        wait = retry_seconds(found) if isinstance(found, GatewayError) else 0.0
        is_final = False
        for listener in told:
            if listener in listeners and listener.read(reference, found):
                is_final = True
                if listener in listeners:
                    listeners.remove(listener)
        now = self._api.clock()
        if not isinstance(found, GatewayError):
            if not is_final:
                followed.last_pending = now
            elif followed.queued_at is not None and self._reader.allocations.is_allocated(found):
                self._learn(followed.last_pending, followed.queued_at, now)
                followed.queued_at = None
        if not listeners:
            self._forget_if_unwatched(followed)
            return
        # When whoever has come meanwhile wants it to be read.
        wanted, followed.due_at = followed.due_at, None
        pause = max(_GROWTH * (now - followed.since), _GROWTH * self._average, _SHORTEST)
        at = now + max(self._jittered(min(pause, _LONGEST)), wait)
        self._schedule(followed, at if wanted is None else min(at, max(wanted, now + wait)))

    def _learn(self, last_pending: float, queued_at: float, now: float) -> None:
        """Learns how long upstream takes from something that has become final since it was read before."""
        taken = (last_pending + now) / 2 - queued_at
        self._average = min(max(self._average + (taken - self._average) * _LEARNING, _SHORTEST), _LONGEST_FIRST)

    @staticmethod
    def _jittered(seconds: float) -> float:
        return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - it is no secret

    async def _fetch(self, reference: str, observation: Observation) -> AnyAllocation | GatewayError:
        """Reads something once."""
        api, reader = self._api, self._reader
        until = api.times_out_at()
        call = UpstreamCall(Attempt(now=api.now), observation, until, True, AttemptKind.WATCH)
        try:
            permit = await api.protection.acquire_for_stream(RequestKind.READ, until)
        except GatewayError as error:
            return error.with_traceback(None)
        begun = api.clock()
        result = await api.send(
            reader, reader.default_route, reader.request(**{references_field(reader.request): reference}), call, permit
        )
        self._seconds += (api.clock() - begun - self._seconds) * _LEARNING
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
