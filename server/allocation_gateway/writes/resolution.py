"""Finds out what became of a write that is in doubt: one's own, or an abandoned one that is in the way.

A conclusion that frees a claim is drawn only where it is certain. That it had no effect is certain when a reading shows
none that began after the last moment at which something sent could take effect. That an allocation is not its own is
certain when something proves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from allocation_gateway.operations import table
from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.writes import errors, responses, stored_answer
from allocation_gateway.writes.readback import ReadBack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.claims.model import Claim, ClaimStore
    from allocation_gateway.errors import AnyAllocation, GatewayError
    from allocation_gateway.operations.assessment import Assessed
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.claim_handle import ClaimHandle
    from allocation_gateway.writes.claimant import Claimant
    from allocation_gateway.writes.context import WriteContext


class Done(NamedTuple):
    """It was carried out, or of a bulk call: it is known of each part what became of it.

    Attributes:
        response: The response; or the error in its place, of a bulk call whose response cannot say it.
    """

    response: Message | GatewayError


class NotOwn(NamedTuple):
    """What is there is certainly not its doing."""

    found: AnyAllocation


class Undecided(NamedTuple):
    """Something is there, nothing that was sent can take effect any more, and nothing can tell whose doing it is."""

    found: AnyAllocation


class WithoutEffect(NamedTuple):
    """It has had no effect, and can have none any more."""


class DoneInPart(NamedTuple):
    """A bulk call that was carried out in part. The rest has had no effect, and can have none any more."""


class Unresolved(NamedTuple):
    """It is not known yet."""


Conclusion: TypeAlias = Done | NotOwn | Undecided | WithoutEffect | DoneInPart | Unresolved
NAMES: Final[Mapping[type[Conclusion], str]] = {
    Done: "done",
    NotOwn: "not_own",
    Undecided: "undecided",
    WithoutEffect: "without_effect",
    DoneInPart: "done_in_part",
    Unresolved: "unresolved",
}
"""What traces call them."""


async def resolve(
    readback: ReadBack,
    handle: ClaimHandle,
    operation: Operation,
    request: Any,
    observation: Observation,
    deadline: float,
) -> Conclusion:
    """Reads once what became of a write.

    Args:
        readback: What is known of it so far.
        handle: Its claim.
        operation: Its row.
        request: Its request, as it was sent.
        observation: Whose request the reading is.
        deadline: Until when to wait for it, by the event loop's clock.
    """
    is_late = handle.effects_are_over()
    await readback.read(observation, deadline)
    if is_late:
        readback.accept_undecided()
    if readback.is_complete:
        return _concluded(readback, operation, request)
    if not is_late or not readback.shows_no_effect:
        return Unresolved()
    return DoneInPart() if readback.shows_effect else WithoutEffect()


def _concluded(readback: ReadBack, operation: Operation, request: Any) -> Conclusion:
    if operation.bulk is not None:
        return Done(told(operation, request, readback.known))
    ((reference, (assessment, found)),) = readback.known.items()
    if assessment is Assessment.DONE:
        return Done(responses.single(operation, reference, found))
    return NotOwn(found) if assessment is Assessment.NOT_OWN else Undecided(found)


def told(
    operation: Operation, request: Any, known: Mapping[str, Assessed], refusal: GatewayError | None = None
) -> Message | GatewayError:
    """Returns what callers of a bulk call are told of what was read; an error if a response has no place for it.

    Args:
        operation: Its row.
        request: Its request, as the caller has sent it.
        known: What is known of its references.
        refusal: With what upstream has refused all others.
    """
    if operation.bulk is not None and not operation.bulk.tells_of_each:
        assessments = {found.assessment for found in known.values()}
        if Assessment.UNDECIDED in assessments:
            return errors.undecided_in_part(responses.progress(known, []))
        if Assessment.DONE not in assessments:
            return refusal or errors.none_own(responses.progress(known, []))
    response: Message = responses.bulk(operation, request, known, None, refusal)
    return response


async def record(
    handle: ClaimHandle,
    operation: Operation,
    request: Any,
    answer: Message | GatewayError,
    *,
    is_read: bool = False,
) -> None:
    """Ends a claim with the answer that its repeats are to get.

    Args:
        handle: The claim.
        operation: The row of its write.
        request: The request of its write.
        answer: The answer.
        is_read: Whether it was read instead of told.
    """
    allocated, deallocated = responses.affected(operation, request, answer)
    keep = 0.0
    if is_read and _may_still_take_effect(handle, operation, allocated):
        keep = handle.seconds_until_effects_end()
    await handle.finish(
        stored_answer.pack(operation, answer),
        allocated=allocated,
        deallocated=deallocated,
        keep_locks=keep,
        operation=operation,
    )


def _may_still_take_effect(handle: ClaimHandle, operation: Operation, allocated: Sequence[str]) -> bool:
    """Tells whether an attempt that is still on its way may do what it was read not to have done.

    A de-allocation that was found done may have been so before, and would undo the next allocation. What a bulk call
    was found not to have allocated it would allocate as soon as somebody de-allocates it.
    """
    if operation.action.allocates:
        return len(allocated) < len(handle.claim.references)
    return not handle.owns_all()


async def record_undecided(handle: ClaimHandle, operation: Operation, found: AnyAllocation) -> GatewayError:
    """Ends a claim of which it can never be known whether what is there is its doing. Returns what callers are told."""
    error = errors.undecided(operation, found)
    await handle.finish(
        stored_answer.pack(operation, error), allocated=(), deallocated=(), keep_locks=0.0, operation=operation
    )
    return error


async def close_not_own(handle: ClaimHandle) -> None:
    """Ends a claim of which what is there is certainly not its doing.

    What is there keeps an attempt that is still on its way from taking effect, as long as nobody takes it away: the
    claim sees to that until it is too late for the attempt. It is settled then, not forgotten, so that a repeat reads
    before it sends anything.
    """
    if handle.effects_are_over():
        await handle.settle()
    else:
        await handle.leave_in_doubt()


async def resolve_abandoned(context: WriteContext, claim: Claim, claimant: Claimant, store: ClaimStore) -> None:
    """Finds out what became of another write that is in the way, if nobody works on it, and ends its claim.

    Args:
        context: The write that it is in the way of.
        claim: Its claim, as it was found in the way.
        claimant: Takes it over for that.
        store: Where the claims are of the write that it is in the way of.
    """
    api, environment = context.api, context.environment
    # As it is now: who joins this write meanwhile may wait longer.
    deadline = context.callers.deadline
    store = store.at(claim.references)
    handle = await claimant.take_over(store, claim)
    if handle is None:
        return
    operation = table.named(handle.claim.operation)
    if operation is None:  # of another release
        await handle.leave_in_doubt()
        return
    request = operation.request.FromString(handle.claim.request)
    readback = ReadBack(api, store, operation, request, handle)
    until = min(api.times_out_at(), deadline)
    conclusion = await resolve(readback, handle, operation, request, context.observation, until)
    match conclusion:
        case Done(response):
            await record(handle, operation, request, response, is_read=True)
            environment.count("reconciled", operation)
        case DoneInPart():
            # If the claim were only settled, a repeat would do again what is undone meanwhile.
            answer = told(operation, request, readback.known, errors.REST_NOT_MADE)
            await record(handle, operation, request, answer, is_read=True)
            environment.count("reconciled", operation)
        case NotOwn():
            await close_not_own(handle)
        case Undecided(found):
            await record_undecided(handle, operation, found)
            environment.count("undecided", operation)
        case WithoutEffect():
            await handle.settle()
            environment.count("settled", operation)
        case Unresolved():
            await handle.leave_in_doubt()
