"""One account at upstream as the policies see it: its API, what protects it, and the store of its claims."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.errors import GatewayError
from allocation_gateway.protection.backoff import Backoff
from allocation_gateway.protection.model import Kind, Verdict
from allocation_gateway.protection.protection import Protection

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.protection.protection import Permit
    from allocation_gateway.settings import ApiSettings, Settings
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.upstream.client import Exchange, Upstream

# What may be over by the next attempt, of a request that was certainly not carried out.
TRANSIENT: Final = frozenset(
    {
        ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
        ErrorReason.ERROR_REASON_UPSTREAM_THROTTLED,
        ErrorReason.ERROR_REASON_RESOURCE_PROCESSING,
    }
)
_VERDICTS: Final = {True: Verdict.ANSWERED, False: Verdict.FAILED, None: Verdict.NONE}
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class Account:
    """One account.

    Attributes:
        upstream: Its API.
        protection: What protects it.
        store: Where the claims of its writes are.
        spare: Where they are while the store cannot be reached; None if nothing is written then.
        settings: The settings of its API.
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
        """Takes what it is made of.

        Args:
            settings: The configuration.
            upstream: Its API.
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
        self.clock = asyncio.get_running_loop().time
        self.now = now
        self.protection = Protection(
            upstream.api.value, self.settings, clock=self.clock, telemetry=telemetry, uniform=uniform
        )
        self.backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, random=uniform)

    def settle_time(self, operation: Operation) -> float:
        """Returns for how many seconds after an attempt ended it may still take effect."""
        return self.settings.settle_times.get(operation.name, self.settings.settle_time)

    def times_out_at(self) -> float:
        """Returns when a request that is sent now times out, by the event loop's clock."""
        return self.clock() + self.settings.timeout

    def ended(self, operation: Operation, exchange: Exchange, permit: Permit) -> None:
        """Takes note of how a request ended, however it did, and gives back the permit that it was sent with."""
        if exchange.retry_after:
            self.protection.throttled(exchange.retry_after)
        permit.leave(_VERDICTS[exchange.is_alive])
        if exchange.is_alive and operation.effect.writes:
            self.protection.retries.refund()

    async def read(self, operation: Operation, request: Message, exchange: Exchange, kind: Kind) -> Any:
        """Reads something once, as soon as it may.

        Raises:
            GatewayError: As for Upstream.read; or the account is protected from it.
        """
        permit = await self.protection.enter(kind, exchange.deadline)
        try:
            return await self.upstream.read(operation, request, exchange)
        finally:
            self.ended(operation, exchange, permit)

    async def call(self, operation: Operation, route: Route, request: Message, exchange: Exchange) -> Message:
        """Reads something for a caller, and again if that may help and there is time.

        Raises:
            GatewayError: As for Upstream.call; or the account is protected from it.
        """
        for attempt in range(1, self.settings.max_attempts + 1):
            permit = await self.protection.enter(Kind.READ, exchange.deadline)
            try:
                return await self.upstream.call(operation, route, request, exchange)
            except GatewayError as error:
                if error.reason not in TRANSIENT or attempt == self.settings.max_attempts:
                    raise
                pause = self.backoff.seconds(attempt, exchange.retry_after)
                if self.clock() + pause >= exchange.deadline or not self.protection.readings.withdraw():
                    raise
            finally:
                self.ended(operation, exchange, permit)
            await asyncio.sleep(pause)
            exchange = exchange.again()
        raise AssertionError("an attempt is always made")
