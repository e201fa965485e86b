"""One write, from its claim to its end.

The claim is made before anything is sent. A refusal of upstream's own ends the write; whatever else comes of an attempt
leaves it in doubt, and then it is read what became of it. It is sent again only when nothing that was sent before can
still take effect, and reading shows that nothing did. docs/architecture.md has a diagram of the phases.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.account import TRANSIENT
from allocation_gateway.claims.model import Busy, NewClaim, State, StoreFullError, StoreUnavailableError
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.model import Effect, references_field
from allocation_gateway.upstream.client import Exchange
from allocation_gateway.upstream.http import Attempt
from allocation_gateway.writes import errors, note, resolution, responses, stored_answer
from allocation_gateway.writes.adoption import UNALLOCATED
from allocation_gateway.writes.claim_handle import Claimant, ClaimHandle
from allocation_gateway.writes.phases import Phase, check
from allocation_gateway.writes.readback import ReadBack
from allocation_gateway.writes.resolution import Denied, Done, Undecided, WithoutEffect
from allocation_gateway.writes.sender import Sender

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.account import Account
    from allocation_gateway.claims.model import Claim, ClaimStore, Held
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.environment import Environment
    from allocation_gateway.writes.request import WriteRequest
    from allocation_gateway.writes.sender import Reply

_SHORTEST_WAIT: Final = 0.01
_SOME_TRIES: Final = 3
# What is left of a caller's time when nothing new is begun for it.
_LAST_MOMENT: Final = 0.05
_log = structlog.get_logger()


class Write:
    """One write, for however many callers wait for it.

    Attributes:
        request: What is asked for.
        deadline: Until when the last of its callers waits, by the event loop's clock.
        callers: How many wait.
        phase: How far it has come.
    """

    __slots__ = (
        "_account",
        "_cause",
        "_claimant",
        "_clock",
        "_environment",
        "_handle",
        "_is_repeated",
        "_last_word",
        "_looked_up",
        "_observation",
        "_readback",
        "_sender",
        "_store",
        "_was_in_doubt",
        "callers",
        "deadline",
        "phase",
        "request",
    )

    def __init__(
        self,
        environment: Environment,
        account: Account,
        request: WriteRequest,
        observation: Observation,
        deadline: float,
    ) -> None:
        self.request = request
        self.deadline = deadline
        self.callers = 1
        self.phase = Phase.WAITING
        self._environment = environment
        self._account = account
        self._observation = observation
        self._clock = account.clock
        self._store: ClaimStore = account.store
        self._claimant = Claimant(environment, account.now)
        self._sender = Sender(account)
        self._handle: ClaimHandle | None = None
        self._readback: ReadBack | None = None
        # With what the doubt began that it is in.
        self._cause = errors.UNANSWERED
        # Whether it was asked whether there is a claim of this id.
        self._looked_up = False
        # Whether it was in doubt at any time: that it has no effect is never said after that.
        self._was_in_doubt = False
        # Whether a caller has asked again for what was in doubt: then a bulk call too may be sent again.
        self._is_repeated = False
        # What callers are told of a write that was given up.
        self._last_word: GatewayError | None = None

    async def run(self) -> Message:
        """Carries it out.

        Raises:
            GatewayError: It was not carried out, or it is not known.
        """
        try:
            answer = await self._begin()
            while answer is None:
                answer = await (self._read_back() if self.phase is Phase.IN_DOUBT else self._send())
        except GatewayError as error:
            # The frames that it came through hold on to it, and it to them: the garbage collector would have to look.
            raise error.with_traceback(None)  # noqa: B904 - it is the same error
        except asyncio.CancelledError:
            self._last_word = self.too_late()
            self._abandon()
            raise
        except Exception:
            self._last_word = late = self.too_late()
            self._abandon()
            if late.code is not StatusCode.UNKNOWN:
                raise
            # Whatever the defect is, it does not tell what became of what was sent.
            _log.exception("defect", rpc=self.request.operation.name)
            raise late from None
        else:
            return answer
        finally:
            self._sender.give_back()
            self.phase = Phase.ENDED

    def _enter(self, phase: Phase) -> None:
        check(self.phase, phase)
        self.phase = phase

    # What callers need to know of it from outside.

    def call_off(self) -> bool:
        """Keeps it from being sent, if that is not too late. Returns whether its task can be cancelled."""
        if self._was_in_doubt:
            return False
        attempt = self._sender.attempt
        return self.phase is not Phase.SENDING or attempt is None or attempt.call_off()

    def too_late(self) -> GatewayError:
        """Returns the error for a caller whose time is up, or whose write was given up."""
        if self._last_word is not None:
            return self._last_word
        if self._was_in_doubt or (self.phase is Phase.SENDING and self._sender.may_have_sent):
            return self._unknown()
        is_waiting = self.phase is Phase.WAITING
        if is_waiting and self._claimant.earlier is not None:
            return self._unknown(errors.EARLIER)
        if is_waiting and self.request.is_named and not self._looked_up:
            return self._unknown(errors.NOT_LOOKED_UP)
        return errors.too_late(is_claimed=not is_waiting or not self.request.is_named)

    async def renew(self) -> None:
        """Goes on holding its claim. As long as nothing is sent, it may go on to be sent."""
        handle, attempt = self._handle, self._sender.attempt
        if handle is None:
            return
        is_waiting = attempt is not None and not attempt.sent
        if await handle.renew(effects=self._longest_effect() if is_waiting else None) and attempt is not None:
            attempt.send_by = handle.send_by

    # WAITING: for a place at upstream and for the claim.

    async def _begin(self) -> Message | None:
        """Makes the claim, or meets the one that there is. Returns the answer if there is one already."""
        request = self.request
        spare = self._account.spare
        if spare is not None and await spare.read(request.message.request_id) is not None:
            # It was begun while the store could not be reached, and only this process knows.
            self._store = spare
        if request.prepare is not None:
            try:
                await request.prepare(self.deadline - self._clock())
            except GatewayError as error:
                return await self._refused_early(error, may_wait=False)
            request.prepare = None
        try:
            await self._sender.admit(self.deadline)
        except GatewayError as error:
            answer = await self._refused_early(error, may_wait=True)
            if answer is not None:
                return answer
        return await self._claim(
            NewClaim(
                request.message.request_id,
                request.operation.full_name,
                request.fingerprint,
                request.message.SerializeToString(),
                b"" if request.terms is None else note.encode(note.Note(request.terms)),
                request.operation.references(request.message),
                self._claimant.token,
                self._environment.lease,
                self._longest_effect(),
            )
        )

    async def _claim(self, new: NewClaim) -> Message | None:
        until = self._clock() + self._environment.lock_wait
        pauses = 0
        others: dict[str, Claimant] = {}
        while True:
            got = await self._try_to_claim(new)
            if isinstance(got, ClaimHandle):
                await self._hold(got)
                return None
            # What waits must not keep others from their turn.
            self._sender.give_back()
            if isinstance(got, Busy):
                await self._let_pass(got.claim, until, others, is_first=not pauses)
            elif got is not None:
                answer = await self._meet(got)
                if answer is not None or self._handle is not None:
                    return answer
            pauses += 1
            await self._pause(pauses, until)
            if not isinstance(got, Busy) and not self._is_awaited:
                raise self._unknown(errors.EARLIER)
            if self._claimant.earlier is None:
                await self._admit_unclaimed()

    async def _try_to_claim(self, new: NewClaim) -> ClaimHandle | Held | Busy | None:
        """Begins the claim. Returns None if the store could not be asked, and there may be an earlier one.

        Raises:
            GatewayError: There is no room for it, or nobody could be asked, so that nothing is sent.
        """
        is_named = self.request.is_named
        try:
            got = await self._claimant.begin(self._store, new)
        except StoreFullError:
            raise errors.full(is_named=is_named) from None
        except StoreUnavailableError as error:
            if self._claimant.earlier is not None:
                # What is in doubt stays so, and the store may be back in a moment.
                return None
            if self._account.spare is None:
                raise errors.no_store(is_named=is_named) from error
            self._store = self._account.spare
            self._environment.count("unclaimed", self.request.operation)
            return await self._try_to_claim(new)
        self._looked_up = self._looked_up or not isinstance(got, Busy)
        return got

    async def _admit_unclaimed(self) -> None:
        try:
            await self._sender.admit(self.deadline)
        except GatewayError as error:
            raise errors.unclaimed(error, is_named=self.request.is_named) from None

    async def _let_pass(self, claim: Claim, until: float, others: dict[str, Claimant], *, is_first: bool) -> None:
        """Lets the write that is in the way go first, and resolves it if nobody works on it, once in any case.

        Raises:
            GatewayError: It has been waited for long enough.
        """
        if self.request.is_named and not self._looked_up:
            await self._look_up_earlier()
        if not is_first and self._clock() >= min(until, self.deadline - _LAST_MOMENT):
            self._environment.count("aborted", self.request.operation)
            if self._claimant.earlier is not None:
                raise self._unknown(errors.EARLIER)
            raise errors.in_progress(is_named=self.request.is_named)
        if claim.state is State.IN_DOUBT:
            claimant = others.get(claim.request_id)
            if claimant is None:
                claimant = others[claim.request_id] = Claimant(self._environment, self._account.now)
            await resolution.resolve_abandoned(
                claim, claimant, self._store, self._account, self._environment, self._observation, self.deadline
            )

    async def _look_up_earlier(self) -> None:
        """Finds out whether an earlier call with this id has left something that this one must not deny."""
        asked = self._account.now()
        try:
            claim = await self._store.read(self.request.message.request_id)
        except StoreUnavailableError as error:
            raise errors.no_store(is_named=True) from error
        self._looked_up = True
        if claim is not None and claim.state is State.IN_DOUBT:
            self._claimant.meet(claim, asked)

    async def _hold(self, handle: ClaimHandle) -> None:
        """Goes on with a claim that was begun: to send it, or first to read what earlier attempts have done."""
        earlier = self._claimant.earlier
        self._handle = handle
        if handle.claim.attempts > 1:
            handle.resume(is_bulk=self.request.operation.effect.is_bulk)
            self._doubt_earlier()
            return
        if earlier is not None and earlier.is_abandoned:
            # Nobody has ended the claim that was met, so that the store has lost it: what is known stays known.
            handle.remember(earlier)
            self._doubt_earlier()
            return
        # If there was a claim before, whoever held it has ended it as not made: this is a first attempt after all.
        self._enter(Phase.HELD)
        try:
            await self._sender.admit(self.deadline)
        except GatewayError:
            await handle.release()
            raise
        if self.request.operation.effect.allocates:
            await self._note_before(handle)

    async def _note_before(self, handle: ClaimHandle) -> None:
        """Has the claim remember how shipments stand before anything is sent, if that is wanted or tells most.

        What another write is known to have allocated is read in any case: should the answer be lost, its allocation
        could else be taken for this one's, and this one's for its.
        """
        reads_all = self._account.settings.read_before_write
        references = [name for name in handle.claim.references if reads_all or name in handle.claim.owners]
        if not references:
            return
        readback = ReadBack(self._account, self._store, self.request.operation, self.request.message, handle)
        before: dict[str, str] = {}
        for _ in range(_SOME_TRIES):
            until = min(self.deadline, self._account.times_out_at())
            before |= await readback.marks(references, self._observation, until)
            references = [name for name in references if name not in before]
            if not references or not self._is_awaited:
                break
        if before:
            await handle.renew(effects=self._longest_effect(), kept=handle.noted(before))

    async def _meet(self, held: Held) -> Message | None:
        """Deals with the claim that this id has already: returns its answer, or takes it over if nobody works on it.

        Raises:
            GatewayError: It is the claim of another request; or its answer is an error.
        """
        claim = held.claim
        if claim.fingerprint != self.request.fingerprint:
            self._environment.count("reused", self.request.operation)
            raise errors.reused()
        if claim.state is State.DONE:
            return await self._remembered(claim)
        handle = await self._claimant.take_over(self._store, claim)
        if handle is not None:
            self._handle = handle
            # What was sent is what is asked for, whatever a name stands for by now.
            self.request.message = self.request.operation.request.FromString(handle.claim.request)
            self._environment.count("taken_over", self.request.operation)
            self._doubt_earlier()
        return None

    def _doubt_earlier(self) -> None:
        """Has earlier attempts read back before anything is sent."""
        self._sender.give_back()
        self._is_repeated = True
        self._doubt(errors.EARLIER)

    async def _remembered(self, claim: Claim) -> Message:
        self._environment.count("remembered", self.request.operation)
        return await self._completed(stored_answer.unpack(self.request.operation, claim.answer))

    async def _refused_early(self, error: GatewayError, *, may_wait: bool) -> Message | None:
        """Answers a write that may not be sent now: with what is known of its id, if there is something.

        Args:
            error: Why it may not.
            may_wait: Whether that may be over in a moment, so that what is in doubt is resolved meanwhile: then None.

        Raises:
            GatewayError: Nothing is known, and it is the reason; or it is in doubt.
        """
        if not self.request.is_named:
            raise error
        asked = self._account.now()
        try:
            claim = await self._store.read(self.request.message.request_id)
        except StoreUnavailableError:
            raise errors.unclaimed(error, is_named=True) from None
        self._looked_up = True
        if claim is None or claim.state is State.SETTLED:
            # Another process may have begun it by now.
            raise errors.unclaimed(error, is_named=True)
        if claim.fingerprint != self.request.fingerprint:
            raise errors.reused()
        if claim.state is State.DONE:
            return await self._remembered(claim)
        self._claimant.meet(claim, asked)
        if not may_wait:
            raise self._unknown(error)
        return None

    # HELD and SENDING: the attempts.

    async def _send(self) -> Message | None:
        """Makes an attempt. Returns the answer; None if it is in doubt now, or is to be tried again."""
        handle, request = self._held(), self.request
        self._enter(Phase.SENDING)
        message = request.message if self._readback is None else self._remaining(self._readback)
        reply = await self._sender.send(request, message, handle, self._observation, self.deadline)
        if isinstance(reply.outcome, GatewayError):
            return await self._failed(handle, reply.outcome, reply)
        return await self._answered(handle, reply.outcome)

    async def _answered(self, handle: ClaimHandle, response: Message) -> Message | None:
        """Ends a write with what upstream answered. Returns None if that leaves it in doubt."""
        request, is_bulk = self.request, self.request.operation.effect.is_bulk
        if is_bulk and self._readback is not None:
            response = responses.bulk(request.operation, request.message, self._readback.known, response)
        if responses.is_conclusive(request.operation, response):
            await resolution.record(handle, request.operation, request.message, response)
            return response
        if is_bulk:
            return await self._complete(handle, response)
        self._environment.count("in_doubt", self.request.operation)
        self._doubt(errors.UNCONFIRMED)
        return None

    async def _failed(self, handle: ClaimHandle, error: GatewayError, reply: Reply) -> Message | None:
        """Ends a write whose attempt failed. Returns None if it is in doubt now, or is to be tried again.

        Raises:
            GatewayError: It was not carried out; or it was, and its answer is broken.
        """
        if error.effect is WriteEffect.MADE:
            await resolution.record(handle, self.request.operation, self.request.message, error)
            raise error
        if error.barred and error.effect is WriteEffect.UNKNOWN and not self._was_in_doubt:
            error = await self._read_once(handle, error)
        if error.effect is not WriteEffect.NONE:
            self._environment.count("in_doubt", self.request.operation)
            self._doubt(error)
        elif self._was_in_doubt:
            return await self._refused_again(handle, error, reply)
        elif not await self._may_try_again(handle, error, reply):
            explained = await self._explained(handle, error)
            await handle.release()
            raise explained
        return None

    async def _read_once(self, handle: ClaimHandle, error: GatewayError) -> GatewayError:
        """Reads once what became of a request that was probably not let through.

        Returns:
            The error: with an effect of none if nothing is there, and as it is if something is, or cannot be read.
        """
        readback = self._read_by(handle)
        await readback.read(self._observation, self._account.times_out_at())
        return error.with_effect(WriteEffect.NONE) if readback.shows_nothing and not readback.known else error

    def _remaining(self, readback: ReadBack) -> Any:
        """Returns the request for what is still without effect."""
        message = self.request.message
        if not self.request.operation.effect.is_bulk:
            return message
        remaining = type(message)()
        remaining.CopyFrom(message)
        references = getattr(remaining, references_field(type(message)))
        del references[:]
        references.extend(readback.open())
        return remaining

    async def _may_try_again(self, handle: ClaimHandle, refusal: GatewayError, reply: Reply) -> bool:
        """Waits for another attempt after one that certainly had no effect. Returns whether there may be one."""
        account, attempts = self._account, self._sender.attempts
        if refusal.reason not in TRANSIENT or attempts >= account.settings.max_attempts:
            return False
        pause = account.backoff.seconds(attempts, reply.retry_after)
        if self._clock() + pause >= self.deadline - _LAST_MOMENT or not account.protection.retries.withdraw():
            return False
        self._enter(Phase.HELD)
        await asyncio.sleep(pause)
        return self._is_awaited and await self._admit_again(handle)

    async def _admit_again(self, handle: ClaimHandle, kept: bytes | None = None) -> bool:
        """Gets a permit for one more attempt, and makes sure that the claim is still held. Returns whether it is."""
        try:
            await self._sender.admit(self.deadline)
        except GatewayError:
            return False
        if await handle.renew(effects=self._longest_effect(), attempt=True, kept=kept):
            return True
        self._sender.give_back()
        return False

    async def _refused_again(self, handle: ClaimHandle, refusal: GatewayError, reply: Reply) -> Message | None:
        """Ends a write whose later attempt was refused: an earlier one may be the reason.

        Returns:
            Its answer, or None if the refusal may be over in a moment.

        Raises:
            GatewayError: It was not carried out, or it is not known.
        """
        self._enter(Phase.IN_DOUBT)
        if refusal.reason in TRANSIENT:
            # Upstream may ask for more time than the caller has: the claim is not held for longer than that.
            pause = self._account.backoff.seconds(self._sender.attempts, reply.retry_after)
            await asyncio.sleep(min(pause, max(0.0, self.deadline - self._clock())))
            return None
        request, readback = self.request, self._read_by(handle)
        conclusion = await self._resolve(handle, readback)
        answer = await self._conclude(handle, conclusion)
        if answer is not None:
            return answer
        if readback.shows_nothing:
            if readback.known:
                response: Message = responses.bulk(request.operation, request.message, readback.known, None, refusal)
                await resolution.record(handle, request.operation, request.message, response, is_read=True)
                return response
            await handle.settle()
            raise refusal
        # Nothing could be read of it: that may be over in a moment, too.
        await asyncio.sleep(self._account.backoff.seconds(self._sender.attempts))
        return None

    async def _complete(self, handle: ClaimHandle, response: Message) -> Message:
        """Ends a bulk call whose answer leaves some references open: they are read once.

        What it leaves open after that is for the caller to read. If it says nothing of any of them, its claim stays in
        doubt, so that a repeat reads them again.
        """
        request = self.request
        unsaid = responses.unsaid(response)
        says_nothing = len(unsaid) == len(request.operation.references(request.message))
        readback = self._read_by(handle)
        readback.limit(unsaid)
        await readback.read(self._observation, self._account.times_out_at())
        response = responses.bulk(request.operation, request.message, readback.known, response)
        if says_nothing and not responses.is_conclusive(request.operation, response):
            self._environment.count("in_doubt", request.operation)
            self._doubt(errors.UNCONFIRMED)
            await handle.leave()
        else:
            await resolution.record(handle, request.operation, request.message, response)
        return response

    async def _explained(self, handle: ClaimHandle, refusal: GatewayError) -> GatewayError:
        """Returns a refusal for the shipment's state with the allocation that is there, if it can be read in time."""
        is_state = refusal.reason == ErrorReason.ERROR_REASON_INVALID_STATE
        if not is_state or self.request.operation.effect is not Effect.ALLOCATE or not self._is_awaited:
            return refusal
        readback = self._read_by(handle)
        until = min(self.deadline, self._account.times_out_at())
        found = await readback.seen(self._observation, until)
        return refusal if found is None else refusal.with_allocation(found)

    # IN_DOUBT: what became of it.

    def _doubt(self, cause: GatewayError) -> None:
        self._was_in_doubt = True
        self._cause = cause
        self._enter(Phase.IN_DOUBT)

    def _read_by(self, handle: ClaimHandle) -> ReadBack:
        if self._readback is None:
            self._readback = ReadBack(self._account, self._store, self.request.operation, self.request.message, handle)
        return self._readback

    async def _resolve(self, handle: ClaimHandle, readback: ReadBack) -> resolution.Conclusion:
        until = self._account.times_out_at()
        request = self.request
        return await resolution.resolve(readback, handle, request.operation, request.message, self._observation, until)

    async def _read_back(self) -> Message | None:
        """Reads until it is known what became of it. Returns the answer; None if it is to be sent again.

        Raises:
            GatewayError: Something else is there, or nothing is known and nobody waits any more.
        """
        handle = self._held()
        readback = self._read_by(handle)
        readings = 0
        while True:
            conclusion = await self._resolve(handle, readback)
            answer = await self._conclude(handle, conclusion)
            if answer is not None:
                return answer
            if isinstance(conclusion, WithoutEffect):
                if not self._may_send_again:
                    self._environment.count("settled", self.request.operation)
                    await handle.settle()
                    raise self._unknown()
                if await self._allow_again(handle, readback):
                    self._enter(Phase.HELD)
                    return None
                # Budget, breaker and store may allow it in a moment, and its callers still wait.
                await asyncio.sleep(self._account.backoff.seconds(_SOME_TRIES))
                continue
            if handle.is_quiet() and not self._is_awaited:
                await handle.leave()
                raise self._unknown()
            readings += 1
            await self._pause(readings, handle.effects_end_at)

    async def _conclude(self, handle: ClaimHandle, conclusion: resolution.Conclusion) -> Message | None:
        """Ends the write if it is known what became of it. Returns the answer; None if it is not known.

        Raises:
            GatewayError: Something else is there.
        """
        request = self.request
        match conclusion:
            case Done(response):
                self._environment.count("reconciled", request.operation)
                answer = await self._completed(response)
                await resolution.record(handle, request.operation, request.message, answer, is_read=True)
                return answer
            case Denied(found):
                await resolution.close_denied(handle)
                raise errors.other(found)
            case Undecided(found):
                self._environment.count("undecided", request.operation)
                raise await resolution.record_undecided(handle, request.operation, found)
        return None

    async def _allow_again(self, handle: ClaimHandle, readback: ReadBack) -> bool:
        """Sees to it that another attempt may be made of what was in doubt. Returns whether it may be made now."""
        # A call may always send once: the budget is for what is sent on top of what is asked for.
        if self._sender.attempts and not self._account.protection.retries.withdraw():
            return False
        kept = None
        if self.request.operation.effect.allocates:
            # Whatever is there from now on has come from this write.
            kept = handle.noted(dict.fromkeys(readback.absent, UNALLOCATED))
        allowed = await self._admit_again(handle, kept)
        if allowed:
            self._environment.count("sent_again", self.request.operation)
        return allowed

    # The end.

    def _abandon(self) -> None:
        """Ends the work of a task that is being cancelled, without waiting for it."""
        handle = self._handle
        if handle is None:
            self._claimant.abandon(self._store, self.request.message.request_id)
        elif self.phase is Phase.SENDING and self._sender.may_have_sent:
            handle.abandon(effects=self._account.settle_time(self.request.operation))
        else:
            handle.abandon(effects=handle.seconds_until_quiet() if self._was_in_doubt else None)

    # Small things.

    def _held(self) -> ClaimHandle:
        if self._handle is None:
            raise AssertionError("what is sent or read back has a claim")
        return self._handle

    @property
    def _is_awaited(self) -> bool:
        return self.callers > 0 and self._clock() < self.deadline - _LAST_MOMENT

    @property
    def _may_send_again(self) -> bool:
        # Nobody would know of a bulk call's second part, unless somebody asks again.
        allowed = self._is_repeated or not self.request.operation.effect.is_bulk
        return allowed and self._is_awaited and not self._environment.is_draining

    def _longest_effect(self) -> float:
        """Returns for how long an attempt that may begin within the lease can take effect, whatever becomes of us."""
        settle = self._account.settle_time(self.request.operation)
        return self._environment.lease + self._account.settings.timeout + settle

    async def _completed(self, response: Message) -> Message:
        """Returns a response that was remembered or read, with the labels that it lacks."""
        exchange = Exchange(Attempt(), self._observation, self.deadline, is_further=True)
        return await self._account.upstream.completed(self.request.message, response, exchange)

    async def _pause(self, times: int, until: float) -> None:
        """Waits a while that grows with the times, but not past a moment that is still to come."""
        pause = max(self._account.backoff.seconds(times), _SHORTEST_WAIT)
        left = until - self._clock()
        await asyncio.sleep(min(pause, left + _SHORTEST_WAIT) if left > 0 else pause)

    def _unknown(self, cause: GatewayError | None = None) -> GatewayError:
        readback, detail = self._readback, None
        if self.request.operation.effect.is_bulk and readback is not None:
            detail = responses.progress(readback.known, readback.open())
        return errors.in_doubt(cause or self._cause, detail)
