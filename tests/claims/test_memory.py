"""The store in memory stays small."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Final

import pytest
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import Begun, Busy, StoreFullError
from support.claims import new_claim
from support.clock import Clock

SIZE: Final = 1000
RETENTION: Final = 1000.0


async def do(store: MemoryClaims, number: int) -> None:
    """Begins and finishes a claim of a shipment of its own."""
    claim = new_claim(f"{number}", references=(f"sp_{number}",))
    assert isinstance(await store.begin(claim), Begun)
    await store.finish(
        claim.request_id, claim.holder, b"answer" * 100, fallback=claim, allocated=claim.references, deallocated=()
    )


async def held_after(calls: int, clock: Clock, pause: float) -> int:
    """Returns the bytes that a store holds after many calls."""
    store = MemoryClaims(size=SIZE, retention=RETENTION, clock=clock)
    for number in range(calls):
        await do(store, number)
        clock.advance(pause)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    assert await store.read(f"{calls - 1}") is not None
    return held


@pytest.mark.asyncio
@pytest.mark.parametrize(("few_calls", "pause"), [(2 * SIZE, 0.0), (20, RETENTION / 10)], ids=["by-count", "by-time"])
async def test_it_holds_no_more_after_many_calls_than_after_a_few(few_calls: int, pause: float) -> None:
    tracemalloc.start()
    try:
        few, many = [await held_after(calls, Clock(), pause) for calls in (few_calls, 10 * SIZE)]
    finally:
        tracemalloc.stop()
    assert many < few * 1.2 + 20_000


@pytest.mark.asyncio
async def test_it_refuses_claims_when_all_are_in_doubt_and_takes_them_again_when_one_is_not() -> None:
    clock = Clock()
    store = MemoryClaims(size=2, retention=RETENTION, clock=clock)
    first, second, third = (new_claim(name, references=(name,)) for name in ("1", "2", "3"))
    await store.begin(first)
    await store.begin(second)
    clock.advance(100 * RETENTION)
    with pytest.raises(StoreFullError):
        await store.begin(third)
    await store.finish("1", first.holder, b"", fallback=first, allocated=("1",), deallocated=())
    assert isinstance(await store.begin(third), Begun)
    assert await store.read("1") is None
    assert await store.read("2") is not None


@pytest.mark.asyncio
async def test_a_claim_whose_locks_are_kept_makes_no_room() -> None:
    """Else another write of the same shipment could begin while the effect of this one may still come."""
    clock = Clock()
    store = MemoryClaims(size=2, retention=RETENTION, clock=clock)
    kept, free, third, fourth = (new_claim(name, references=(name,)) for name in ("kept", "free", "third", "fourth"))
    for claim, seconds in ((kept, 60.0), (free, 0.0)):
        await store.begin(claim)
        await store.finish(
            claim.request_id, claim.holder, b"", fallback=claim, allocated=(), deallocated=(), keep_locks=seconds
        )
    assert isinstance(await store.begin(third), Begun)
    assert await store.read("free") is None
    assert isinstance(await store.begin(new_claim("another", references=("kept",))), Busy)
    with pytest.raises(StoreFullError):
        await store.begin(fourth)
    clock.advance(60.0)
    assert isinstance(await store.begin(fourth), Begun)
    assert await store.read("kept") is None


@pytest.mark.asyncio
async def test_a_settled_claim_that_is_done_after_all_makes_room_as_late_as_any_other_that_is_done_then() -> None:
    store = MemoryClaims(size=2, retention=RETENTION, clock=Clock())
    late, early = (new_claim(name, references=(name,), effects=0.0) for name in ("late", "early"))
    await store.begin(late)
    assert await store.settle("late", late.holder)
    await do(store, 1)
    await store.finish("late", late.holder, b"answer", fallback=late, allocated=("late",), deallocated=())
    await store.begin(early)
    assert await store.read("1") is None
    done = await store.read("late")
    assert done is not None
    assert done.answer == b"answer"


@pytest.mark.asyncio
async def test_the_owner_that_was_recorded_longest_ago_makes_room() -> None:
    store = MemoryClaims(size=2, retention=RETENTION, clock=Clock())
    for number, reference in enumerate(("first", "second", "first", "third")):
        claim = new_claim(f"{number}", references=(reference,))
        await store.begin(claim)
        await store.finish(f"{number}", claim.holder, b"", fallback=claim, allocated=(reference,), deallocated=())
    begun = await store.begin(new_claim(references=("first", "second", "third")))
    assert isinstance(begun, Begun)
    assert begun.claim.owners == {"first": "2", "third": "3"}
