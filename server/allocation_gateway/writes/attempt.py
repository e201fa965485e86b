"""One attempt of a write that holds its claim, and what it leaves to be done."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.account_api import TRANSIENT
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.operations.model import Action
from allocation_gateway.writes import errors, resolution, responses

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.writes.claimed import ClaimedWrite
    from allocation_gateway.writes.context import WriteContext
    from allocation_gateway.writes.readback import CurrentAllocation
    from allocation_gateway.writes.sender import Sender

# How often it is tried to read how shipments stand before anything is sent.
_READINGS_BEFORE: Final = 3
# So many readings of what stands where a write was refused need no budget of read-backs. What was throttled may be read
# in a moment.
_READINGS_OF_REFUSED: Final = 4


class Answered(msgspec.Struct, frozen=True):
    """It was carried out, and that is recorded."""

    response: Message


class Unconfirmed(msgspec.Struct, frozen=True):
    """A bulk call was answered, and neither the answer nor a reading tells what became of any part of it."""

    response: Message


class InDoubt(msgspec.Struct, frozen=True):
    """It may have been carried out.

    Attributes:
        cause: With what the doubt begins.
    """

    cause: GatewayError


class Refused(msgspec.Struct, frozen=True):
    """It was certainly not carried out.

    Attributes:
        error: Why.
        retry_after: Seconds for which upstream asks to be left alone; 0 if it does not.
    """

    error: GatewayError
    retry_after: float

    @property
    def is_transient(self) -> bool:
        """Whether the reason may be over in a moment."""
        return self.error.reason in TRANSIENT


class Explanation(msgspec.Struct, frozen=True):
    """Why a write was refused.

    Attributes:
        error: The refusal.
        doubtful: The allocation that speaks against it, since it may be the write's own; None if there is none.
        is_open: Whether nothing that was read is the reason, or nothing could be read.
    """

    error: GatewayError
    doubtful: AnyAllocation | None = None
    is_open: bool = False


AttemptResult: TypeAlias = Answered | Unconfirmed | InDoubt | Refused


async def prepare_first(context: WriteContext, claimed: ClaimedWrite, sender: Sender) -> None:
    """Gets ready to send something for the first time.

    Raises:
        GatewayError: It cannot be sent in time. Its claim is released.
    """
    if not sender.has_permit:
        try:
            await sender.acquire_permit()
        except GatewayError:
            await claimed.handle.release()
            raise
    await _note_before(context, claimed)


async def _note_before(context: WriteContext, claimed: ClaimedWrite) -> None:
    """Records in the claim how shipments stand before anything is sent, if that is wanted or tells most.

    What another write is known to have allocated is read in any case before it is allocated: should the answer be
    lost, its allocation could else be taken for this one's, and this one's for its.
    """
    handle = claimed.handle
    reads_all = context.api.settings.read_before_write
    reads_some = handle.claim.owners and claimed.operation.action.allocates
    if not (reads_all or reads_some):
        return
    spelled = claimed.operation.references(claimed.message)
    references = [name for name in spelled if reads_all or handle.owner_of(name)]
    if not references:
        return
    readback = claimed.new_readback()
    before: dict[str, str] = {}
    for _ in range(_READINGS_BEFORE):
        until = min(context.callers.deadline, context.api.times_out_at())
        before |= await readback.snapshots(references, context.observation, until)
        references = [name for name in references if name not in before]
        if not references or not context.callers.are_waiting:
            break
    if before:
        await handle.renew(
            effects=context.longest_effect(), kept=handle.note_with(before, context.observation.link_target)
        )


async def make(context: WriteContext, claimed: ClaimedWrite, sender: Sender) -> AttemptResult:
    """Makes an attempt, with the permit that the sender has.

    Args:
        context: The write.
        claimed: Its claim.
        sender: Sends it.

    Raises:
        GatewayError: It was carried out, and its answer is broken.
    """
    result = await sender.send(claimed.remaining(), claimed.handle)
    if isinstance(result.response, GatewayError):
        return await _failed(context, claimed, result.response, result.retry_after)
    return await _answered(context, claimed, result.response)


async def _answered(context: WriteContext, claimed: ClaimedWrite, response: Message) -> AttemptResult:
    response = claimed.completed(response)
    if responses.is_conclusive(claimed.operation, response):
        await resolution.record(claimed.handle, claimed.operation, claimed.message, response)
        return Answered(response)
    if claimed.operation.action.is_bulk:
        return await _read_the_rest(context, claimed, response)
    context.count("in_doubt")
    return InDoubt(errors.UNCONFIRMED)


async def _failed(
    context: WriteContext, claimed: ClaimedWrite, error: GatewayError, retry_after: float
) -> AttemptResult:
    if error.effect is WriteEffect.MADE:
        await resolution.record(claimed.handle, claimed.operation, claimed.message, error)
        raise error
    if error.likely_unprocessed and error.effect is WriteEffect.UNKNOWN:
        # What was sent before can have no effect any more: else this would not have been sent.
        error = await _read_once(context, claimed, error)
    if error.effect is not WriteEffect.NONE:
        context.count("in_doubt")
        return InDoubt(error)
    return Refused(error, retry_after)


async def _read_once(context: WriteContext, claimed: ClaimedWrite, error: GatewayError) -> GatewayError:
    """Reads once what became of a request that was probably not let through, or not carried out.

    Returns:
        The error: with an effect of none if nothing is there, and as it is if something is, or cannot be read. In a
            bulk call, what is certainly somebody else's does not count, nor what was known before the request was sent.
    """
    readback = claimed.readback
    known_before = frozenset(readback.known)
    await readback.read(context.observation, context.api.times_out_at())
    found = [one for name, one in readback.known.items() if name not in known_before]
    if claimed.operation.action.is_bulk:
        found = [one for one in found if one.assessment is not Assessment.NOT_OWN]
    return error if found or not readback.shows_no_effect else error.with_effect(WriteEffect.NONE)


async def _read_the_rest(context: WriteContext, claimed: ClaimedWrite, response: Any) -> Answered | Unconfirmed:
    """Reads once the references of which the answer of a bulk call says nothing.

    What that leaves open is for the caller to read. If nothing is known of any of them, its claim has to stay in doubt,
    so that a repeat reads them again.
    """
    operation = claimed.operation
    undetermined = responses.undetermined(operation, response)
    says_nothing = len(undetermined) == len(operation.references(claimed.message))
    claimed.readback.limit(undetermined)
    await claimed.readback.read(context.observation, context.api.times_out_at())
    response = claimed.completed(response)
    if says_nothing and not responses.is_conclusive(operation, response):
        context.count("in_doubt")
        return Unconfirmed(response)
    await resolution.record(claimed.handle, operation, claimed.message, response)
    return Answered(response)


def pause_before_another(context: WriteContext, sender: Sender, refused: Refused) -> float | None:
    """Returns for how many seconds to wait before another attempt of what was never in doubt; None if there is none."""
    api, attempts = context.api, sender.attempts
    if not refused.is_transient or not sender.repeats_refused or attempts >= api.settings.max_attempts:
        return None
    pause = api.backoff.seconds(attempts, refused.retry_after)
    if api.clock() + pause >= context.callers.last_moment or not api.protection.retry_budget.withdraw():
        return None
    return pause


async def prepare_another(
    context: WriteContext, claimed: ClaimedWrite, sender: Sender, *, kept: bytes | None = None
) -> bool:
    """Gets a permit for one more attempt, and makes sure that the claim is still held. Returns whether it is.

    Args:
        context: The write.
        claimed: Its claim.
        sender: Sends it.
        kept: The note that the claim is to have from now on; None leaves it as it is.
    """
    try:
        await sender.acquire_permit()
    except GatewayError:
        return False
    if await claimed.handle.renew(effects=context.longest_effect(), attempt=True, kept=kept):
        return True
    sender.release_permit()
    return False


def is_of_state(operation: Operation, refusal: GatewayError) -> bool:
    """Tells whether one shipment or consignment was not to be allocated for its state, which can be read."""
    return operation.action is Action.ALLOCATE and refusal.reason == ErrorReason.ERROR_REASON_INVALID_STATE


async def explain(context: WriteContext, claimed: ClaimedWrite, refusal: GatewayError) -> Explanation:
    """Returns a refusal for the state of what was to be allocated, with the allocation that is there, if it is read.

    A proxy that sends a request twice passes on what the second one is answered: that the shipment is allocated, which
    the first one has done. So a refusal is only believed if what is read is the reason for it.
    """
    there = await _read_current(context, claimed)
    if there is None:
        return Explanation(refusal, is_open=True)
    found, explains = there
    if found is None:
        return Explanation(refusal, is_open=not explains)
    return Explanation(refusal.with_allocation(found), None if explains else found)


async def _read_current(context: WriteContext, claimed: ClaimedWrite) -> CurrentAllocation | None:
    """Reads what stands where a write was refused, until that succeeds or nobody waits for it any more.

    The first few readings are part of the attempt. Those after them are read-backs like all of a write in doubt.
    """
    for number in count(1):
        if number <= _READINGS_OF_REFUSED or context.api.protection.withdraw_read_back():
            until = context.api.times_out_at()
            if context.callers.are_waiting:
                until = min(context.callers.deadline, until)
            there = await claimed.readback.current_allocation(context.observation, until)
            if there is not None:
                return there
        if context.callers.are_waiting:
            await context.pause(number, context.callers.deadline)
        if not context.callers.are_waiting:
            break
    return None
