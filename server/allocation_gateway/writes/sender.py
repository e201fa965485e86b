"""Sends the attempts of one write, each with a permit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocation_gateway.protection.model import Kind
from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.upstream.call import CallOutcome, UpstreamCall
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from allocation_gateway.protection.protection import Permit
    from allocation_gateway.upstream.call import UpstreamResult
    from allocation_gateway.writes.claim_handle import ClaimHandle
    from allocation_gateway.writes.context import WriteContext


class Sender:
    """The attempts of one write, and the permit for the next one.

    Attributes:
        attempt: The last attempt; None if there was none.
        attempts: How many were made.
    """

    __slots__ = ("_context", "_permit", "attempt", "attempts")

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._permit: Permit | None = None
        self.attempt: Attempt | None = None
        self.attempts = 0

    @property
    def may_have_sent(self) -> bool:
        """Whether the last attempt may have left this process."""
        return self.attempt is not None and self.attempt.sent

    def call_off(self) -> bool:
        """Sees to it that the attempt that is under way is never sent. Returns False if that is too late."""
        return self.attempt is None or self.attempt.call_off()

    async def acquire_permit(self) -> None:
        """Waits for a permit, unless there is one, for as long as anybody waits.

        Raises:
            GatewayError: There is none to be had in time.
        """
        if self._permit is None:
            context = self._context
            self._permit = await context.account.protection.acquire(Kind.WRITE, context.callers.deadline)

    def release_permit(self) -> None:
        """Gives the permit back that is not needed, if there is one."""
        if self._permit is not None:
            self._permit.release(CallOutcome.IGNORED)
            self._permit = None

    async def send(self, message: Any, handle: ClaimHandle) -> UpstreamResult:
        """Makes one attempt, with the permit that there is.

        Args:
            message: The request message, of what is still without effect.
            handle: The claim under which it is sent.
        """
        permit, self._permit = self._permit, None
        if permit is None:
            raise RuntimeError("a write is sent with a permit")
        context = self._context
        account, request = context.account, context.request
        self.attempt = attempt = Attempt(handle.send_by, account.now)
        # Of one that was taken over, somebody else has made an attempt before.
        resends = self.attempts if handle.is_first else self.attempts + 1
        self.attempts += 1
        kind = AttemptKind.REPEAT if resends else AttemptKind.FIRST
        call = UpstreamCall(attempt, context.observation, context.callers.deadline, False, kind, resends)
        result = await account.send(request.operation, request.route, message, call, permit)
        if attempt.sent:
            handle.attempt_ended(effects=account.settle_time(request.operation))
        return result
