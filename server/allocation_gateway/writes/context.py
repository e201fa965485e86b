"""What every phase of one write needs to know of it. None of it changes, but for who waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from allocation_gateway.upstream.call import UpstreamCall
from allocation_gateway.upstream.http import Attempt
from allocation_gateway.writes import note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allocation.v1.core_pb2 import ExcludedService
    from google.protobuf.message import Message

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.claims.model import Claim
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.callers import Callers
    from allocation_gateway.writes.environment import Environment
    from allocation_gateway.writes.request import WriteRequest

_SHORTEST_PAUSE: Final = 0.01


class WriteContext(msgspec.Struct, frozen=True):
    """One write, as all its phases see it.

    Attributes:
        environment: What all writes share.
        api: Where it is sent.
        request: What is asked for.
        observation: The call that began it, as telemetry sees it.
        callers: Who waits for it.
    """

    environment: Environment
    api: AccountApi
    request: WriteRequest
    observation: Observation
    callers: Callers

    def count(self, event: str) -> None:
        """Counts something that happened to it, and notes it in its trace."""
        self.environment.count(event, self.request.operation)
        self.observation.mark(event)

    def follows(self, claim: Claim, how: str) -> None:
        """Links its trace to that of the call that has made a claim, or has sent it last."""
        self.observation.follows(note.decode(claim.note).trace, how)

    def count_excluded(self, services: Iterable[ExcludedService]) -> None:
        """Counts the services that were excluded, so that none was left."""
        named = self.environment.telemetry.metrics.named
        named.excluded(self.request.operation.api.value, (service.exclusion.code for service in services))

    def longest_effect(self) -> float:
        """Returns for how long an attempt that may begin within the lease can take effect, whatever becomes of us."""
        settle = self.api.settle_time(self.request.operation)
        return self.environment.lease + self.api.settings.timeout + settle

    async def restored(self, message: Any, response: Message) -> Message:
        """Returns a response that was remembered or read back, with the parts that neither gives.

        Args:
            message: The request.
            response: The response without them.
        """
        call = UpstreamCall(Attempt(), self.observation, self.callers.deadline, keeps_to_deadline=True)
        return await self.api.upstream.restored(self.request.operation, message, response, call)

    async def pause(self, times: int, until: float) -> None:
        """Waits a while that grows with the times, but not past a moment that is still to come."""
        pause = max(self.api.backoff.seconds(times), _SHORTEST_PAUSE)
        left = until - self.api.clock()
        await asyncio.sleep(min(pause, left + _SHORTEST_PAUSE) if left > 0 else pause)
