"""What a claim is, and what a store of claims does.

A claim says that somebody is about to make a write, or has made it. There is one for each request id. While it is in
doubt it is also the lock on each shipment or consignment that it names, so that one write at a time is made to each.

Times go into a store and come out of it as seconds from now, by the store's own clock: the clocks of the processes that
use it may differ.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ClaimState(enum.Enum):
    """What is known of a write."""

    IN_DOUBT = "in_doubt"
    """It may have been sent, or may be sent now. Such a claim never ends by itself."""
    DONE = "done"
    """It has taken effect, and its answer is known."""
    SETTLED = "settled"
    """It had no effect, and can have none any more. It may be taken up again."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A claim as it was at one moment.

    Attributes:
        request_id: The id of the request, which is that of the claim.
        operation: The full name of the rpc.
        fingerprint: Tells whether another request with the same id asks for the same.
        request: The request message as it was sent.
        note: What the one who began it wants to remember.
        references: The names of the shipments or consignments that it locks, each once and the same in any spelling.
        state: What is known of the write.
        holder: A token of the one who works on it, or did so last.
        attempts: How often it may have been sent.
        age: Seconds since it was begun for the first time.
        lease_left: Seconds for which its holder works on it. Nobody does if they are not positive.
        effects_end_in: Seconds until nothing sent for it can still take effect. That time has passed if they are not
            positive.
        answer: The answer if it is done, else nothing.
        owners: The request id of the last allocation known of each of its references, when it was begun last. A
            reference without one is missing.
    """

    request_id: str
    operation: str
    fingerprint: str
    request: bytes
    note: bytes
    references: tuple[str, ...]
    state: ClaimState
    holder: str
    attempts: int
    age: float
    lease_left: float
    effects_end_in: float
    answer: bytes
    owners: Mapping[str, str]


class NewClaim(msgspec.Struct, frozen=True, gc=False):
    """A claim to be made. See Claim for what else its attributes mean.

    Attributes:
        lease: Seconds for which the holder works on it.
        effects: Seconds until nothing sent for it can still take effect.
    """

    request_id: str
    operation: str
    fingerprint: str
    request: bytes
    note: bytes
    references: tuple[str, ...]
    holder: str
    lease: float
    effects: float


class Begun(msgspec.Struct, frozen=True, gc=False):
    """The claim is the caller's now, in doubt. It is taken up again if it has more than one attempt."""

    claim: Claim


class Held(msgspec.Struct, frozen=True, gc=False):
    """There is a claim with this id already: in doubt, done, or settled for another request."""

    claim: Claim


class Busy(msgspec.Struct, frozen=True, gc=False):
    """Another claim locks one of the references: this one."""

    claim: Claim


class StoreUnavailableError(Exception):
    """The store could not be asked, or did not answer in time. The step may or may not have been carried out."""


class StoreFullError(Exception):
    """There is no room for another claim, and all that there are have to be kept."""


class ClaimStore(Protocol):
    """The claims of one API of one account.

    Each step is carried out as a whole or not at all, and raises StoreUnavailableError if that cannot be known.
    """

    def at(self, references: Sequence[str]) -> ClaimStore:
        """Returns where the claims are of writes to exactly these references: steps on them are asked for there.

        What is known of the last allocation of a reference can be read at that reference alone.
        """

    async def begin(self, new: NewClaim) -> Begun | Held | Busy:
        """Makes a claim and takes all its locks, or none.

        A claim that is settled is taken up again for the same request: with its age, and one more attempt.

        Raises:
            StoreFullError: There is no room for it.
        """

    async def take_over(self, request_id: str, holder: str, lease: float) -> Claim | None:
        """Makes a claim the caller's if it is in doubt and its lease has run out, or it is the caller's already.

        Returns:
            The claim, or None if it is not the caller's now.
        """

    async def renew(
        self,
        request_id: str,
        holder: str,
        lease: float,
        *,
        effects: float | None = None,
        attempt: bool = False,
        body: NewClaim | None = None,
    ) -> bool:
        """Extends the lease of a claim that is in doubt and the caller's.

        Args:
            request_id: The id of the claim.
            holder: The token of the caller.
            lease: Seconds from now for which the caller works on it.
            effects: Seconds from now until nothing sent for it can still take effect; None leaves that time as it is.
            attempt: Whether it is about to be sent once more.
            body: What is to be kept of operation, request and note from now on; None leaves that as it is.

        Returns:
            Whether the claim is still in doubt and the caller's.
        """

    async def finish(
        self,
        request_id: str,
        holder: str,
        answer: bytes,
        *,
        fallback: NewClaim,
        allocated: Sequence[str],
        deallocated: Sequence[str],
        keep_locks: float = 0.0,
    ) -> None:
        """Records that a write has taken effect, whoever holds its claim by now, and also if it is settled or gone.

        A claim that is done already stays as it is, and so does one that somebody else has begun with the same id for
        another request. No lock is taken from another claim.

        Args:
            request_id: The id of the claim.
            holder: The token of the caller.
            answer: The answer.
            fallback: The claim to be recorded if it is gone.
            allocated: The references whose last known allocation is now this one.
            deallocated: The references of which no allocation is known any more.
            keep_locks: Seconds for which the references stay locked.
        """

    async def release(self, request_id: str, holder: str) -> None:
        """Takes back what `begin` did: the write was certainly not made since then.

        A claim that is in doubt and the caller's is forgotten with its locks. If it was settled before it was begun, it
        is so again.
        """

    async def settle(self, request_id: str, holder: str) -> bool:
        """Settles a claim in doubt that is the caller's and whose effects are over, and frees its locks.

        Returns:
            Whether it was settled.
        """

    async def leave_in_doubt(self, request_id: str, holder: str, *, effects: float) -> None:
        """Ends the caller's lease of a claim that is in doubt, so that somebody else may take it over.

        Args:
            request_id: The id of the claim.
            holder: The token of the caller.
            effects: Seconds from now until nothing sent for it can still take effect.
        """

    async def read(self, request_id: str) -> Claim | None:
        """Returns a claim; None if there is none."""

    async def close(self) -> None:
        """Ends the use of the store."""


class Steps(Protocol):
    """Carries out steps where their keys are."""

    async def run(self, step: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Carries out a step.

        Raises:
            StoreUnavailableError: It may or may not have been carried out.
        """

    async def close(self) -> None:
        """Closes all connections."""
