"""A claim that this process holds: every step of the store on it, and the moments until which it is good.

A handle is made by one attempt to begin or to take over a claim, under a token that no other attempt has. Its steps
touch the claim only as long as it bears that token, however late the store carries them out. So what cleans up after an
attempt that was not answered can never touch a claim that another attempt holds, not even one of the same write.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from allocation_gateway.claims.model import Begun, Held, NewClaim, State, StoreUnavailableError
from allocation_gateway.writes import note
from allocation_gateway.writes.moments import Span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from allocation_gateway.claims.model import Busy, Claim, ClaimStore
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.writes.environment import Environment


class Earlier:
    """What is known of earlier attempts of a write, from a claim of its id that was met and is not held.

    Attributes:
        began: When they were claimed.
        effects_end_at: Until when something that was sent for them can take effect, by the event loop's clock.
        is_abandoned: Whether nobody works on them, so that the claim cannot have been ended by whoever made it.
    """

    __slots__ = ("began", "effects_end_at", "is_abandoned")

    def __init__(self, claim: Claim, asked: float, answered: float) -> None:
        self.began = _began(claim, asked, answered)
        self.effects_end_at = answered + claim.quiet_in
        self.is_abandoned = claim.lease_left <= 0

    def joined(self, later: Earlier) -> Earlier:
        """Returns what is known when the claim is met again. What was known once stays known."""
        later.began = self.began.joined(later.began)
        later.effects_end_at = max(self.effects_end_at, later.effects_end_at)
        later.is_abandoned = later.is_abandoned or self.is_abandoned
        return later


class ClaimHandle:
    """A claim that is held.

    Attributes:
        claim: The claim as it was when it became the holder's.
        new: The claim as it would be begun, to be recorded if the store has lost it.
        began: When the write was claimed, by the event loop's clock.
        send_by: Until when sending may begin under it, by the same clock.
        effects_end_at: Until when something that was sent under it can take effect, by the same clock.
        has_sent: Whether anything was sent that can have had an effect.
        is_resumed: Whether it was settled before it was begun: others may have written to its references since.
    """

    __slots__ = (
        "_environment",
        "_is_over",
        "_now",
        "_store",
        "_token",
        "began",
        "claim",
        "effects_end_at",
        "has_sent",
        "is_resumed",
        "new",
        "send_by",
    )

    def __init__(
        self,
        environment: Environment,
        now: Callable[[], float],
        store: ClaimStore,
        token: str,
        new: NewClaim,
        claim: Claim,
        asked: float,
    ) -> None:
        """Takes the claim as a step of the store has just given it.

        Args:
            environment: What all writes share.
            now: The event loop's clock, read anew.
            store: Where it is.
            token: The name of its holder.
            new: The claim as it would be begun.
            claim: The claim.
            asked: When the store was asked, by the event loop's clock.
        """
        answered = now()
        self._is_over = False
        self._environment = environment
        self._now = now
        self._store = store
        self._token = token
        self.new = new
        self.claim = claim
        self.began = _began(claim, asked, answered)
        self.send_by = asked + environment.lease
        self.effects_end_at = answered + claim.quiet_in
        self.has_sent = False
        self.is_resumed = False

    def resume(self, *, is_bulk: bool) -> None:
        """Takes note that it was settled before: nothing that was sent earlier can take effect any more.

        Of a single write nothing has; of a bulk call, a part may have had its effect before it was settled.
        """
        self.is_resumed = True
        self.effects_end_at = self._now()
        self.has_sent = is_bulk

    def remember(self, earlier: Earlier) -> None:
        """Takes over what is known of earlier attempts: the store may have lost it, or the claim may be a later one."""
        self.began = self.began.joined(earlier.began)
        self.effects_end_at = max(self.effects_end_at, earlier.effects_end_at)
        self.has_sent = True

    def noted(self, before: Mapping[str, str]) -> bytes:
        """Returns its note with how references stand before something is sent, instead of how they stood earlier."""
        remembered = note.decode(self.new.note)
        return note.encode(note.Note(remembered.terms, {**remembered.before, **before}))

    def sent(self, seconds: float) -> None:
        """Takes note that an attempt has ended which may still take effect for so many seconds."""
        self.has_sent = True
        self.effects_end_at = self._now() + seconds

    def is_quiet(self) -> bool:
        """Tells whether nothing that was sent under it can take effect any more."""
        return self._now() >= self.effects_end_at

    def seconds_until_quiet(self) -> float:
        """Returns for how many seconds something that was sent under it can still take effect."""
        return max(self.effects_end_at - self._now(), 0.0)

    def owns_all(self) -> bool:
        """Tells whether it is known of each of its references which request allocated it last."""
        return all(name in self.claim.owners for name in self.claim.references)

    async def renew(self, *, effects: float | None, attempt: bool = False, kept: bytes | None = None) -> bool:
        """Goes on holding the claim. Returns whether it is still held; False too if the store cannot be asked.

        Args:
            effects: Seconds from now until nothing sent under it can take effect, if something may be sent until the
                lease runs out; None if nothing is to be sent, and that moment stays as it is.
            attempt: Whether it is about to be sent once more.
            kept: The note that is to be remembered from now on; None leaves it as it is.
        """
        if self._is_over:
            return False
        if kept is not None:
            self.new = msgspec.structs.replace(self.new, note=kept)
        body = None if kept is None else self.new
        lease = self._environment.lease
        asked = self._now()
        try:
            held = await self._store.renew(
                self.claim.request_id, self._token, lease, quiet=effects, attempt=attempt, body=body
            )
        except StoreUnavailableError:
            return False
        if held and effects is not None:
            self.send_by = asked + lease
        return held

    async def finish(
        self,
        answer: bytes,
        *,
        allocated: Sequence[str],
        deallocated: Sequence[str],
        keep_locks: float,
        operation: Operation,
    ) -> None:
        """Records the answer. That it cannot be recorded at once is no reason to keep it from its callers."""
        self._is_over = True
        record = partial(
            self._store.finish,
            self.claim.request_id,
            self._token,
            answer,
            fallback=self.new,
            allocated=allocated,
            deallocated=deallocated,
            keep_locks=keep_locks,
        )
        try:
            await record()
        except StoreUnavailableError:
            try:
                # Most often one connection was lost, and there are others.
                await record()
            except StoreUnavailableError:
                self._environment.count("record_failed", operation)
                self._environment.afterwork.record(record, self.claim.request_id)

    async def release(self) -> None:
        """Ends it, since nothing was done under it."""
        await self._end(partial(self._store.release, self.claim.request_id, self._token))

    async def settle(self) -> None:
        """Ends it as settled: what was sent under it has no effect, and can have none any more."""
        await self._end(self._settle)

    async def _settle(self) -> None:
        # The store knows only until when an attempt could have lasted, not when it ended.
        request_id = self.claim.request_id
        if await self._store.renew(request_id, self._token, self._environment.lease, quiet=0.0):
            await self._store.settle(request_id, self._token)

    async def leave(self) -> None:
        """Leaves it in doubt, for the next caller to resolve."""
        quiet = self.seconds_until_quiet()
        await self._end(partial(self._store.lay_down, self.claim.request_id, self._token, quiet=quiet))

    def abandon(self, *, effects: float | None) -> None:
        """Ends it without waiting for the store: the task that held it is being cancelled.

        Args:
            effects: Seconds from now until nothing sent under it can take effect; None if nothing was sent.
        """
        self._is_over = True
        request_id = self.claim.request_id
        step: Callable[[], Awaitable[Any]] = partial(self._store.release, request_id, self._token)
        if effects is not None:
            step = partial(self._store.lay_down, request_id, self._token, quiet=effects)
        self._environment.afterwork.tell(step, request_id)

    async def _end(self, step: Callable[[], Awaitable[Any]]) -> None:
        self._is_over = True
        try:
            await step()
        except StoreUnavailableError:
            # However late it is carried out, it touches no other attempt's claim. If it never is, the lease runs out,
            # and then the claim is for the next caller to resolve.
            self._environment.afterwork.tell_again(step, self.claim.request_id)


class Claimant:
    """Begins the claim of one write, or takes over the one that there is.

    Attributes:
        earlier: What is known of earlier attempts with the same id; None if nothing is.
    """

    __slots__ = ("_beginning", "_environment", "_has_begun", "_now", "_taking_over", "earlier")

    def __init__(self, environment: Environment, now: Callable[[], float]) -> None:
        """Holds nothing yet.

        Args:
            environment: What all writes share.
            now: The event loop's clock, read anew.
        """
        self._environment = environment
        self._now = now
        self._beginning = environment.token()
        self._has_begun = False
        # Once a claim was to be taken over, it may be ours although nobody said so.
        self._taking_over = ""
        self.earlier: Earlier | None = None

    async def begin(self, store: ClaimStore, new: NewClaim) -> ClaimHandle | Held | Busy:
        """Begins a claim, and asks once more if the store does not answer.

        Raises:
            StoreFullError: There is no room for it.
            StoreUnavailableError: Nobody could be asked. It may have been begun: it is released in the background.
        """
        token = self._beginning
        self._has_begun = True
        asked = self._now()
        named = msgspec.structs.replace(new, holder=token) if new.holder != token else new
        try:
            got = await store.begin(named)
        except StoreUnavailableError:
            try:
                got = await store.begin(named)
            except StoreUnavailableError:
                # Nothing may be sent under this token any more: its release may be carried out at any time.
                self._beginning = self._environment.token()
                self._environment.afterwork.tell(partial(store.release, new.request_id, token), new.request_id)
                raise
        # That of the first try was written, although nobody said so.
        is_held = isinstance(got, Held) and got.claim.holder == token and got.claim.state is State.IN_DOUBT
        if isinstance(got, Begun) or is_held:
            return ClaimHandle(self._environment, self._now, store, token, named, got.claim, asked)
        if isinstance(got, Held) and got.claim.state is State.IN_DOUBT:
            self.meet(got.claim, asked)
        return got

    def abandon(self, store: ClaimStore, request_id: str) -> None:
        """Releases what may have been begun although the store has not said so: nobody waits for it any more."""
        if self._has_begun:
            self._environment.afterwork.tell(partial(store.release, request_id, self._beginning), request_id)

    @property
    def token(self) -> str:
        """The token under which the claim is begun next."""
        return self._beginning

    def meet(self, claim: Claim, asked: float) -> None:
        """Takes note of a claim of the same id that is in doubt.

        Args:
            claim: The claim.
            asked: When the store was asked, by the event loop's clock.
        """
        earlier = Earlier(claim, asked, self._now())
        self.earlier = earlier if self.earlier is None else self.earlier.joined(earlier)

    async def take_over(self, store: ClaimStore, claim: Claim) -> ClaimHandle | None:
        """Takes over a claim that nobody works on. Returns None if somebody does, or the store cannot be asked."""
        if claim.lease_left > 0 and claim.holder != self._taking_over:
            return None
        # One token for all tries: one that was carried out unanswered is met by the next.
        self._taking_over = self._taking_over or self._environment.token()
        asked = self._now()
        try:
            taken = await store.take_over(claim.request_id, self._taking_over, self._environment.lease)
        except StoreUnavailableError:
            return None
        if taken is None:
            return None
        handle = ClaimHandle(self._environment, self._now, store, self._taking_over, _as_new(taken), taken, asked)
        handle.has_sent = True
        if self.earlier is not None:
            handle.remember(self.earlier)
        return handle


def _began(claim: Claim, asked: float, answered: float) -> Span:
    return Span(asked - claim.age, answered - claim.age)


def _as_new(claim: Claim) -> NewClaim:
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
