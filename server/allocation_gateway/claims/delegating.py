"""A store that has another one carry out its steps, each in a way of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from allocation_gateway.claims.model import Begun, Busy, Claim, ClaimStore, Held, NewClaim

T = TypeVar("T")


class DelegatingClaims(ABC):
    """What such stores have in common. See ClaimStore for the steps."""

    __slots__ = ("_store",)

    def __init__(self, store: ClaimStore) -> None:
        """Takes the store that carries out the steps."""
        self._store = store

    @abstractmethod
    async def _carry_out(self, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Carries out a step of the other store, and returns what that does."""

    async def begin(self, new: NewClaim) -> Begun | Held | Busy:
        """Makes a claim and takes all its locks, or none."""
        return await self._carry_out(partial(self._store.begin, new))

    async def take_over(self, request_id: str, holder: str, lease: float) -> Claim | None:
        """Makes a claim the caller's if it is in doubt and its lease has run out, or it is the caller's already."""
        return await self._carry_out(partial(self._store.take_over, request_id, holder, lease))

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
        step = partial(self._store.renew, request_id, holder, lease, effects=effects, attempt=attempt, body=body)
        return await self._carry_out(step)

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
        step = partial(
            self._store.finish,
            request_id,
            holder,
            answer,
            fallback=fallback,
            allocated=allocated,
            deallocated=deallocated,
            keep_locks=keep_locks,
        )
        await self._carry_out(step)

    async def release(self, request_id: str, holder: str) -> None:
        """Takes back what `begin` did: the write was certainly not made since then."""
        await self._carry_out(partial(self._store.release, request_id, holder))

    async def settle(self, request_id: str, holder: str) -> bool:
        """Settles a claim in doubt that is the caller's and whose effects are over, and frees its locks."""
        return await self._carry_out(partial(self._store.settle, request_id, holder))

    async def leave_in_doubt(self, request_id: str, holder: str, *, effects: float) -> None:
        """Ends the caller's lease of a claim that is in doubt, so that somebody else may take it over."""
        await self._carry_out(partial(self._store.leave_in_doubt, request_id, holder, effects=effects))

    async def read(self, request_id: str) -> Claim | None:
        """Returns a claim; None if there is none."""
        return await self._carry_out(partial(self._store.read, request_id))

    async def close(self) -> None:
        """Ends the use of the store."""
        await self._store.close()
