"""A write in doubt: reads until it is known what became of it, or until it may be sent again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from allocation_gateway.errors import GatewayError
from allocation_gateway.writes import attempt, errors, resolution
from allocation_gateway.writes.adoption import UNALLOCATED
from allocation_gateway.writes.resolution import Done, DoneInPart, NotOwn, Undecided, WithoutEffect

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.writes.attempt import Refused
    from allocation_gateway.writes.claimed import ClaimedWrite
    from allocation_gateway.writes.context import WriteContext
    from allocation_gateway.writes.sender import Sender

# Of the pauses that grow, the one before it is asked again whether something may be sent.
_PAUSE_NUMBER: Final = 3


async def read_back(
    context: WriteContext, claimed: ClaimedWrite, sender: Sender, cause: GatewayError
) -> Message | None:
    """Reads until it is known what became of a write.

    Args:
        context: The write.
        claimed: Its claim.
        sender: Sends it again, if that may be done.
        cause: With what the doubt began.

    Returns:
        Its response; None if it is to be sent again, with the permit that the sender has now: it has had no effect, and
        can have none any more.

    Raises:
        GatewayError: Something else is there, or nothing is known and nobody waits any more.
    """
    handle, readings = claimed.handle, 0
    while True:
        conclusion = await _resolve(context, claimed)
        answer = await _conclude(context, claimed, conclusion)
        if answer is not None:
            return answer
        if isinstance(conclusion, WithoutEffect | DoneInPart):
            if not _may_send_again(context, claimed):
                if isinstance(conclusion, DoneInPart):
                    # A repeat asks for the rest. Its references stay locked: whoever comes first sees what was made.
                    context.count("left_in_doubt")
                    await handle.leave_in_doubt()
                else:
                    context.count("settled")
                    await handle.settle()
                raise claimed.in_doubt(cause)
            if await _prepare_again(context, claimed, sender):
                return None
            # Budget, breaker and store may allow it in a moment, and its callers still wait.
            await asyncio.sleep(context.api.backoff.seconds(_PAUSE_NUMBER))
            continue
        if handle.effects_are_over() and not context.callers.are_waiting:
            context.count("left_in_doubt")
            await handle.leave_in_doubt()
            raise claimed.in_doubt(cause)
        readings += 1
        await context.pause(readings, handle.effects_end_at)


async def after_refusal(
    context: WriteContext, claimed: ClaimedWrite, sender: Sender, refused: Refused
) -> Message | None:
    """Finds out what a refusal means for a write that was in doubt before: an earlier attempt may be the reason.

    Returns:
        Its response; None if it is still in doubt, since the refusal may be over in a moment.

    Raises:
        GatewayError: It was not carried out, or it is not known.
    """
    backoff, attempts = context.api.backoff, sender.attempts
    if refused.is_transient:
        # Upstream may ask for more time than the caller has: the claim is not held for longer than that.
        pause = backoff.seconds(attempts, refused.retry_after)
        await asyncio.sleep(min(pause, max(0.0, context.callers.deadline - context.api.clock())))
        return None
    answer = await _conclude(context, claimed, await _resolve(context, claimed))
    if answer is not None:
        return answer
    readback = claimed.readback
    # Refused for its state, and free to be allocated: the refusal and the reading cannot both be right. Some upstreams
    # do not take what they have failed to allocate once more.
    is_contradicted = attempt.is_of_state(claimed.operation, refused.error) and not readback.failed
    if readback.shows_no_effect and not is_contradicted:
        if readback.known:
            told = resolution.told(claimed.operation, claimed.message, readback.known, refused.error)
            await resolution.record(claimed.handle, claimed.operation, claimed.message, told)
            if isinstance(told, GatewayError):
                raise told
            return told
        await claimed.handle.settle()
        raise refused.error
    # Nothing could be read of it, or not what is so by now: that may be over in a moment, too.
    await asyncio.sleep(backoff.seconds(attempts))
    return None


async def _resolve(context: WriteContext, claimed: ClaimedWrite) -> resolution.Conclusion:
    until = context.api.times_out_at()
    conclusion = await resolution.resolve(
        claimed.readback, claimed.handle, claimed.operation, claimed.message, context.observation, until
    )
    context.observation.event("read_back", {"allocation_gateway.conclusion": resolution.NAMES[type(conclusion)]})
    return conclusion


async def _conclude(context: WriteContext, claimed: ClaimedWrite, conclusion: resolution.Conclusion) -> Message | None:
    """Ends the write if it is known what became of it. Returns the response; None if it is not known.

    Raises:
        GatewayError: Something else is there.
    """
    match conclusion:
        case Done(response):
            context.count("reconciled")
            if isinstance(response, GatewayError):
                await resolution.record(claimed.handle, claimed.operation, claimed.message, response, is_read=True)
                raise response
            answer = await context.restored(claimed.message, response)
            await resolution.record(claimed.handle, claimed.operation, claimed.message, answer, is_read=True)
            return answer
        case NotOwn(found):
            await resolution.close_not_own(claimed.handle)
            raise errors.not_own(claimed.operation, found)
        case Undecided(found):
            context.count("undecided")
            raise await resolution.record_undecided(claimed.handle, claimed.operation, found)
    return None


def _may_send_again(context: WriteContext, claimed: ClaimedWrite) -> bool:
    # Nobody would know of a bulk call's second part, unless somebody asks again.
    allowed = not claimed.handle.is_first or not claimed.operation.action.is_bulk
    if claimed.operation.bulk is not None and not claimed.operation.bulk.tells_of_each:
        # The answer to the rest would have no place for what can never be known.
        allowed = allowed and not claimed.readback.has_undecided
    return allowed and context.callers.are_waiting and not context.environment.is_draining


async def _prepare_again(context: WriteContext, claimed: ClaimedWrite, sender: Sender) -> bool:
    """Sees to it that another attempt may be made of what was in doubt. Returns whether it may be made now."""
    # A call may always send once: the budget is for what is sent on top of what is asked for.
    if sender.attempts and not context.api.protection.retry_budget.withdraw():
        return False
    kept = None
    if claimed.operation.action.allocates:
        # Whatever is there from now on has come from this write.
        before = dict.fromkeys(claimed.readback.absent, UNALLOCATED)
        kept = claimed.handle.note_with(before, context.observation.link_target)
    allowed = await attempt.prepare_another(context, claimed, sender, kept=kept)
    if allowed:
        context.count("sent_again")
    return allowed
