"""Another write, in the way of one's own, that nobody works on any more: it is found out what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.claims.model import NewClaim, State
from allocation_gateway.policy import answers, results
from allocation_gateway.policy.survey import Survey

if TYPE_CHECKING:
    from allocation_gateway.claims.model import Claim, ClaimStore
    from allocation_gateway.policy.account import Account
    from allocation_gateway.policy.writes import Writes
    from allocation_gateway.telemetry.observation import Observation


async def resolve(
    claim: Claim,
    holder: str,
    store: ClaimStore,
    account: Account,
    writes: Writes,
    observation: Observation,
    deadline: float,
) -> None:
    """Reads what became of a write and ends its claim, or lays it down again. Does nothing if somebody works on it.

    Args:
        claim: Its claim, as it was found in the way.
        holder: Who takes it over for that.
        store: Where it is kept.
        account: Whom to ask.
        writes: All writes of this process.
        observation: Whose requests the readings are.
        deadline: Until when there is time for them, by the event loop's clock.

    Raises:
        StoreUnavailableError: The store could not be asked. A lease runs out then, if it was taken over.
    """
    if claim.state is not State.IN_DOUBT or claim.lease_left > 0:
        return
    taken = await store.take_over(claim.request_id, holder, writes.lease)
    if taken is None:
        return
    operation = writes.operation(taken.operation)
    if operation is None:  # of another release
        await store.lay_down(taken.request_id, holder, quiet=max(taken.quiet_in, 0.0))
        return
    clock = account.clock
    request = operation.request.FromString(taken.request)
    survey = Survey(account, operation, request, taken)
    quiet_at = clock() + taken.quiet_in
    await survey.look(observation, min(clock() + account.settings.timeout, deadline))
    quiet = max(quiet_at - clock(), 0.0)
    if survey.is_complete and (answer := results.adopted(operation, request, survey.known)) is not None:
        allocated, deallocated = results.affected(operation, request, answer)
        await store.finish(
            taken.request_id,
            holder,
            answers.pack(answer),
            fallback=_anew(taken),
            allocated=allocated,
            deallocated=deallocated,
            keep_locks=quiet if not operation.effect.allocates else 0.0,
        )
        writes.count("reconciled", operation)
    elif quiet <= 0 and (survey.is_complete or survey.shows_nothing):
        await store.settle(taken.request_id, holder)
        writes.count("settled", operation)
    else:
        await store.lay_down(taken.request_id, holder, quiet=quiet)


def _anew(claim: Claim) -> NewClaim:
    return NewClaim(
        claim.request_id,
        claim.operation,
        claim.fingerprint,
        claim.request,
        claim.note,
        claim.references,
        claim.holder,
        0.0,
        0.0,
    )
