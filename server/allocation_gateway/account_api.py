"""One API of one account at upstream as the policies see it: its API, what protects it, and the store of its claims."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.errors import GatewayError
from allocation_gateway.protection.backoff import Backoff
from allocation_gateway.protection.model import RequestKind
from allocation_gateway.protection.protection import Protection
from allocation_gateway.upstream.call import CallOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.protection.protection import Permit
    from allocation_gateway.settings import ApiSettings, Settings
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.upstream.call import UpstreamCall, UpstreamResult
    from allocation_gateway.upstream.client import Upstream

# What may be over by the next attempt, of a request that was certainly not carried out.
TRANSIENT: Final = frozenset(
    {
        ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
        ErrorReason.ERROR_REASON_UPSTREAM_THROTTLED,
        ErrorReason.ERROR_REASON_RESOURCE_PROCESSING,
    }
)
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_SUCCESS: Final = CallOutcome.SUCCESS


class AccountApi:
    """One API of one account.

    Attributes:
        upstream: The connections to it.
        protection: What protects it.
        store: Where the claims of its writes are.
        spare: Where they are while the store cannot be reached; None if nothing is written then.
        settings: Its settings.
        carriers: Takes the reference of the carrier of each allocation that is made.
        clock: The event loop's clock.
        now: The same, read anew.
    """

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        store: ClaimStore,
        spare: ClaimStore | None,
        telemetry: Telemetry,
        *,
        now: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """Keeps the parts that it is made of.

        Args:
            settings: The configuration, of its account.
            upstream: The connections to it.
            store: Where the claims of its writes are.
            spare: Where they are while the store cannot be reached; None if nothing is written then.
            telemetry: Where metrics go.
            now: The event loop's clock, read anew: uvloop's own stands still while a callback runs.
            uniform: A number from 0 to 1, at random.
        """
        self.upstream = upstream
        self.settings: ApiSettings = settings.api(upstream.api.value)
        self.store = store
        self.spare = spare
        self.carriers = telemetry.metrics.named.carriers(upstream.api.value)
        self.clock = asyncio.get_running_loop().time
        self.now = now
        self.protection = Protection(
            upstream.api.value,
            self.settings,
            account=settings.account,
            clock=self.clock,
            telemetry=telemetry,
            uniform=uniform,
        )
        self.backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, random=uniform)

    def settle_time(self, operation: Operation) -> float:
        """Returns for how many seconds after an attempt ended it may still take effect."""
        return self.settings.settle_times.get(operation.name, self.settings.settle_time)

    def times_out_at(self) -> float:
        """Returns when a request that is sent now times out, by the event loop's clock."""
        return self.clock() + self.settings.timeout

    async def send(
        self, operation: Operation, route: Route, request: Message, call: UpstreamCall, permit: Permit
    ) -> UpstreamResult:
        """Sends a request once with a permit, and gives the permit back."""
        try:
            result = await self.upstream.call(operation, route, request, call)
        except BaseException:
            permit.release(CallOutcome.IGNORED)
            raise
        if result.retry_after:
            self.protection.throttled(result.retry_after)
        permit.release(result.outcome)
        if result.outcome is _SUCCESS and operation.action.writes:
            self.protection.retry_budget.refund()
        return result

    async def read_once(
        self,
        operation: Operation,
        request: Message,
        call: UpstreamCall,
        kind: RequestKind,
        *,
        for_stream: bool = False,
    ) -> UpstreamResult:
        """Reads something once, by the first spelling of its row, as soon as it may.

        Args:
            operation: The row that reads.
            request: Its request.
            call: The request to upstream.
            kind: What it is for.
            for_stream: Whether it is for an item of a stream, and so within the share of streams.

        Raises:
            GatewayError: The API is protected from it.
        """
        protection = self.protection
        acquire = protection.acquire_for_stream if for_stream else protection.acquire
        permit = await acquire(kind, call.deadline)
        return await self.send(operation, operation.default_route, request, call, permit)

    async def read(
        self, operation: Operation, route: Route, request: Message, call: UpstreamCall
    ) -> Message | GatewayError:
        """Reads something for a caller, and again if that may help and there is time.

        Returns:
            The response, or the error in its place.

        Raises:
            GatewayError: The API is protected from it.
        """
        attempts = 1
        while True:
            permit = await self.protection.acquire(RequestKind.READ, call.deadline)
            result = await self.send(operation, route, request, call, permit)
            response = result.response
            if (
                not isinstance(response, GatewayError)
                or response.reason not in TRANSIENT
                or attempts == self.settings.max_attempts
            ):
                return response
            pause = self.backoff.seconds(attempts, result.retry_after)
            if self.clock() + pause >= call.deadline or not self.protection.read_budget.withdraw():
                return response
            await asyncio.sleep(pause)
            call = call.repeated()
            attempts += 1
