"""The claims of exactly one process, in its memory.

It costs little: every step looks up what it needs by name. What has run out is found at the front of what is kept in
the order in which it runs out, which is that in which it was put there.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from allocation_gateway.claims.model import Begun, Busy, Claim, ClaimState, Held, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from allocation_gateway.claims.model import NewClaim

_NO_OWNERS: Final[Mapping[str, str]] = MappingProxyType({})
# What is forgotten at each step, at most: more than a step can add, so that nothing is left over for long.
_SWEEP: Final = 4
# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_IN_DOUBT: Final = ClaimState.IN_DOUBT
_DONE: Final = ClaimState.DONE
_SETTLED: Final = ClaimState.SETTLED


class _Record(msgspec.Struct, gc=False):
    """A claim as it is kept: with moments of the store's clock instead of seconds from now."""

    request_id: str
    operation: str
    fingerprint: str
    request: bytes
    note: bytes
    references: tuple[str, ...]
    state: ClaimState
    holder: str
    attempts: int
    begun_at: float
    lease_until: float
    effects_end_at: float
    answer: bytes
    owners: Mapping[str, str]
    locks_until: float = 0.0
    forgotten_at: float = 0.0
    is_resumed: bool = False

    def shown(self, now: float) -> Claim:
        return Claim(
            self.request_id,
            self.operation,
            self.fingerprint,
            self.request,
            self.note,
            self.references,
            self.state,
            self.holder,
            self.attempts,
            now - self.begun_at,
            self.lease_until - now,
            self.effects_end_at - now,
            self.answer,
            self.owners,
        )


class _Owner(msgspec.Struct, gc=False):
    """The last allocation known of a shipment or consignment."""

    request_id: str
    forgotten_at: float


class MemoryClaims:
    """A store in the memory of one process, bounded by count. See ClaimStore for its steps.

    When it is full, the claim that was done or settled first makes room. One in doubt never does, nor one whose locks
    are kept. The last allocations known are bounded by the same count.
    """

    def __init__(self, *, size: int, retention: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts empty.

        Args:
            size: How many claims there may be.
            retention: Seconds for which claims that are done or settled, and the last allocations, are kept.
            clock: Tells the time in seconds.
        """
        self._size = size
        self._retention = retention
        self._clock = clock
        self._claims: dict[str, _Record] = {}
        # Those of the claims that may be forgotten, in the order in which they will be. A dict would search for its
        # first entry past all that were deleted before it.
        self._resolved: OrderedDict[str, _Record] = OrderedDict()
        self._locks: dict[str, _Record] = {}
        self._owners: OrderedDict[str, _Owner] = OrderedDict()
        # Before this moment nothing runs out: neither what there is, nor what is put there from now on.
        self._sweep_at = 0.0

    def at(self, references: Sequence[str]) -> MemoryClaims:
        """Returns itself: all claims are in one place."""
        del references
        return self

    async def begin(self, new: NewClaim) -> Begun | Held | Busy:
        """Makes a claim and takes all its locks, or none."""
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep(now)
        record = self._find(new.request_id, now)
        if record is not None and (record.state is not _SETTLED or record.fingerprint != new.fingerprint):
            return Held(record.shown(now))
        references = _once(new.references)
        for reference in references:
            lock = self._lock(reference, now)
            if lock is not None:
                return Busy(lock.shown(now))
        begun_at, attempts = now, 1
        if record is None:
            self._make_room(now)
        else:
            begun_at, attempts = record.begun_at, record.attempts + 1
            self._forget(record)
        record = self._record(new, references, now, attempts)
        record.begun_at = begun_at
        record.is_resumed = attempts > 1
        self._claims[record.request_id] = record
        for reference in references:
            self._locks[reference] = record
        return Begun(record.shown(now))

    async def take_over(self, request_id: str, holder: str, lease: float) -> Claim | None:
        """Makes a claim the caller's if it is in doubt and its lease has run out, or it is the caller's already."""
        now = self._clock()
        record = self._claims.get(request_id)
        if record is None or record.state is not _IN_DOUBT:
            return None
        if record.holder != holder and record.lease_until > now:
            return None
        record.holder = holder
        record.lease_until = now + lease
        return record.shown(now)

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
        """Extends the lease of a claim that is in doubt and the caller's."""
        record = self._mine(request_id, holder)
        if record is None:
            return False
        now = self._clock()
        record.lease_until = now + lease
        if effects is not None:
            record.effects_end_at = now + effects
        if attempt:
            record.attempts += 1
        if body is not None:
            record.operation, record.request, record.note = body.operation, body.request, body.note
        return True

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
        """Records that a write has taken effect, whoever holds its claim by now, and also if it is settled or gone."""
        now = self._clock()
        record = self._find(request_id, now)
        if record is None:
            record = self._record(fallback, _once(fallback.references), now, 1)
            self._claims[request_id] = record
        elif record.state is _DONE:
            return
        elif record.holder != holder and record.fingerprint != fallback.fingerprint:
            self._own(request_id, allocated, deallocated, now)
            return
        record.answer = answer
        self._resolve(record, _DONE, now, keep_locks)
        self._own(request_id, allocated, deallocated, now)

    async def release(self, request_id: str, holder: str) -> None:
        """Takes back what `begin` did."""
        record = self._mine(request_id, holder)
        if record is None:
            return
        if record.is_resumed:
            record.attempts -= 1
            self._resolve(record, _SETTLED, self._clock())
        else:
            self._forget(record)

    async def settle(self, request_id: str, holder: str) -> bool:
        """Settles a claim in doubt that is the caller's and whose effects are over, and frees its locks."""
        now = self._clock()
        record = self._mine(request_id, holder)
        if record is None or record.effects_end_at > now:
            return False
        self._resolve(record, _SETTLED, now)
        return True

    async def leave_in_doubt(self, request_id: str, holder: str, *, effects: float) -> None:
        """Ends the caller's lease of a claim that is in doubt."""
        record = self._mine(request_id, holder)
        if record is not None:
            now = self._clock()
            record.lease_until = now
            record.effects_end_at = now + effects

    async def read(self, request_id: str) -> Claim | None:
        """Returns a claim; None if there is none."""
        now = self._clock()
        record = self._find(request_id, now)
        return None if record is None else record.shown(now)

    async def close(self) -> None:
        """Does nothing: the claims end with the process."""

    def _record(self, new: NewClaim, references: tuple[str, ...], now: float, attempts: int) -> _Record:
        return _Record(
            new.request_id,
            new.operation,
            new.fingerprint,
            new.request,
            new.note,
            references,
            _IN_DOUBT,
            new.holder,
            attempts,
            now,
            now + new.lease,
            now + new.effects,
            b"",
            self._known_owners(references, now),
        )

    def _find(self, request_id: str, now: float) -> _Record | None:
        record = self._claims.get(request_id)
        if record is not None and record.state is not _IN_DOUBT and record.forgotten_at <= now:
            self._forget(record)
            return None
        return record

    def _mine(self, request_id: str, holder: str) -> _Record | None:
        record = self._claims.get(request_id)
        return record if record is not None and record.state is _IN_DOUBT and record.holder == holder else None

    def _lock(self, reference: str, now: float) -> _Record | None:
        """Returns the claim that locks a reference."""
        record = self._locks.get(reference)
        if record is None or record.state is _IN_DOUBT or record.locks_until > now:
            return record
        return None

    def _known_owners(self, references: tuple[str, ...], now: float) -> Mapping[str, str]:
        known = self._owners
        found = {}
        for reference in references:
            owner = known.get(reference)
            if owner is not None and owner.forgotten_at > now:
                found[reference] = owner.request_id
        return found or _NO_OWNERS

    def _own(self, request_id: str, allocated: Sequence[str], deallocated: Sequence[str], now: float) -> None:
        owners = self._owners
        for reference in allocated:
            owners.pop(reference, None)  # so that it goes to the end
            owners[reference] = _Owner(request_id, now + self._retention)
        for reference in deallocated:
            owners.pop(reference, None)
        while len(owners) > self._size:
            owners.popitem(last=False)

    def _resolve(self, record: _Record, state: ClaimState, now: float, keep_locks: float = 0.0) -> None:
        if keep_locks > 0:
            for reference in record.references:
                if (locker := self._lock(reference, now)) is None:
                    self._locks[reference] = locker = record
                if locker is record:
                    record.locks_until = now + min(keep_locks, self._retention)
        else:
            self._unlock(record)
        # Settled before, it has a place among the resolved ones: it goes to the end.
        self._resolved.pop(record.request_id, None)
        record.state = state
        record.forgotten_at = now + self._retention
        self._resolved[record.request_id] = record

    def _unlock(self, record: _Record) -> None:
        for reference in record.references:
            if self._locks.get(reference) is record:
                del self._locks[reference]

    def _forget(self, record: _Record) -> None:
        del self._claims[record.request_id]
        self._resolved.pop(record.request_id, None)
        self._unlock(record)

    def _make_room(self, now: float) -> None:
        while len(self._claims) >= self._size:
            # Locks are kept for a minute or so, so that this is the first one unless all turn over faster than that.
            for record in self._resolved.values():
                if record.locks_until <= now:
                    break
            else:
                raise StoreFullError(f"all of {self._size} claims are in doubt, or their locks are kept")
            self._forget(record)

    def _sweep(self, now: float) -> None:
        """Forgets what has run out, a little at a time, and notes when there may be more of it."""
        due_at = now + self._retention
        for _ in range(_SWEEP):
            oldest = next(iter(self._resolved.values()), None)
            if oldest is None or oldest.forgotten_at > now:
                due_at = due_at if oldest is None else min(due_at, oldest.forgotten_at)
                break
            self._forget(oldest)
        else:
            due_at = now
        for _ in range(_SWEEP):
            reference, owner = next(iter(self._owners.items()), ("", None))
            if owner is None or owner.forgotten_at > now:
                due_at = due_at if owner is None else min(due_at, owner.forgotten_at)
                break
            del self._owners[reference]
        else:
            due_at = now
        self._sweep_at = due_at


def _once(references: tuple[str, ...]) -> tuple[str, ...]:
    return references if len(references) == 1 else tuple(dict.fromkeys(references))
