"""Sends the attempts of one write, each with a permit of its own, or the first one together with other writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

from allocation_gateway.protection.model import RequestKind
from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.upstream.call import CallOutcome, UpstreamCall
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from allocation_gateway.protection.protection import Permit
    from allocation_gateway.upstream.call import UpstreamResult
    from allocation_gateway.writes.batch import Batch, Member
    from allocation_gateway.writes.claim_handle import ClaimHandle
    from allocation_gateway.writes.context import WriteContext

# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_WRITE: Final = RequestKind.WRITE
_FIRST: Final = AttemptKind.FIRST
_REPEAT: Final = AttemptKind.REPEAT


class Sender:
    """The attempts of one write, and the permit for the next one.

    Attributes:
        attempt: The last attempt; None if there was none.
        attempts: How many were made.
        repeats_refused: Whether what upstream refused for a moment is sent again here. If not, whoever has asked for it
            asks again.
    """

    __slots__ = ("_context", "_permit", "attempt", "attempts")

    repeats_refused: ClassVar[bool] = True

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._permit: Permit | None = None
        self.attempt: Attempt | None = None
        self.attempts = 0

    @property
    def has_permit(self) -> bool:
        """Whether the next attempt has its permit."""
        return self._permit is not None

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
            self._permit = await context.api.protection.acquire(_WRITE, context.callers.deadline)

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
        api, request = context.api, context.request
        self.attempt = attempt = Attempt(handle.send_by, api.now)
        # Of one that was taken over, somebody else has made an attempt before.
        resends = self.attempts if handle.is_first else self.attempts + 1
        self.attempts += 1
        kind = _REPEAT if resends else _FIRST
        call = UpstreamCall(attempt, context.observation, context.callers.deadline, False, kind, resends)
        result = await api.send(request.operation, request.route, message, call, permit)
        if attempt.sent:
            handle.attempt_ended(effects=api.settle_time(request.operation))
        return result


class BatchedSender(Sender):
    """The attempts of a write whose first one is sent together with others, if nothing keeps it from that.

    Further ones are its own: they are made after it was read that it has no effect, which is not known of the others.
    """

    __slots__ = ("_batch", "_is_permitted", "_member")

    # They are sent together again, or not at all.
    repeats_refused: ClassVar[bool] = False

    def __init__(self, context: WriteContext, batch: Batch) -> None:
        super().__init__(context)
        self._batch = batch
        self._member: Member | None = batch.enter(context.observation)
        # By the permit of the batch.
        self._is_permitted = False

    @property
    def has_permit(self) -> bool:
        """See Sender."""
        return super().has_permit if self._member is None else self._is_permitted

    @property
    def may_have_sent(self) -> bool:
        """See Sender."""
        attempt = self.attempt if self._member is None else self._member.attempt
        return attempt is not None and attempt.sent

    def call_off(self) -> bool:
        """See Sender."""
        return super().call_off() if self._member is None else self._batch.leave(self._member)

    async def acquire_permit(self) -> None:
        """See Sender."""
        if self._member is not None:
            await self._batch.acquire_permit()
            self._is_permitted = True
        elif self._permit is None:
            protection = self._context.api.protection
            self._permit = await protection.acquire_for_stream(_WRITE, self._context.callers.deadline)

    def release_permit(self) -> None:
        """See Sender. What goes on without its permit goes on by itself."""
        super().release_permit()
        member, self._member = self._member, None
        if member is not None:
            self._batch.leave(member)

    async def send(self, message: Any, handle: ClaimHandle) -> UpstreamResult:
        """See Sender."""
        member = self._member
        if member is None:
            return await super().send(message, handle)
        self.attempts += 1
        self._batch.come(member, message, handle.send_by)
        try:
            result = await member.result
        except asyncio.CancelledError:
            self._batch.abandon(member)
            raise
        finally:
            self.attempt, self._member = member.attempt, None
        if self.may_have_sent:
            handle.attempt_ended(effects=self._context.api.settle_time(self._context.request.operation))
        return result
