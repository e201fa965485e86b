"""The policies that stand between a call and one account at upstream, in the order in which a request meets them.

Breaker, then the limit of requests under way with its rate limit, then the breaker once more: it may have opened while
the request waited, and a probe counts from the moment before it is sent.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from allocation_gateway.protection.breaker import REFUSED, Breaker, BreakerOptions, BreakerState
from allocation_gateway.protection.budget import Budget
from allocation_gateway.protection.concurrency import ConcurrencyLimiter
from allocation_gateway.protection.model import RejectedError, RequestKind
from allocation_gateway.protection.rate import TokenBucket
from allocation_gateway.protection.rejections import rejection
from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.tasks import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.errors import GatewayError
    from allocation_gateway.protection.concurrency import Lane
    from allocation_gateway.settings import ApiSettings
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.upstream.call import CallOutcome

# A read changes nothing and each one answers a question of a caller's, so that there may be more of them than of
# repeated writes. The bound is for what would otherwise be without one: many doubts, each read again and again.
_READINGS_RATIO: Final = 2.0
_READINGS_BURST: Final = 200
_READINGS_PER_SECOND: Final = 20.0
_CLOSED: Final = BreakerState.CLOSED
_WRITE: Final = RequestKind.WRITE
_log = structlog.get_logger()


class Permit(msgspec.Struct):
    """The right to send one request. It has to be given back, whatever becomes of the request.

    Attributes:
        protection: What it was given by; None once it was given back.
        lane: What it takes a place in.
        ticket: See Breaker.begin().
        since: When it was given, by the event loop's clock.
        share: What it takes a place in besides; None if there is nothing.
    """

    protection: Protection | None
    lane: Lane
    ticket: int
    since: float
    share: asyncio.Semaphore | None = None

    def release(self, outcome: CallOutcome) -> None:
        """Gives the permit back and tells what the request says about upstream. A second time changes nothing."""
        protection = self.protection
        if protection is not None:
            self.protection = None
            protection.released(self.lane, self.ticket, self.since, outcome)
            if self.share is not None:
                self.share.release()

    def within(self, share: asyncio.Semaphore) -> Permit:
        """Takes a place in a share until the permit is given back. Returns the permit itself."""
        self.share = share
        return self


class Protection:
    """Everything that protects one account at upstream.

    Attributes:
        retry_budget: The budget of writes that are sent once more. Whoever asks for a write deposits.
        read_budget: The budget of read-backs. Whoever asks for a write deposits.
        stream_places: How many writes, and how many reads, of streams may be under way at once.
    """

    def __init__(
        self,
        api: str,
        settings: ApiSettings,
        *,
        account: str = DEFAULT_ACCOUNT,
        clock: Callable[[], float],
        telemetry: Telemetry,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """Makes the protection of an account that nothing is known of yet.

        Args:
            api: What metrics and log lines call it.
            settings: The settings of its API.
            account: What metrics and log lines call the account, unless it is the one of the settings.
            clock: The event loop's clock.
            telemetry: Where metrics go.
            uniform: A number from 0 to 1, at random.
        """
        self._api = api
        self._account = account
        self._fields = {"api": api} if account == DEFAULT_ACCOUNT else {"api": api, "account": account}
        self._clock = clock
        self._telemetry = telemetry
        self._breaker = Breaker(
            BreakerOptions(
                window=settings.breaker_window,
                min_calls=settings.breaker_min_calls,
                failure_ratio=settings.breaker_failure_ratio,
                open_time=settings.breaker_open_time,
                probes=settings.breaker_probes,
            ),
            clock=clock,
            random=uniform,
            on_change=self._breaker_changed,
        )
        self._bucket = TokenBucket(settings.rate_limit, settings.rate_burst, clock=clock)
        self._limiter = ConcurrencyLimiter(
            *settings.places,
            settings.max_queue,
            settings.queue_time,
            bucket=self._bucket,
            clock=clock,
            on_queue_change=self._queue_changed,
        )
        self.stream_places = max(int(settings.stream_share * settings.places[0]), 1)
        self._write_share = asyncio.Semaphore(self.stream_places)
        self._read_share = asyncio.Semaphore(self.stream_places)
        # Whoever of a stream's waits in the line of a lane.
        self._write_turn = asyncio.Lock()
        self._read_turn = asyncio.Lock()
        self.retry_budget = Budget(
            settings.retry_budget_ratio,
            settings.retry_budget_burst,
            clock=clock,
            on_withdrawal=partial(self._budget_asked, "retries"),
        )
        self.read_budget = Budget(
            _READINGS_RATIO,
            _READINGS_BURST,
            clock=clock,
            on_withdrawal=partial(self._budget_asked, "readings"),
            per_second=_READINGS_PER_SECOND,
        )
        telemetry.metrics.observe_breaker(api, self._breaker.shown, account)

    @property
    def reads_paused(self) -> bool:
        """Whether the breaker keeps everything from upstream, read-backs too."""
        return self._breaker.wait() > 0

    def withdraw_read_back(self) -> bool:
        """Takes a read-back out of its budget, unless the breaker is open. Returns whether it may be made."""
        return not self.reads_paused and self.read_budget.withdraw()

    async def acquire(self, kind: RequestKind, deadline: float) -> Permit:
        """Waits until a request may be sent. Each permit has to be given back.

        Args:
            kind: What the request is for.
            deadline: Until when somebody waits, by the event loop's clock.

        Raises:
            GatewayError: UNAVAILABLE, the breaker is open; RESOURCE_EXHAUSTED, it cannot be sent in time.
        """
        lane = self._lane(kind)
        try:
            self._check_breaker()
            if not self._limiter.try_acquire(lane):
                await self._wait(lane, deadline)
            ticket = self._breaker.begin()
            if ticket == REFUSED:
                self._limiter.release_unused(lane)
                raise RejectedError("breaker", self._breaker.wait())
        except RejectedError as refused:
            raise self._refused(kind, refused) from None
        return Permit(self, lane, ticket, self._clock())

    async def acquire_for_stream(self, kind: RequestKind, deadline: float) -> Permit:
        """Does what acquire() does, within the share of the requests under way that streams may have.

        Who finds no place in it waits for one, in nobody's way. And only one of them at a time is in the line for a
        slot or a token: all that streams have to do would else be in front of every single call.

        Raises:
            GatewayError: See acquire().
        """
        is_write = kind is _WRITE
        share = self._write_share if is_write else self._read_share
        turn = self._write_turn if is_write else self._read_turn
        await self._wait_in_nobodys_way(share, kind, deadline)
        try:
            await self._wait_in_nobodys_way(turn, kind, deadline)
            try:
                permit = await self.acquire(kind, deadline)
            finally:
                turn.release()
        except BaseException:
            share.release()
            raise
        return permit.within(share)

    async def _wait_in_nobodys_way(
        self, place: asyncio.Semaphore | asyncio.Lock, kind: RequestKind, deadline: float
    ) -> None:
        if not place.locked():
            await place.acquire()
            return
        try:
            with TimeLimit(deadline):
                await place.acquire()
        except TimeoutError:
            raise self._refused(kind, RejectedError("queue", 0.0)) from None

    def released(self, lane: Lane, ticket: int, since: float, outcome: CallOutcome) -> None:
        """Takes a permit back: called by the permit, once."""
        # The breaker first: whoever gets the slot then already meets its new state.
        self._breaker.end(ticket, outcome)
        self._limiter.release(lane, self._clock() - since)

    def throttled(self, seconds: float) -> None:
        """Holds all requests back for some time, as upstream has asked for by `Retry-After`, within a minute."""
        self._bucket.pause(seconds)

    def _lane(self, kind: RequestKind) -> Lane:
        return self._limiter.writes if kind is _WRITE else self._limiter.reads

    def _check_breaker(self) -> None:
        if self._breaker.state is not _CLOSED and (seconds := self._breaker.wait()) > 0:
            raise RejectedError("breaker", seconds)

    async def _wait(self, lane: Lane, deadline: float) -> None:
        started = self._clock()
        await self._limiter.acquire(lane, deadline)
        self._telemetry.metrics.queue_waited(self._api, lane.name, self._clock() - started, self._account)

    def _refused(self, kind: RequestKind, refused: RejectedError) -> GatewayError:
        self._telemetry.metrics.upstream_refused(self._api, refused.policy, self._account)
        return rejection(kind, refused)

    def _queue_changed(self, lane: Lane) -> None:
        self._telemetry.metrics.queue_length(self._api, lane.name, len(lane.queue), self._account)

    def _budget_asked(self, budget: str, granted: bool) -> None:
        self._telemetry.metrics.budget_asked(self._api, budget, granted=granted, account=self._account)

    def _breaker_changed(self, state: BreakerState, seconds: float) -> None:
        if state is BreakerState.OPEN:
            _log.warning("breaker_opened", seconds=round(seconds, 3), **self._fields)
        elif state is BreakerState.HALF_OPEN:
            _log.info("breaker_half_open", **self._fields)
        else:
            _log.info("breaker_closed", **self._fields)
