"""A claim that this process holds: every step of the store on it, and the moments until which it is good.

A handle is made by one attempt to begin or to take over a claim, under a token that no other attempt has. Its steps
touch the claim only as long as it bears that token, however late the store carries them out. So what cleans up after an
attempt that was not answered can never touch a claim that another attempt holds, not even one of the same write.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from allocation_gateway.claims.model import StoreUnavailableError
from allocation_gateway.references import folded
from allocation_gateway.writes import note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from allocation_gateway.claims.model import Claim, ClaimStore, NewClaim
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.writes.clocks import Interval
    from allocation_gateway.writes.environment import Environment


class History(msgspec.Struct, frozen=True):
    """What is known of a write when its claim becomes its holder's.

    Attributes:
        began: When the write was claimed, by the event loop's clock.
        effects_end_at: Until when something that was sent for it can take effect, by the same clock.
        is_first: Whether nothing was sent for it before, so that there is nothing to be read back.
        has_sent: Whether anything was sent that can have had an effect.
        is_resumed: Whether it was settled before it was begun: others may have written to its references since.
    """

    began: Interval
    effects_end_at: float
    is_first: bool = True
    has_sent: bool = False
    is_resumed: bool = False


class ClaimHandle:
    """A claim that is held.

    Attributes:
        claim: The claim as it was when it became the holder's.
        new: The claim as it would be begun, to be recorded if the store has lost it.
        began: When the write was claimed, by the event loop's clock.
        send_by: Until when sending may begin under it, by the same clock.
        effects_end_at: Until when something that was sent under it can take effect, by the same clock.
        is_first: Whether nothing was sent for the write before this claim became the holder's.
        has_sent: Whether anything was sent that can have had an effect.
        is_resumed: Whether it was settled before it was begun: others may have written to its references since.
    """

    __slots__ = (
        "_environment",
        "_is_over",
        "_now",
        "_owners",
        "_store",
        "_token",
        "began",
        "claim",
        "effects_end_at",
        "has_sent",
        "is_first",
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
        history: History,
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
            history: What is known of the write.
            asked: When the store was asked, by the event loop's clock.
        """
        self._is_over = False
        self._environment = environment
        self._now = now
        self._store = store
        self._token = token
        self.new = new
        self.claim = claim
        self._owners = {folded(name): owner for name, owner in claim.owners.items()} if claim.owners else {}
        self.began = history.began
        self.effects_end_at = history.effects_end_at
        self.is_first = history.is_first
        self.has_sent = history.has_sent
        self.is_resumed = history.is_resumed
        self.send_by = asked + environment.lease

    def note_with(self, before: Mapping[str, str], trace: str) -> bytes:
        """Returns its note with how references stand before something is sent, instead of how they stood earlier.

        Args:
            before: How they stand.
            trace: What names the span of the call that is about to send it; empty if there is none.
        """
        remembered = note.decode(self.new.note)
        return note.encode(note.Note(remembered.terms, {**remembered.before, **before}, trace or remembered.trace))

    def attempt_ended(self, *, effects: float) -> None:
        """Records that an attempt has ended which may still take effect for so many seconds."""
        self.has_sent = True
        self.effects_end_at = self._now() + effects

    def effects_are_over(self) -> bool:
        """Tells whether nothing that was sent under it can take effect any more."""
        return self._now() >= self.effects_end_at

    def seconds_until_effects_end(self) -> float:
        """Returns for how many seconds something that was sent under it can still take effect."""
        return max(self.effects_end_at - self._now(), 0.0)

    def owns_all(self) -> bool:
        """Tells whether it is known of each of its references which request allocated it last."""
        return all(name in self.claim.owners for name in self.claim.references)

    def owner_of(self, reference: str) -> str:
        """Returns the request id of the last allocation known of a reference, in any spelling; empty if none is."""
        return self._owners.get(folded(reference), "") if self._owners else ""

    def locks_of(self, references: Collection[str]) -> list[str]:
        """Returns the names by which the claim locks references, in any spelling. Releases may differ in these."""
        locked = self.claim.references
        if set(locked).issuperset(references):
            return list(references)  # nearly always: they are spelled alike
        names = {folded(name): name for name in locked}
        return [names.get(folded(reference), reference) for reference in references]

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
                self.claim.request_id, self._token, lease, effects=effects, attempt=attempt, body=body
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
        self._close()
        record = partial(
            self._store.finish,
            self.claim.request_id,
            self._token,
            answer,
            fallback=self.new,
            allocated=self.locks_of(allocated),
            deallocated=self.locks_of(deallocated),
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
                self._environment.background.record(record, self.claim)

    async def release(self) -> None:
        """Ends it, since nothing was done under it."""
        await self._end(partial(self._store.release, self.claim.request_id, self._token))

    async def settle(self) -> None:
        """Ends it as settled: what was sent under it has no effect, and can have none any more."""
        await self._end(self._settle)

    async def _settle(self) -> None:
        # The store knows only until when an attempt could have lasted, not when it ended.
        request_id = self.claim.request_id
        if await self._store.renew(request_id, self._token, self._environment.lease, effects=0.0):
            await self._store.settle(request_id, self._token)

    async def leave_in_doubt(self) -> None:
        """Leaves it in doubt, for the next caller to resolve."""
        effects = self.seconds_until_effects_end()
        await self._end(partial(self._store.leave_in_doubt, self.claim.request_id, self._token, effects=effects))

    def abandon(self, *, effects: float | None) -> None:
        """Ends it without waiting for the store: the task that held it is being cancelled.

        Args:
            effects: Seconds from now until nothing sent under it can take effect; None if nothing was sent.
        """
        self._close()
        request_id = self.claim.request_id
        step: Callable[[], Awaitable[Any]] = partial(self._store.release, request_id, self._token)
        if effects is not None:
            step = partial(self._store.leave_in_doubt, request_id, self._token, effects=effects)
        self._environment.background.run(step, self.claim)

    async def _end(self, step: Callable[[], Awaitable[Any]]) -> None:
        self._close()
        try:
            await step()
        except StoreUnavailableError:
            # However late it is carried out, it touches no other attempt's claim. If it never is, the lease runs out,
            # and then the claim is for the next caller to resolve.
            self._environment.background.retry(step, self.claim)

    def _close(self) -> None:
        # It is renewed no more: what ends it may be carried out at any time.
        self._is_over = True
