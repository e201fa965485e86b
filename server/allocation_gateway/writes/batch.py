"""Writes that are sent in one bulk request, each under a claim of its own and with a part of the answer of its own.

Each of them is a bulk call of one reference that asks for the same in all else. It claims for itself, and comes to
the batch when it may be sent; the request goes out when no other one is waited for any more. What cannot come at once,
since something is in its way or has to be read first, leaves, and is sent by itself. So it does not matter for any
claim which references were sent together, and a repeat may put them together in another way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.errors import GatewayError, WriteEffect, status_names
from allocation_gateway.operations.model import references_field
from allocation_gateway.protection.model import RequestKind
from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.upstream import failures
from allocation_gateway.upstream.call import CallOutcome, UpstreamCall, UpstreamResult
from allocation_gateway.upstream.http import Attempt, CalledOffError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.protection.protection import Permit
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.pace import Pace

# What one write of a request can be the cause of, so that the others may be let through without it.
_ONE_AT_FAULT: Final = frozenset(
    {
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND,
        ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND,
        ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
        ErrorReason.ERROR_REASON_INVALID_STATE,
        ErrorReason.ERROR_REASON_ALLOCATION_FAILED,
        ErrorReason.ERROR_REASON_UPSTREAM_CONFLICT,
    }
)


def is_request_refused(error: GatewayError) -> bool:
    """Tells whether upstream refused a request as a whole for a reason that one write of it can be the cause of."""
    return error.effect is WriteEffect.NONE and error.reason in _ONE_AT_FAULT


def may_be_anothers_fault(error: GatewayError) -> bool:
    """Tells whether a write that was refused with others may be let through without one of them.

    It goes by the error alone: also a call that has joined the write, and has sent nothing itself, gets it.
    """
    return error.sent_together > 1 and is_request_refused(error)


class _SharedAttempt(Attempt):
    """An attempt for several claims: it may be sent as long as the first of them to run out allows it."""

    __slots__ = ()

    def extend(self, send_by: float) -> None:
        """See Attempt. That one claim was renewed says nothing of the others."""


class Member:
    """One write of a batch, as the batch sees it.

    Attributes:
        observation: It, as telemetry sees it.
        attempt: The attempt that it is sent with; None before it is sent.
        message: The request that it asks for.
        reference: What that is for.
        send_by: Until when its claim lets it be sent, by the event loop's clock.
        result: What came of it.
    """

    __slots__ = ("attempt", "message", "observation", "reference", "result", "send_by")

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.attempt: Attempt | None = None
        self.message: Any = None
        self.reference = ""
        self.send_by = 0.0
        self.result: asyncio.Future[UpstreamResult] = asyncio.get_running_loop().create_future()


class Batch:
    """One bulk request in the making.

    Attributes:
        operation: The row of the bulk call.
        request_errors: With what upstream, or what protects it, refused the request as a whole; empty if it has not.
    """

    def __init__(
        self,
        api: AccountApi,
        operation: Operation,
        route: Route,
        observation: Observation,
        deadline: float,
        pace: Pace,
        resends: int = 0,
    ) -> None:
        """Has no members yet, and waits for more until it is sealed.

        Args:
            api: Where it is sent.
            operation: The row of the bulk call.
            route: The spelling of it that is configured.
            observation: Whose request it is, as telemetry sees it.
            deadline: Until when its callers wait, by the event loop's clock.
            pace: By which its members are told what came of them.
            resends: How often all that will be in it was sent before.
        """
        self._resends = resends
        self.request_errors: list[GatewayError] = []
        self._api = api
        self.operation = operation
        self._route = route
        self._observation = observation
        self._deadline = deadline
        self._pace = pace
        self._is_sealed = False
        self._is_begun = False
        # Those that are waited for, and those that have come.
        self._awaited: set[Member] = set()
        self._ready: dict[Member, None] = {}
        self._permit: asyncio.Task[Permit] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()

    @property
    def is_sent(self) -> bool:
        """Whether it may have left this process."""
        return any(member.attempt is not None and member.attempt.sent for member in self._ready)

    def enter(self, observation: Observation) -> Member:
        """Adds a write that is waited for from now on."""
        member = Member(observation)
        self._awaited.add(member)
        return member

    def seal(self) -> None:
        """Records that no more writes are added."""
        self._is_sealed = True
        self._proceed()

    def request_permit(self) -> asyncio.Task[Permit]:
        """Asks for the permit of the request, unless that was done. It comes back if no write needs it."""
        if self._permit is None:
            protection = self._api.protection
            self._permit = asyncio.create_task(protection.acquire_for_stream(RequestKind.WRITE, self._deadline))
        return self._permit

    async def acquire_permit(self) -> None:
        """Waits for the permit of the request, which is one for all its writes.

        Raises:
            GatewayError: There is none to be had in time.
        """
        permit = self.request_permit()
        try:
            if permit.done():
                permit.result()
            else:
                # One that is given up does not take it from the others.
                await asyncio.shield(permit)
        except GatewayError as error:
            self.request_errors.append(error)
            raise error.copied() from None

    def come(self, member: Member, message: Any, send_by: float) -> None:
        """Records that a write may be sent until a moment, by the event loop's clock."""
        member.message = message
        (member.reference,) = self.operation.references(message)
        member.send_by = send_by
        self._awaited.discard(member)
        self._ready[member] = None
        self._proceed()

    def leave(self, member: Member) -> bool:
        """Lets a write go. Returns False if that is too late: it goes with the others."""
        if self._is_begun and member in self._ready:
            return False
        self._awaited.discard(member)
        self._ready.pop(member, None)
        self._proceed()
        return True

    def abandon(self, member: Member) -> None:
        """Is called when the work on a write is being cancelled: if it was not sent by then, it never is."""
        if self.leave(member) or self._sending is None:
            return
        if member.attempt is not None:
            member.attempt.call_off()
        del self._ready[member]
        if not self._ready:
            self._sending.cancel()

    def _proceed(self) -> None:
        """Sends the request if nobody is waited for, and gives its permit back if nobody has come."""
        if not self._is_sealed or self._is_begun or self._awaited:
            return
        self._is_begun = True
        permit = self._permit
        if self._ready and permit is not None:
            granted = permit.result()
            self._sending = asyncio.create_task(self._send(granted))
            # Cancelled before its first step, it gives nothing back.
            self._sending.add_done_callback(lambda _: self._end(granted))
            return
        if permit is not None and not permit.cancel() and permit.exception() is None:
            permit.result().release(CallOutcome.IGNORED)
        self._is_over.set()

    def _end(self, permit: Permit) -> None:
        permit.release(CallOutcome.IGNORED)
        self._is_over.set()

    async def wait(self) -> None:
        """Waits until the request has ended, or is not made. What left goes on by itself."""
        await self._is_over.wait()

    async def _send(self, permit: Permit) -> None:
        members = tuple(self._ready)
        observation = self._observation.batch(len(members))
        attempt = _SharedAttempt(min(member.send_by for member in members), self._api.now)
        for member in members:
            member.attempt = attempt
            member.observation.sent_with(observation)
        kind = AttemptKind.REPEAT if self._resends else AttemptKind.FIRST
        call = UpstreamCall(attempt, observation, self._deadline, False, kind, self._resends)
        try:
            await self._send_to_all(members, call, permit)
        finally:
            observation.end_part(*status_names(self.request_errors[-1] if self.request_errors else None))

    async def _send_to_all(self, members: tuple[Member, ...], call: UpstreamCall, permit: Permit) -> None:
        try:
            result = await self._api.send(self.operation, self._route, self._joined(members), call, permit)
        except CalledOffError:
            error = failures.no_answer(self.operation, "it was called off", sent=False)
            result = UpstreamResult(error, CallOutcome.IGNORED)
        except asyncio.CancelledError:
            for member in members:
                member.result.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is for each write to say what it means
            for member in members:
                if not member.result.done():
                    member.result.set_exception(error)
            return
        if isinstance(result.response, GatewayError):
            self.request_errors.append(result.response)
        told = [*zip(members, self.parts(result, members), strict=True)]
        async for some in self._pace.parts(told):
            for member, part in some:
                if not member.result.done():
                    member.result.set_result(part)

    def _joined(self, members: tuple[Member, ...]) -> Any:
        """Returns the request for all of them. The name of one's own request is no part of it."""
        joined = type(members[0].message)()
        joined.CopyFrom(members[0].message)
        joined.request_id = ""
        references = getattr(joined, references_field(type(joined)))
        del references[:]
        references.extend([member.reference for member in members])
        return joined

    def parts(self, result: UpstreamResult, members: Sequence[Member]) -> list[UpstreamResult]:
        """Returns what the answer of a bulk call tells each of the writes that were sent by it."""
        response, bulk = result.response, self.operation.bulk
        if isinstance(response, GatewayError):
            return [msgspec.structs.replace(result, response=response.for_each_of(len(members))) for _ in members]
        if bulk is None:
            raise ValueError("only bulk calls are sent together")
        parts = bulk.parts(response, [member.reference for member in members])
        return [msgspec.structs.replace(result, response=part) for part in parts]
