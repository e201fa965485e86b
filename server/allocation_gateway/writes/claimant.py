"""Begins the claim of a write, or takes over the one that there is, and keeps in mind what was met on the way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from allocation_gateway.claims.model import Begun, ClaimState, Held, NewClaim, StoreUnavailableError
from allocation_gateway.writes.claim_handle import ClaimHandle, History
from allocation_gateway.writes.clocks import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.claims.model import Busy, Claim, ClaimStore
    from allocation_gateway.writes.environment import Environment, Named


class Earlier(NamedTuple):
    """What is known of earlier attempts of a write, from a claim of its id that was met and is not held.

    Attributes:
        began: When they were claimed.
        effects_end_at: Until when something that was sent for them can take effect, by the event loop's clock.
        is_abandoned: Whether nobody works on them, so that the claim cannot have been ended by whoever made it.
    """

    began: Interval
    effects_end_at: float
    is_abandoned: bool

    def joined(self, later: Earlier) -> Earlier:
        """Returns what is known when the claim is met again. What was known once stays known."""
        return Earlier(
            self.began.joined(later.began),
            max(self.effects_end_at, later.effects_end_at),
            self.is_abandoned or later.is_abandoned,
        )


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

    @property
    def token(self) -> str:
        """The token under which the claim is begun next."""
        return self._beginning

    async def begin(self, store: ClaimStore, new: NewClaim) -> ClaimHandle | Held | Busy:
        """Begins a claim, and asks once more if the store does not answer.

        Args:
            store: Where it is begun.
            new: The claim.

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
                self._environment.background.run(partial(store.release, new.request_id, token), new)
                raise
        # That of the first try was written, although nobody said so.
        is_held = isinstance(got, Held) and got.claim.holder == token and got.claim.state is ClaimState.IN_DOUBT
        if isinstance(got, Begun) or is_held:
            history = self._history(got.claim, asked)
            return ClaimHandle(self._environment, self._now, store, token, named, got.claim, history, asked)
        if isinstance(got, Held) and got.claim.state is ClaimState.IN_DOUBT:
            self.meet(got.claim, asked)
        return got

    def _history(self, claim: Claim, asked: float) -> History:
        """Returns what is known of a write whose claim was begun."""
        answered = self._now()
        began = _began(claim, asked, answered)
        if claim.attempts > 1:
            # It was settled before: nothing that was sent earlier can take effect any more. For a single reference
            # nothing has; of several, some may have had their effect before it was settled.
            has_sent = len(claim.references) > 1
            return History(began, answered, is_first=False, has_sent=has_sent, is_resumed=True)
        if self.earlier is not None and self.earlier.is_abandoned:
            # Nobody has ended the claim that was met, so that the store has lost it: what is known stays known.
            return self._with_earlier(began, answered + claim.effects_end_in)
        # If there was a claim before, whoever held it has ended it as not made: this is a first attempt after all.
        return History(began, answered + claim.effects_end_in)

    def _with_earlier(self, began: Interval, effects_end_at: float) -> History:
        """Returns what is known of a write of which something may have been sent."""
        if self.earlier is not None:
            began = self.earlier.began.joined(began)
            effects_end_at = max(self.earlier.effects_end_at, effects_end_at)
        return History(began, effects_end_at, is_first=False, has_sent=True)

    def meet(self, claim: Claim, asked: float) -> None:
        """Records a claim of the same id that is in doubt.

        Args:
            claim: The claim.
            asked: When the store was asked, by the event loop's clock.
        """
        answered = self._now()
        met = Earlier(_began(claim, asked, answered), answered + claim.effects_end_in, claim.lease_left <= 0)
        self.earlier = met if self.earlier is None else self.earlier.joined(met)

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
        answered = self._now()
        history = self._with_earlier(_began(taken, asked, answered), answered + taken.effects_end_in)
        return ClaimHandle(
            self._environment, self._now, store, self._taking_over, _as_new(taken), taken, history, asked
        )

    def abandon(self, store: ClaimStore, of: Named) -> None:
        """Releases what may have been begun although the store has not said so: nobody waits for it any more."""
        if self._has_begun:
            self._environment.background.run(partial(store.release, of.request_id, self._beginning), of)


def _began(claim: Claim, asked: float, answered: float) -> Interval:
    return Interval(asked - claim.age, answered - claim.age)


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
