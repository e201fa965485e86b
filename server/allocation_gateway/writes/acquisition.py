"""How a write comes to hold its claim: begun, taken over, or answered by what its claim remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from allocation_gateway.claims.model import Busy, ClaimState, Held, NewClaim, StoreFullError, StoreUnavailableError
from allocation_gateway.claims.queued import QueuedClaims
from allocation_gateway.errors import GatewayError
from allocation_gateway.writes import errors, note, resolution, stored_answer
from allocation_gateway.writes.claim_handle import ClaimHandle
from allocation_gateway.writes.claimant import Claimant
from allocation_gateway.writes.claimed import ClaimedWrite
from allocation_gateway.writes.clocks import Interval
from allocation_gateway.writes.environment import NamedWrite
from allocation_gateway.writes.request import WriteResult

if TYPE_CHECKING:
    from allocation_gateway.claims.model import Claim, ClaimStore
    from allocation_gateway.writes.context import WriteContext
    from allocation_gateway.writes.sender import Sender


class Acquisition:
    """A write that waits for its claim."""

    __slots__ = ("_claimant", "_context", "_is_looked_up", "_locks", "_sender", "_store")

    def __init__(self, context: WriteContext, sender: Sender) -> None:
        """Starts without having asked the store.

        Args:
            context: The write.
            sender: Has the permit that it needs beside its claim.
        """
        self._context = context
        self._sender = sender
        request = context.request
        # To prepare a request changes what a group's name stands for, and not what the request is for.
        self._locks = request.operation.locks(request.message)
        self._store: ClaimStore = context.api.store.at(self._locks)
        if request.batch is not None:
            self._store = QueuedClaims(self._store, context.environment.batched_steps)
        self._claimant = Claimant(context.environment, context.api.now)
        # Whether it was asked whether there is a claim of this id.
        self._is_looked_up = False

    async def acquire(self) -> ClaimedWrite | WriteResult:
        """Makes the claim, or deals with the one that there is.

        Returns:
            The claim, of a first attempt or of what is in doubt; or what came of the write, if that is known already.

        Raises:
            GatewayError: It is not to be had, or its answer is an error.
        """
        context = self._context
        request, spare = context.request, context.api.spare
        if spare is not None and await spare.read(request.message.request_id) is not None:
            # It was begun while the store could not be reached, and only this process knows.
            self._store = spare
        message = request.message
        if request.prepare is not None:
            try:
                message = await request.prepare(context.callers.deadline - context.api.clock())
            except GatewayError as error:
                return await self._answer_instead(error)
        got: ClaimedWrite | WriteResult | None = None
        try:
            await self._sender.acquire_permit()
        except GatewayError as error:
            got = await self._answer_of_claim(error)
        if got is None:
            got = await self._claim(message)
        return got if isinstance(got, ClaimedWrite) else msgspec.structs.replace(got, message=message)

    def deadline_error(self) -> GatewayError:
        """Returns the error for a caller whose time is up before there is a claim."""
        is_named = self._context.request.is_named
        if self._claimant.earlier is not None:
            return errors.in_doubt(errors.EARLIER)
        if is_named and not self._is_looked_up:
            return errors.in_doubt(errors.NOT_LOOKED_UP)
        return errors.too_late(is_claimed=not is_named)

    def abandon(self) -> None:
        """Releases what may have been begun, without waiting for the store: the task is being cancelled."""
        request = self._context.request
        self._claimant.abandon(self._store, NamedWrite(request.message.request_id, request.operation.full_name))

    def _new_claim(self, message: Any) -> NewClaim:
        context, request = self._context, self._context.request
        target = context.observation.link_target
        return NewClaim(
            message.request_id,
            request.operation.full_name,
            request.fingerprint,
            message.SerializeToString(),
            b"" if request.terms is None and not target else note.encode(note.Note(request.terms, trace=target)),
            self._locks,
            self._claimant.token,
            context.environment.lease,
            context.longest_effect(),
        )

    async def _claim(self, message: Any) -> ClaimedWrite | WriteResult:
        context, new = self._context, self._new_claim(message)
        clock = context.api.clock
        until = clock() + context.environment.lock_wait
        pauses = 0
        others: dict[str, Claimant] = {}
        while True:
            got = await self._begin(new)
            if isinstance(got, ClaimHandle):
                return ClaimedWrite(context, self._store, got, message)
            # What waits must not keep others from their turn.
            self._sender.release_permit()
            if isinstance(got, Busy):
                await self._let_pass(got.claim, until, others, is_first=not pauses)
            elif got is not None:
                found = await self._meet(got)
                if found is not None:
                    return found
            pauses += 1
            await context.pause(pauses, until)
            if not isinstance(got, Busy) and not context.callers.are_waiting:
                raise errors.in_doubt(errors.EARLIER)
            if self._claimant.earlier is None:
                await self._acquire_permit_again()

    async def _begin(self, new: NewClaim) -> ClaimHandle | Held | Busy | None:
        """Begins the claim. Returns None if the store could not be asked, and there may be an earlier one.

        Raises:
            GatewayError: There is no room for it, or nobody could be asked, so that nothing is sent.
        """
        context = self._context
        is_named = context.request.is_named
        try:
            got = await self._claimant.begin(self._store, new)
        except StoreFullError:
            raise errors.full(is_named=is_named) from None
        except StoreUnavailableError as error:
            if self._claimant.earlier is not None:
                # What is in doubt stays so, and the store may be back in a moment.
                return None
            if context.api.spare is None:
                raise errors.no_store(is_named=is_named) from error
            self._store = context.api.spare
            context.count("unclaimed")
            return await self._begin(new)
        self._is_looked_up = self._is_looked_up or not isinstance(got, Busy)
        return got

    async def _acquire_permit_again(self) -> None:
        try:
            await self._sender.acquire_permit()
        except GatewayError as error:
            raise errors.unclaimed(error, is_named=self._context.request.is_named) from None

    async def _let_pass(self, claim: Claim, until: float, others: dict[str, Claimant], *, is_first: bool) -> None:
        """Lets the write that is in the way go first, and resolves it if nobody works on it, once in any case.

        Raises:
            GatewayError: It has been waited for long enough.
        """
        context = self._context
        request, api = context.request, context.api
        if is_first:
            context.follows(claim, "in_the_way")
        if request.is_named and not self._is_looked_up:
            await self._look_up()
        if not is_first and api.clock() >= min(until, context.callers.last_moment):
            context.count("aborted")
            if self._claimant.earlier is not None:
                raise errors.in_doubt(errors.EARLIER)
            raise errors.in_progress(is_named=request.is_named)
        if claim.state is ClaimState.IN_DOUBT:
            claimant = others.get(claim.request_id)
            if claimant is None:
                claimant = others[claim.request_id] = Claimant(context.environment, api.now)
            await resolution.resolve_abandoned(context, claim, claimant, self._store)

    async def _look_up(self) -> None:
        """Finds out whether an earlier call with this id has left something that this one must not deny."""
        try:
            await self._read_claim()
        except StoreUnavailableError as error:
            raise errors.no_store(is_named=True) from error

    async def _read_claim(self) -> Claim | None:
        """Returns the claim of this id; None if there is none. Takes note of one that is in doubt.

        Raises:
            StoreUnavailableError: The store could not be asked.
        """
        asked = self._context.api.now()
        claim = await self._store.read(self._context.request.message.request_id)
        self._is_looked_up = True
        if claim is not None and claim.state is ClaimState.IN_DOUBT:
            self._claimant.meet(claim, asked)
        return claim

    async def _meet(self, held: Held) -> ClaimedWrite | WriteResult | None:
        """Deals with the claim that this id has already.

        Returns:
            Its answer; or the claim, if nobody worked on it; None if somebody does.

        Raises:
            GatewayError: It is the claim of another request; or its answer is an error.
        """
        context, claim = self._context, held.claim
        if claim.fingerprint != context.request.fingerprint:
            context.count("reused")
            raise errors.reused()
        if claim.state is ClaimState.DONE:
            return await self._remembered(claim)
        # A release that locked references as they were spelled has it at another home.
        store = self._store.at(claim.references)
        handle = await self._claimant.take_over(store, claim)
        if handle is None:
            return None
        # What was sent is what is asked for, whatever a name stands for by now.
        message = context.request.operation.request.FromString(handle.claim.request)
        context.count("taken_over")
        context.follows(claim, "taken_over")
        return ClaimedWrite(context, store, handle, message)

    async def _remembered(self, claim: Claim) -> WriteResult:
        context = self._context
        operation = context.request.operation
        context.count("remembered")
        context.follows(claim, "remembered")
        response = stored_answer.unpack(operation, claim.answer)
        # What was sent last was answered before the time began in which it might still have taken effect unanswered.
        now = context.api.now()
        latest = now + claim.effects_end_in - context.api.settle_time(operation)
        answered = Interval(now - claim.age, min(max(latest, now - claim.age), now))
        return WriteResult(await context.restored(context.request.message, response), None, answered)

    async def _answer_instead(self, error: GatewayError) -> WriteResult:
        """Returns the response of a write that cannot be sent, if its claim remembers one.

        Raises:
            GatewayError: Nothing is known, and it is the reason; or it is in doubt.
        """
        answer = await self._answer_of_claim(error)
        if answer is None:
            raise errors.in_doubt(error)
        return answer

    async def _answer_of_claim(self, error: GatewayError) -> WriteResult | None:
        """Returns what is known of a write that may not be sent now; None if it is in doubt.

        Args:
            error: Why it may not.

        Raises:
            GatewayError: Nothing is known, and it is the reason.
        """
        request = self._context.request
        if not request.is_named:
            raise error
        try:
            claim = await self._read_claim()
        except StoreUnavailableError:
            raise errors.unclaimed(error, is_named=True) from None
        if claim is None or claim.state is ClaimState.SETTLED:
            # Another process may have begun it by now.
            raise errors.unclaimed(error, is_named=True)
        if claim.fingerprint != request.fingerprint:
            raise errors.reused()
        return await self._remembered(claim) if claim.state is ClaimState.DONE else None
