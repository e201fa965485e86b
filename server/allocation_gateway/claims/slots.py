"""The claims of all processes that use one cluster. The steps themselves are in slots.lua.

The keys of a reference are in one slot: its lock, its last owner, and the claims that are at home with it. A claim of
one reference is at home there, so that each of its steps is one step of one server. One of several is at home with the
first of them in the order of their slots, and takes the locks of the others in that order:

1. It is begun at home, and is not held yet.
2. Each other lock is taken. If another claim holds one, all are given back.
3. It is confirmed at home. From then on it is held, and may be sent.

What decides is the claim alone, at its home: a lock of a claim that is over, gone, or of another attempt than the one
that was confirmed, is none, and whoever meets it takes it away. So it makes no difference when a lock is given back, or
that of a process which has died. A claim that was not confirmed within its lease is ended by whoever meets it, and is
confirmed never more.

Where a claim of an id is at home is known in a slot of its own, so that an id which is used for something else is found
out.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final

from redis.crc import key_slot

from allocation_gateway import tasks
from allocation_gateway.claims.locks import Lock, Mark, read_lock, read_mark, read_owner
from allocation_gateway.claims.model import Begun, Busy, Claim, ClaimState, Held, StoreUnavailableError
from allocation_gateway.claims.records import form_of, micro, pack, parts, shown
from allocation_gateway.claims.scripted import ScriptedClaims

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence

    from allocation_gateway.claims.model import NewClaim, Steps

# How many keys of its home a step needs, of the claim, the lock and the owner, if more than the claim.
_KEYS: Final[Mapping[str, int]] = {"begin": 3, "finish": 3, "read": 3, "release": 2, "settle": 2}
# So many locks are asked for at once.
_AT_ONCE: Final = 16
# How often it is tried again to take a lock that was void, or locks after an attempt that came too late. Each time
# somebody else was faster: of some thousand claims that all want the same few, one had that happen five times in a row.
_TRIES: Final = 16
_generations: Final = itertools.count()


class SlotClaims(ScriptedClaims):
    """A store on a cluster, as it is seen from one home. See ClaimStore for its steps."""

    __slots__ = ("_home", "_prefix", "_retention", "_steps")

    def __init__(self, steps: Steps, *, namespace: str, name: str, retention: float) -> None:
        """Is at no home yet: `at` returns what is.

        Args:
            steps: Carries out the steps.
            namespace: What the names of all keys begin with.
            name: Sets the store apart from others in the namespace.
            retention: Seconds for which claims that are done or settled, and the last allocations, are kept.
        """
        self._steps = steps
        # The part in braces, which ends behind the reference, decides about the slot.
        self._prefix = f"{namespace}:{{{name}:"
        self._retention = micro(retention)
        self._home = ""

    def at(self, references: Sequence[str]) -> SlotClaims:
        """Returns the store as it is seen from the home of these references."""
        return self._seen_from(references[0] if len(references) == 1 else min(references, key=self._place))

    def _seen_from(self, home: str) -> SlotClaims:
        seen = object.__new__(SlotClaims)
        seen._steps, seen._prefix, seen._retention, seen._home = self._steps, self._prefix, self._retention, home
        return seen

    async def begin(self, new: NewClaim) -> Begun | Held | Busy:
        """Makes a claim and takes all its locks, or none."""
        naming = asyncio.create_task(self._named_elsewhere(new.request_id))
        try:
            got = await self._begin(new)
            if not isinstance(got, Busy) and got.claim.holder == new.holder:
                other = await naming
                if other is not None:
                    await self.release(new.request_id, new.holder)
                    return Held(other)
            return got
        finally:
            if not naming.done():
                await tasks.end([naming])
            elif not naming.cancelled():
                # What is answered without it does not depend on it.
                naming.exception()

    async def _named_elsewhere(self, request_id: str) -> Claim | None:
        """Records where a claim of this id is. Returns the one with another home, if there is one."""
        replaced = ""
        for _ in range(_TRIES):
            key = f"{self._base(request_id)}name"
            home = await self._steps.run("name", (key,), self._home, self._retention, replaced)
            if home is None:
                return None
            replaced = home.decode()
            found = await self._run_at_home(replaced, "read", request_id)
            if found is not None and found[0] == b"here":
                return shown(found[1])
        raise StoreUnavailableError("name: gave up after repeated changes of its holder")

    async def _begin(self, new: NewClaim) -> Begun | Held | Busy:
        for _ in range(_TRIES):
            generation = f"{new.holder}.{next(_generations)}"
            lock = pack(Lock(new.request_id, generation, self._home))
            outcome, found = await self._run("begin", new.request_id, new.holder, *parts(new), generation, lock)
            if outcome == b"held":
                return Held(shown(found))
            if outcome == b"locked":
                other = await self._holder(self._home, found)
                if other is None:
                    continue
                return _in_the_way(new, other)
            claim = shown(found)
            others = self._others(claim.references)
            if not others:
                return Begun(claim)
            got = await self._take_others(new, claim, others, lock)
            if isinstance(got, Claim):
                return _in_the_way(new, got)
            fields = await self._run("confirm", new.request_id, new.holder, generation, pack(got))
            if fields is not None:
                return Begun(shown(fields))
            await self._unlock(others, lock)
        raise StoreUnavailableError("begin: gave up after repeated changes of the holders of its locks")

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

        Of another reference than its home it is recorded whose it is as long as the claim still holds its lock, and not
        of a success that comes later than that.
        """
        form, kept = form_of(answer)
        told = await self._run(
            "finish",
            request_id,
            holder,
            *parts(fallback),
            fallback.holder,
            form,
            kept,
            min(micro(keep_locks), self._retention),
            pack(tuple(allocated)),
            pack(tuple(deallocated)),
            pack((request_id, self._home)),
            pack(Lock(request_id, "", self._home, is_kept=True)),
        )
        if isinstance(told, list):
            mark, now = read_mark(told[0]), told[1]
            lock = Lock(request_id, mark.generation, self._home)
            await _all(self._ended(name, lock, mark, now) for name in self._others(mark.references))

    async def release(self, request_id: str, holder: str) -> None:
        """Takes back what `begin` did."""
        await self._give_back(request_id, await self._run("release", request_id, holder))

    async def settle(self, request_id: str, holder: str) -> bool:
        """Settles a claim in doubt that is the caller's and whose effects are over, and frees its locks."""
        told = await self._run("settle", request_id, holder)
        await self._give_back(request_id, told)
        return bool(told)

    async def read(self, request_id: str) -> Claim | None:
        """Returns a claim that is at home here, or is known for the last allocation; None if there is none."""
        fields = await self._fields(self._home, request_id)
        return None if fields is None else shown(fields)

    async def close(self) -> None:
        """Ends the use of the cluster, for all stores on it."""
        await self._steps.close()

    # Claims of several references.

    def _others(self, references: Iterable[str]) -> list[str]:
        """Returns all references but the one of its home, in the order of their slots."""
        return sorted({name for name in references if name != self._home}, key=self._place)

    def _place(self, reference: str) -> tuple[int, str]:
        return key_slot(self._base(reference).encode()), reference

    async def _take_others(
        self, new: NewClaim, claim: Claim, others: Sequence[str], lock: bytes
    ) -> Claim | tuple[str, ...]:
        """Takes the locks of all other references, or gives back what it has.

        Returns:
            The owners that are known, by reference; or the claim that holds a lock.
        """
        owners = dict(claim.owners)
        for some in _batches(others):
            found = await _all(self._lock(name, lock) for name in some)
            other = next((one for one in found if isinstance(one, Claim)), None)
            if other is not None:
                await self._run("release", new.request_id, new.holder)
                await self._unlock(others, lock)
                return other
            owners.update({name: owner for name, owner in zip(some, found, strict=True) if owner})
        return tuple(itertools.chain.from_iterable(owners.items()))

    async def _lock(self, reference: str, lock: bytes) -> Claim | str:
        """Takes a lock. Returns the owner, empty if none is known; or the claim that holds it."""
        for _ in range(_TRIES):
            outcome, found = await self._run_at(reference, "lock", lock)
            if outcome == b"taken":
                return read_owner(found)
            other = await self._holder(reference, found)
            if other is not None:
                return other
        raise StoreUnavailableError("lock: gave up after repeated changes of its holder")

    async def _holder(self, reference: str, lock: bytes) -> Claim | None:
        """Returns the claim that holds a lock. If none does, the lock is taken away, and None is returned."""
        held = read_lock(lock)
        fields = await self._fields(held.home, held.request_id)
        if fields is not None:
            claim, mark = shown(fields), read_mark(fields[1])
            is_its = mark.generation == held.generation
            if held.is_kept or (is_its and claim.state is ClaimState.IN_DOUBT):
                return claim
            if is_its and claim.state is ClaimState.DONE:
                # Whoever recorded that did not come to tell it here.
                await self._ended(reference, held, mark, fields[5])
                return None
        await self._run_at(reference, "unlock", lock)
        return None

    async def _ended(self, reference: str, lock: Lock, mark: Mark, now: int) -> None:
        """Tells another reference that the claim which holds its lock is done, and gives the lock back."""
        try:
            became = mark.marks[mark.references.index(reference)]
        except (ValueError, IndexError):
            became = "-"
        await self._run_at(
            reference,
            "ended",
            pack(lock),
            became,
            pack((lock.request_id, lock.home)),
            self._retention,
            max(mark.kept_until - now, 0) if mark.kept_until else 0,
            pack(Lock(lock.request_id, "", lock.home, is_kept=True)),
        )

    async def _give_back(self, request_id: str, told: Any) -> None:
        """Gives the other locks of a claim back that is over."""
        if isinstance(told, list):
            mark = read_mark(told[0])
            await self._unlock(self._others(mark.references), pack(Lock(request_id, mark.generation, self._home)))

    async def _unlock(self, references: Sequence[str], lock: bytes) -> None:
        """Gives locks back of a claim that is over. One that cannot be now is void, and goes when it is met."""
        given = (self._run_at(name, "unlock", lock) for name in references)
        for found in await asyncio.gather(*given, return_exceptions=True):
            if isinstance(found, BaseException) and not isinstance(found, StoreUnavailableError):
                raise found

    # Steps.

    def _base(self, reference: str) -> str:
        return f"{self._prefix}{reference}}}:"

    async def _fields(self, home: str, request_id: str) -> Any:
        """Returns a claim as the server does; None if there is none."""
        found = await self._run_at_home(home, "read", request_id)
        if found is None:
            return None
        where, what = found
        if where == b"here":
            return what
        there = await self._run_at_home(what.decode(), "read", request_id)
        return there[1] if there is not None and there[0] == b"here" else None

    async def _run(self, step: str, request_id: str, *arguments: str | bytes | int) -> Any:
        return await self._run_at_home(self._home, step, request_id, *arguments)

    async def _run_at_home(self, home: str, step: str, request_id: str, *arguments: str | bytes | int) -> Any:
        base = self._base(home)
        keys = (f"{base}claim:{request_id}", f"{base}lock", f"{base}owner")[: _KEYS.get(step, 1)]
        return await self._steps.run(step, keys, request_id, home, self._retention, *arguments)

    async def _run_at(self, reference: str, step: str, *arguments: str | bytes | int) -> Any:
        base = self._base(reference)
        keys = (f"{base}lock",) if step == "unlock" else (f"{base}lock", f"{base}owner")
        return await self._steps.run(step, keys, *arguments)


def _in_the_way(new: NewClaim, other: Claim) -> Held | Busy:
    """Returns what is told of another claim that holds a lock. One of the same id is that of another request."""
    return Held(other) if other.request_id == new.request_id else Busy(other)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


async def _all(work: Iterable[Awaitable[Any]]) -> list[Any]:
    """Waits for all, and only then fails with what has failed."""
    found = await asyncio.gather(*work, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found
