"""One write, from its claim to its end: the state machine behind the promise that nothing is done twice or lost.

The claim is made before anything is sent. A refusal of upstream's own ends the write; whatever else comes of an attempt
leaves it in doubt, and then it is read what became of it. It is sent again only when nothing sent before can still take
effect, and reading shows that nothing did.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.claims.model import Begun, Busy, Held, NewClaim, State, StoreFullError, StoreUnavailableError
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.model import Effect, references_field
from allocation_gateway.policy import answers, denials, quotes, results, rivals
from allocation_gateway.policy.account import TRANSIENT
from allocation_gateway.policy.protection.model import Kind, Verdict
from allocation_gateway.policy.survey import Survey
from allocation_gateway.upstream import failures
from allocation_gateway.upstream.client import Exchange
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from allocation_gateway.claims.model import Claim, ClaimStore
    from allocation_gateway.policy.account import Account
    from allocation_gateway.policy.order import Order
    from allocation_gateway.policy.protection.protection import Permit
    from allocation_gateway.policy.writes import Writes
    from allocation_gateway.telemetry.observation import Observation

_SHORTEST_WAIT: Final = 0.01
_SOME_TRIES: Final = 3
# What is left of a caller's time when nothing new is begun for it.
_LAST_MOMENT: Final = 0.05
_log = structlog.get_logger()


class Write:
    """One write, for however many callers wait for it.

    Attributes:
        order: What is asked for.
        deadline: Until when the last of its callers waits, by the event loop's clock.
        callers: How many wait.
    """

    __slots__ = (
        "_account",
        "_attempt",
        "_claim",
        "_clock",
        "_doubt",
        "_holder",
        "_looked_up",
        "_new",
        "_observation",
        "_permit",
        "_quiet_at",
        "_repeated",
        "_send_by",
        "_sendings",
        "_store",
        "_survey",
        "_writes",
        "callers",
        "deadline",
        "order",
    )

    def __init__(
        self, writes: Writes, account: Account, order: Order, observation: Observation, deadline: float
    ) -> None:
        self.order = order
        self.deadline = deadline
        self.callers = 1
        self._writes = writes
        self._account = account
        self._observation = observation
        self._clock = account.clock
        self._holder = writes.token()
        self._store: ClaimStore = account.store
        self._new: NewClaim | None = None
        self._claim: Claim | None = None
        self._permit: Permit | None = None
        # Whether it is known whether there was a claim of this id before.
        self._looked_up = False
        # With what the doubt began that there is about earlier attempts; None if there is none.
        self._doubt: GatewayError | None = None
        # Whether a caller has asked again for what was in doubt: then a bulk call too may be sent again.
        self._repeated = False
        self._attempt: Attempt | None = None
        # How often it was sent for the calls that it was begun for.
        self._sendings = 0
        self._send_by = 0.0
        self._quiet_at = 0.0
        self._survey: Survey | None = None

    async def run(self) -> Message:
        """Carries it out.

        Raises:
            GatewayError: It was not carried out, or it is not known.
        """
        try:
            answer = await self._take()
            return await self._work() if answer is None else answer
        except GatewayError as error:
            # The frames that it came through hold on to it, and it to them: the garbage collector would have to look.
            raise error.with_traceback(None)  # noqa: B904 - it is the same error
        except asyncio.CancelledError:
            self._abandon()
            raise
        except Exception:
            late = self.too_late()
            self._abandon()
            if late.code is not StatusCode.UNKNOWN:
                raise
            # Whatever the defect is, it does not tell what became of what was sent.
            _log.exception("defect", rpc=self.order.operation.name)
            raise late from None

    # What callers need to know of it from outside.

    def drop(self) -> bool:
        """Keeps it from being sent, if that is not too late; tells whether its task can be cancelled."""
        if self._claim is None:
            return True
        return self._doubt is None and (self._attempt is None or self._attempt.call_off())

    @property
    def is_resolving(self) -> bool:
        """Whether it waits for nothing but to learn what became of it."""
        return self._doubt is not None and self._attempt is None

    def too_late(self) -> GatewayError:
        """Returns the error for a caller whose time is up."""
        if self._doubt is not None or (self._attempt is not None and self._attempt.sent):
            return self._unknown()
        if self.order.is_named and not self._looked_up:
            return self._unknown(denials.NOT_LOOKED_UP)
        return denials.too_late()

    async def renew(self) -> None:
        """Goes on holding its claim. As long as nothing is sent, it may go on to be sent."""
        claim, attempt, started = self._claim, self._attempt, self._clock()
        if claim is None:
            return
        waiting = attempt is not None and not attempt.sent
        try:
            held = await self._store.renew(
                claim.request_id, self._holder, self._lease, quiet=self._full_quiet() if waiting else None
            )
        except StoreUnavailableError:
            return
        if held and waiting and attempt is not None:
            attempt.send_by = self._send_by = started + self._lease

    # The claim.

    async def _take(self) -> Message | None:
        """Makes the claim, or meets the one that there is. Returns the answer if there is one already."""
        order = self.order
        spare = self._account.spare
        if spare is not None and await spare.read(order.request.request_id) is not None:
            # It was begun while the store could not be reached, and only this process knows.
            self._store = spare
        if order.prepare is not None:
            try:
                await order.prepare(self.deadline - self._clock())
            except GatewayError as error:
                return await self._refused(error, may_wait=False)
            order.prepare = None
        try:
            self._permit = await self._account.protection.enter(Kind.WRITE, self.deadline)
        except GatewayError as error:
            answer = await self._refused(error, may_wait=True)
            if answer is not None:
                return answer
        self._new = NewClaim(
            order.request.request_id,
            order.operation.full_name,
            order.fingerprint,
            order.request.SerializeToString(),
            quotes.encode(order.terms),
            order.operation.references(order.request),
            self._holder,
            self._lease,
            self._full_quiet(),
        )
        return await self._claimed(self._new)

    async def _claimed(self, new: NewClaim) -> Message | None:
        until = self._clock() + self._writes.lock_wait
        pauses = 0
        while True:
            started = self._clock()
            got = await self._begin(new)
            if isinstance(got, Begun):
                await self._begun(got.claim, started)
                return None
            self._give_back_permit()
            if got is None:
                pass  # what is in doubt stays so, and the store may be back in a moment
            elif isinstance(got, Busy):
                await self._yield_to(got.claim, until, is_first=not pauses)
            elif await self._meet(got):
                return await self._remembered(got)
            if self._claim is not None:
                return None
            pauses += 1
            await self._pause(pauses, until)
            if not isinstance(got, Busy) and not self._is_awaited:
                raise self._unknown()
            await self._enter_again()

    async def _yield_to(self, claim: Claim, until: float, *, is_first: bool) -> None:
        """Lets the write that is in the way go first, and helps it if nobody works on it, once in any case.

        Raises:
            GatewayError: It has been waited for long enough.
        """
        if self.order.is_named and not self._looked_up:
            await self._look_up_earlier()
        if not is_first and self._clock() >= min(until, self.deadline - _LAST_MOMENT):
            self._writes.count("aborted", self.order.operation)
            raise denials.in_progress() if self._doubt is None else self._unknown()
        with suppress(StoreUnavailableError):
            await rivals.resolve(
                claim, self._holder, self._store, self._account, self._writes, self._observation, self.deadline
            )

    async def _look_up_earlier(self) -> None:
        """Finds out whether an earlier call with this id has left something that this one must not deny."""
        try:
            claim = await self._store.read(self.order.request.request_id)
        except StoreUnavailableError as error:
            raise denials.no_store(is_named=True) from error
        self._looked_up = True
        if claim is not None:
            self._doubt = denials.EARLIER

    async def _begin(self, new: NewClaim) -> Begun | Held | Busy | None:
        """Begins the claim. Returns None if the store could not be asked, and it is in doubt from before.

        Raises:
            GatewayError: There is no room for it, or nobody could be asked, so that nothing is sent.
        """
        for is_last in (False, True):
            try:
                got = await self._store.begin(new)
            except StoreFullError:
                self._give_back_permit()
                raise denials.full() from None
            except StoreUnavailableError as error:
                if is_last:
                    return await self._begin_without_store(new, error)
                continue
            if isinstance(got, Held) and got.claim.holder == self._holder:
                # The first try was written, although nobody said so.
                return Begun(got.claim)
            self._looked_up = self._looked_up or not isinstance(got, Busy)
            return got
        raise AssertionError("the last try is answered or fails")

    async def _begin_without_store(self, new: NewClaim, error: StoreUnavailableError) -> Begun | Held | Busy | None:
        # It may have been written all the same, so that nothing is sent under it.
        self._writes.later(self._store.release(new.request_id, self._holder))
        if self._doubt is not None:
            return None
        if self._account.spare is None:
            self._give_back_permit()
            raise denials.no_store(is_named=self.order.is_named) from error
        self._store = self._account.spare
        self._writes.count("unclaimed", self.order.operation)
        return await self._begin(new)

    async def _begun(self, claim: Claim, started: float) -> None:
        self._claim = claim
        self._send_by = started + self._lease
        self._quiet_at = started + claim.quiet_in
        if claim.attempts > 1:
            self._doubt, self._repeated = denials.EARLIER, True
            self._quiet_at = started
            self._give_back_permit()
            return
        # If there was a claim before, it has gone since then: this is a first attempt after all.
        self._doubt = None
        if self._permit is None:
            try:
                self._permit = await self._account.protection.enter(Kind.WRITE, self.deadline)
            except GatewayError:
                await self._release()
                raise

    async def _meet(self, held: Held) -> bool:
        """Deals with the claim that this id has already. Returns whether it has its answer.

        Raises:
            GatewayError: It is the claim of another request.
        """
        claim = held.claim
        if claim.fingerprint != self.order.fingerprint:
            self._writes.count("reused", self.order.operation)
            raise denials.reused()
        if claim.state is State.DONE:
            return True
        self._doubt = self._doubt or denials.EARLIER
        if claim.lease_left <= 0:
            started = self._clock()
            try:
                taken = await self._store.take_over(claim.request_id, self._holder, self._lease)
            except StoreUnavailableError:
                return False
            if taken is not None:
                self._claim, self._repeated = taken, True
                self._quiet_at = started + taken.quiet_in
                # What was sent is what is asked for, whatever a name stands for by now.
                self.order.request = self.order.operation.request.FromString(taken.request)
                self._writes.count("taken_over", self.order.operation)
        return False

    async def _remembered(self, held: Held) -> Message:
        self._writes.count("remembered", self.order.operation)
        response = answers.unpack(self.order.operation, held.claim.answer)
        return await self._account.upstream.completed(self.order.request, response, self._exchange())

    async def _refused(self, error: GatewayError, *, may_wait: bool) -> Message | None:
        """Answers a write that may not be sent now: with what is known of its id, if there is something.

        Args:
            error: Why it may not.
            may_wait: Whether that may be over in a moment, so that what is in doubt is resolved meanwhile: then None.

        Raises:
            GatewayError: Nothing is known, and it is the reason; or it is in doubt.
        """
        if not self.order.is_named:
            raise error
        try:
            claim = await self._store.read(self.order.request.request_id)
        except StoreUnavailableError:
            raise error.with_effect(None) from None
        self._looked_up = True
        if claim is None:
            raise error
        if claim.fingerprint != self.order.fingerprint:
            raise denials.reused()
        if claim.state is State.DONE:
            self._writes.count("remembered", self.order.operation)
            return answers.unpack(self.order.operation, claim.answer)
        if not may_wait:
            raise self._unknown(error)
        self._doubt = denials.EARLIER
        return None

    # The attempts.

    async def _work(self) -> Message:
        attempts = 0
        while True:
            if self._doubt is not None:
                answer = await self._resolve()
                if answer is not None:
                    return answer
                if not await self._allow_again():
                    # Budget, breaker and store may allow it in a moment, and its callers still wait.
                    await asyncio.sleep(self._account.backoff.seconds(_SOME_TRIES))
                    continue
            attempts += 1
            outcome = await self._send()
            if isinstance(outcome, GatewayError):
                answer = await self._failed(outcome, attempts)
            else:
                answer = await self._answered(outcome)
            if answer is not None:
                return answer

    async def _answered(self, response: Message) -> Message | None:
        """Ends a write with what upstream answered. Returns None if that leaves it in doubt."""
        order, is_bulk = self.order, self.order.operation.effect.is_bulk
        if is_bulk and self._survey is not None:
            response = results.bulk(order.operation, order.request, self._survey.known, response)
        if results.is_conclusive(order.operation, response):
            return await self._finished(response)
        if is_bulk:
            return await self._completed(response)
        self._in_doubt(denials.UNCONFIRMED)
        return None

    async def _failed(self, error: GatewayError, attempts: int) -> Message | None:
        """Ends a write whose attempt failed. Returns None if it is in doubt now, or is to be tried again.

        Raises:
            GatewayError: It was not carried out; or it was, and its answer is broken.
        """
        if error.effect is WriteEffect.MADE:
            await self._record(error)
            raise error
        if error.effect is not WriteEffect.NONE:
            self._in_doubt(error)
        elif self._doubt is not None:
            return await self._refused_later(error)
        elif not await self._try_again(error, attempts):
            await self._explain(error)
            await self._release()
            raise error
        return None

    async def _send(self) -> Message | GatewayError:
        """Makes one attempt, with the permit that there is."""
        permit, self._permit = self._permit, None
        if permit is None:
            raise AssertionError("a write is sent with a permit")
        order = self.order
        request = order.request if self._survey is None else self._remaining()
        self._attempt = attempt = Attempt(self._send_by)
        self._sendings += 1
        exchange = Exchange(attempt, self._observation, self.deadline)
        try:
            outcome: Message | GatewayError
            outcome = await self._account.upstream.call(order.operation, order.route, request, exchange)
        except GatewayError as error:
            outcome = error
            error.retry_after = exchange.retry_after
        finally:
            self._account.ended(order.operation, exchange, permit)
        if attempt.sent:
            self._quiet_at = self._clock() + self._account.settle_time(order.operation)
        return outcome

    def _remaining(self) -> Any:
        """Returns the request for what is still without effect."""
        request = self.order.request
        if not self.order.operation.effect.is_bulk or self._survey is None:
            return request
        remaining = type(request)()
        remaining.CopyFrom(request)
        references = getattr(remaining, references_field(type(request)))
        del references[:]
        references.extend(self._survey.open())
        return remaining

    async def _try_again(self, refusal: GatewayError, attempts: int) -> bool:
        """Waits for another attempt after one that certainly had no effect. Returns whether there may be one."""
        if refusal.reason not in TRANSIENT or attempts >= self._account.settings.max_attempts:
            return False
        pause = self._account.backoff.seconds(attempts, refusal.retry_after)
        if self._clock() + pause >= self.deadline - _LAST_MOMENT or not self._account.protection.retries.withdraw():
            return False
        self._attempt = None
        await asyncio.sleep(pause)
        if not self._is_awaited:
            return False
        try:
            return await self._hold_again()
        except GatewayError:
            return False

    async def _allow_again(self) -> bool:
        """Sees to it that another attempt may be made of what is in doubt. Returns whether it may be made now."""
        # A call may always send once: the budget is for what is sent on top of what is asked for.
        if self._sendings and not self._account.protection.retries.withdraw():
            return False
        try:
            allowed = await self._hold_again()
        except GatewayError:
            return False
        if allowed:
            self._writes.count("sent_again", self.order.operation)
        return allowed

    async def _hold_again(self) -> bool:
        """Gets a permit, and makes sure that the claim is still ours, for one more attempt."""
        permit = await self._account.protection.enter(Kind.WRITE, self.deadline)
        started = self._clock()
        try:
            held = await self._store.renew(
                self.order.request.request_id, self._holder, self._lease, quiet=self._full_quiet(), attempt=True
            )
        except StoreUnavailableError:
            held = False
        if not held:
            permit.leave(Verdict.NONE)
            return False
        self._permit, self._send_by = permit, started + self._lease
        return True

    async def _refused_later(self, refusal: GatewayError) -> Message | None:
        """Ends a write whose later attempt was refused: an earlier one may be the reason.

        Returns:
            Its answer, or None if the refusal may be over in a moment.

        Raises:
            GatewayError: It was not carried out, or it is not known.
        """
        if refusal.reason in TRANSIENT:
            self._attempt = None
            await asyncio.sleep(self._account.backoff.seconds(self._sendings, refusal.retry_after))
            return None
        survey = self._surveyed()
        await self._look(survey)
        if survey.is_complete:
            return await self._concluded(survey)
        if survey.shows_nothing:
            if survey.known:
                response = results.bulk(self.order.operation, self.order.request, survey.known, None, refusal)
                return await self._finished(response)
            await self._release()
            raise refusal
        # Nothing could be read of it: that may be over in a moment, too.
        self._attempt = None
        await asyncio.sleep(self._account.backoff.seconds(self._sendings))
        return None

    async def _completed(self, response: Message) -> Message:
        """Ends a bulk call whose answer leaves some references open: they are read once.

        What it leaves open after that is for the caller to read. If it says nothing of any of them, its claim stays in
        doubt, so that a repeat reads them again.
        """
        order = self.order
        unsaid = results.unsaid(response)
        says_nothing = len(unsaid) == len(order.operation.references(order.request))
        survey = self._surveyed()
        survey.limit(unsaid)
        await self._look(survey)
        response = results.bulk(order.operation, order.request, survey.known, response)
        if says_nothing and not results.is_conclusive(order.operation, response):
            self._in_doubt(denials.UNCONFIRMED)
            await self._lay_down()
            return response
        return await self._finished(response)

    # What became of it.

    def _in_doubt(self, cause: GatewayError) -> None:
        if self._doubt is None:
            self._writes.count("in_doubt", self.order.operation)
        self._doubt, self._attempt = cause, None

    def _surveyed(self) -> Survey:
        if self._survey is None:
            if self._claim is None:
                raise AssertionError("what is surveyed has a claim")
            self._survey = Survey(self._account, self.order.operation, self.order.request, self._claim)
        return self._survey

    async def _look(self, survey: Survey) -> None:
        protection = self._account.protection
        if protection.readings_paused or not protection.readings.withdraw():
            survey.absent.clear()
            return
        await survey.look(self._observation, self._clock() + self._account.settings.timeout)

    async def _resolve(self) -> Message | None:
        """Reads until it is known what became of it. Returns its answer; None if it may be sent again.

        Raises:
            GatewayError: Something else is there, or nothing is known and nobody waits any more.
        """
        survey = self._surveyed()
        readings = 0
        while True:
            is_late = self._clock() >= self._quiet_at
            await self._look(survey)
            if survey.is_complete:
                return await self._concluded(survey)
            if is_late and survey.shows_nothing:
                if self._may_send_again:
                    return None
                await self._settle()
                raise self._unknown()
            if is_late and not self._is_awaited:
                await self._lay_down()
                raise self._unknown()
            readings += 1
            await self._pause(readings, self._quiet_at)

    async def _concluded(self, survey: Survey) -> Message:
        operation, request = self.order.operation, self.order.request
        answer = results.adopted(operation, request, survey.known)
        if answer is not None:
            self._writes.count("reconciled", operation)
            answer = await self._account.upstream.completed(request, answer, self._exchange())
            return await self._finished(answer, is_read=True)
        # What is there keeps an attempt that is still on its way from taking effect, as long as nobody takes it away:
        # the claim sees to that until it is too late for the attempt.
        if self._clock() >= self._quiet_at:
            await self._release()
        else:
            await self._lay_down()
        raise results.other(next(iter(survey.known.values())).allocation)

    async def _explain(self, refusal: GatewayError) -> None:
        """Adds the allocation that is there to a refusal for its sake, if it can be read in time."""
        is_state = refusal.reason == ErrorReason.ERROR_REASON_INVALID_STATE
        if not is_state or self.order.operation.effect is not Effect.ALLOCATE or not self._is_awaited:
            return
        survey = self._surveyed()
        await survey.look(self._observation, min(self.deadline, self._clock() + self._account.settings.timeout))
        for found in survey.known.values():
            refusal.allocation = found.allocation

    # The end.

    async def _finished(self, answer: Message, *, is_read: bool = False) -> Message:
        await self._record(answer, is_read=is_read)
        return answer

    async def _record(self, answer: Message | GatewayError, *, is_read: bool = False) -> None:
        """Records what is known. That it cannot be recorded is no reason to answer anything else."""
        new, claim, operation = self._new, self._claim, self.order.operation
        if new is None or claim is None:
            raise AssertionError("what is recorded has a claim")
        request = self.order.request
        allocated, deallocated = results.affected(operation, request, answer)
        keep = 0.0
        if is_read and not operation.effect.allocates and not all(name in claim.owners for name in claim.references):
            # It may have been so before, and an attempt still on its way would undo the next allocation.
            keep = max(self._quiet_at - self._clock(), 0.0)
        record = partial(
            self._store.finish,
            claim.request_id,
            self._holder,
            answers.pack(answer),
            fallback=new,
            allocated=allocated,
            deallocated=deallocated,
            keep_locks=keep,
        )
        try:
            await record()
        except StoreUnavailableError:
            try:
                # Most often one connection was lost, and there are others.
                await record()
            except StoreUnavailableError:
                self._writes.record_later(record, operation)
        self._claim = None

    async def _release(self) -> None:
        await self._end(lambda claim: self._store.release(claim.request_id, self._holder))

    async def _settle(self) -> None:
        self._writes.count("settled", self.order.operation)

        async def settle(claim: Claim) -> None:
            # The store knows only until when an attempt could have lasted, not when it ended.
            if await self._store.renew(claim.request_id, self._holder, self._lease, quiet=0.0):
                await self._store.settle(claim.request_id, self._holder)

        await self._end(settle)

    async def _lay_down(self) -> None:
        quiet = max(self._quiet_at - self._clock(), 0.0)
        await self._end(lambda claim: self._store.lay_down(claim.request_id, self._holder, quiet=quiet))

    async def _end(self, step: Callable[[Claim], Awaitable[Any]]) -> None:
        claim, self._claim = self._claim, None
        if claim is None:
            return
        try:
            await step(claim)
        except StoreUnavailableError:
            # Its lease runs out, and then it is for the next caller to resolve.
            _log.warning("claim_not_ended", request_id=claim.request_id)

    def _abandon(self) -> None:
        """Ends the work of a task that is being cancelled, without waiting for it."""
        self._give_back_permit()
        new = self._new
        if new is None:
            return
        sent = self._attempt is not None and self._attempt.sent
        if self._doubt is None and not sent:
            self._writes.later(self._store.release(new.request_id, self._holder))
        elif self._claim is not None:
            settle = self._account.settle_time(self.order.operation)
            quiet = settle if sent else max(self._quiet_at - self._clock(), 0.0)
            self._writes.later(self._store.lay_down(new.request_id, self._holder, quiet=quiet))

    # Small things.

    @property
    def _lease(self) -> float:
        return self._writes.lease

    @property
    def _is_awaited(self) -> bool:
        return self.callers > 0 and self._clock() < self.deadline - _LAST_MOMENT

    @property
    def _may_send_again(self) -> bool:
        # Nobody would know of a bulk call's second part, unless somebody asks again.
        allowed = self._repeated or not self.order.operation.effect.is_bulk
        return allowed and self._is_awaited and not self._writes.is_draining

    def _full_quiet(self) -> float:
        """Returns for how long an attempt that may begin within the lease can take effect, whatever becomes of us."""
        return self._lease + self._account.settings.timeout + self._account.settle_time(self.order.operation)

    def _exchange(self) -> Exchange:
        return Exchange(Attempt(), self._observation, self.deadline, is_further=True)

    def _give_back_permit(self) -> None:
        if self._permit is not None:
            self._permit.leave(Verdict.NONE)
            self._permit = None

    async def _enter_again(self) -> None:
        # What is in doubt is read first, and needs no permit for that.
        if self._doubt is None:
            self._permit = await self._account.protection.enter(Kind.WRITE, self.deadline)

    async def _pause(self, times: int, until: float) -> None:
        """Waits a while that grows with the times, but not past a moment that is still to come."""
        pause = max(self._account.backoff.seconds(times), _SHORTEST_WAIT)
        left = until - self._clock()
        await asyncio.sleep(min(pause, left + _SHORTEST_WAIT) if left > 0 else pause)

    def _unknown(self, cause: GatewayError | None = None) -> GatewayError:
        survey = self._survey
        detail = None
        if self.order.operation.effect.is_bulk and survey is not None:
            detail = results.progress(survey.known, survey.open())
        return results.in_doubt(
            cause or self._doubt or denials.EARLIER, detail, errors.retry_after(failures.DEFAULT_RETRY_SECONDS)
        )
