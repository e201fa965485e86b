"""A success that is learned late, by whoever no longer has the claim: it is recorded, and takes nothing from others."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import Begun, Busy, ClaimState, Held
from support.claims import RETENTION, connected, new_claim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from allocation_gateway.claims.model import ClaimStore

FIRST: Final = new_claim("first", holder="one", references=("a", "b"), effects=0.0)
OTHER: Final = new_claim("other", holder="two", references=("b", "c"))


@asynccontextmanager
async def opened(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[ClaimStore]:
    """Opens a store of a kind."""
    if kind == "memory":
        yield MemoryClaims(size=100, retention=RETENTION)
    else:
        async with connected(request.getfixturevalue("server").port) as store:
            yield store


async def finish_late(store: ClaimStore, *, keep_locks: float) -> None:
    """Records the success of the first claim."""
    await store.finish(
        FIRST.request_id,
        FIRST.holder,
        b"answer",
        fallback=FIRST,
        allocated=FIRST.references,
        deallocated=(),
        keep_locks=keep_locks,
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["memory", pytest.param("shared", marks=pytest.mark.cache)])
@pytest.mark.parametrize("was", ["settled", "gone"])
@pytest.mark.parametrize("keep_locks", [0.0, 100.0])
async def test_a_success_that_comes_late_frees_and_takes_no_lock_of_another_claim(
    kind: str, was: str, keep_locks: float, request: pytest.FixtureRequest
) -> None:
    async with opened(kind, request) as store:
        await store.begin(FIRST)
        if was == "settled":
            assert await store.settle(FIRST.request_id, FIRST.holder)
        else:
            await store.release(FIRST.request_id, FIRST.holder)
        assert isinstance(await store.begin(OTHER), Begun)
        await finish_late(store, keep_locks=keep_locks)
        held = await store.begin(FIRST)
        assert isinstance(held, Held)
        assert (held.claim.state, held.claim.answer) == (ClaimState.DONE, b"answer")
        busy = await store.begin(new_claim("third", references=("b",)))
        assert isinstance(busy, Busy)
        assert busy.claim.request_id == OTHER.request_id
        third = await store.begin(new_claim("third", references=("a",)))
        assert isinstance(third, Busy if keep_locks else Begun)
        if isinstance(third, Begun):
            assert third.claim.owners == {"a": FIRST.request_id}
        await store.release(OTHER.request_id, OTHER.holder)
        freed = await store.begin(new_claim("fourth", references=("b",)))
        assert isinstance(freed, Begun)
        assert freed.claim.owners == {"b": FIRST.request_id}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["memory", pytest.param("shared", marks=pytest.mark.cache)])
async def test_a_success_that_comes_late_is_no_answer_to_another_request_with_the_same_id(
    kind: str, request: pytest.FixtureRequest
) -> None:
    async with opened(kind, request) as store:
        await store.begin(FIRST)
        await store.release(FIRST.request_id, FIRST.holder)
        await store.begin(new_claim(FIRST.request_id, fingerprint="1:another", holder="two", references=("c",)))
        await finish_late(store, keep_locks=0.0)
        claim = await store.read(FIRST.request_id)
        assert claim is not None
        assert (claim.state, claim.fingerprint, claim.holder) == (ClaimState.IN_DOUBT, "1:another", "two")
