"""The cache under a clock that stands still: what is fresh, stale, loaded once, and forgotten."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.groups.cache import Cache, Expiry, Loaded, LoadFailedError
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

EXPIRY: Final = Expiry(ttl=100.0, stale=50.0, jitter=0.1, refresh_after=0.8, failure_pause=5.0)


@dataclass
class Source:
    """Where values come from: the number of the load, as long as nothing is wrong."""

    loads: int = 0
    broken: bool = False
    held: asyncio.Event | None = None
    seen: list[str] = field(default_factory=list)

    async def load(self, key: str) -> Loaded[int]:
        """Loads a value."""
        self.loads += 1
        self.seen.append(key)
        number = self.loads
        if self.held is not None:
            await self.held.wait()
        if self.broken:
            raise RuntimeError("broken")
        return Loaded(number)


def made(
    source: Source, clock: Clock, *, size: int = 10, uniform: Callable[[], float] = lambda: 0.0
) -> Cache[str, int]:
    return Cache(EXPIRY, size=size, load=source.load, clock=clock, uniform=uniform)


async def settled() -> None:
    """Lets everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_a_thousand_who_wait_make_one_load(clock: Clock) -> None:
    source = Source(held=asyncio.Event())
    cache = made(source, clock)
    waiting = [asyncio.create_task(cache.get("a")) for _ in range(1000)]
    await settled()
    assert source.held is not None
    source.held.set()
    assert await asyncio.gather(*waiting) == [1] * 1000
    assert source.loads == 1


@pytest.mark.asyncio
async def test_cancelling_one_who_waits_cancels_nobody_else(clock: Clock) -> None:
    source = Source(held=asyncio.Event())
    cache = made(source, clock)
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await settled()
    first.cancel()
    await settled()
    assert first.cancelled()
    assert source.held is not None
    source.held.set()
    assert await second == 1
    assert cache.peek("a") == 1


@pytest.mark.asyncio
async def test_what_nobody_waits_for_any_more_is_kept_all_the_same(clock: Clock) -> None:
    source = Source(held=asyncio.Event())
    cache = made(source, clock)
    only = asyncio.create_task(cache.get("a"))
    await settled()
    only.cancel()
    assert source.held is not None
    source.held.set()
    await settled()
    assert cache.peek("a") == 1


@pytest.mark.asyncio
async def test_all_who_wait_for_what_fails_are_told_and_nobody_tries_again_for_a_while(clock: Clock) -> None:
    source = Source(broken=True)
    cache = made(source, clock)
    outcomes = await asyncio.gather(*(cache.get("a") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(outcome, LoadFailedError) for outcome in outcomes)
    with pytest.raises(LoadFailedError):
        await cache.get("a")
    assert source.loads == 1
    source.broken = False
    clock.advance(EXPIRY.failure_pause)
    assert await cache.get("a") == 2


@pytest.mark.asyncio
async def test_a_value_in_use_is_loaded_anew_before_it_is_stale(clock: Clock) -> None:
    source = Source()
    cache = made(source, clock)
    await cache.get("a")
    clock.advance(EXPIRY.ttl * EXPIRY.refresh_after - 1)
    assert cache.peek("a") == 1
    await settled()
    assert source.loads == 1, "it is too early"
    clock.advance(2)
    assert cache.peek("a") == 1, "nobody waits for it"
    await settled()
    assert (source.loads, cache.peek("a")) == (2, 2)


@pytest.mark.asyncio
async def test_a_stale_value_is_given_out_only_where_loading_fails_and_only_for_so_long(clock: Clock) -> None:
    source = Source()
    cache = made(source, clock)
    await cache.get("a")
    clock.advance(EXPIRY.ttl)
    assert cache.peek("a") is None, "it may be loaded"
    source.broken = True
    assert await cache.get("a") == 1
    assert cache.peek("a") == 1, "it has just been tried"
    clock.advance(EXPIRY.stale - 0.001)
    assert await cache.get("a") == 1
    clock.advance(EXPIRY.failure_pause)
    with pytest.raises(LoadFailedError):
        await cache.get("a")


@pytest.mark.asyncio
async def test_what_was_asked_for_before_it_was_forgotten_is_not_kept(clock: Clock) -> None:
    source = Source(held=asyncio.Event())
    cache = made(source, clock)
    before = asyncio.create_task(cache.get("a"))
    await settled()
    cache.invalidate("a")
    after = asyncio.create_task(cache.get("a"))
    await settled()
    assert source.held is not None
    source.held.set()
    assert (await before, await after) == (1, 2)
    assert cache.peek("a") == 2


@pytest.mark.asyncio
async def test_what_is_put_counts_more_than_what_is_being_loaded(clock: Clock) -> None:
    source = Source(held=asyncio.Event())
    cache = made(source, clock)
    waiting = asyncio.create_task(cache.get("a"))
    await settled()
    cache.put("a", 99)
    assert source.held is not None
    source.held.set()
    await waiting
    await settled()
    assert cache.peek("a") == 99


@pytest.mark.asyncio
async def test_lives_differ_by_the_jitter_and_are_never_longer_than_the_time_to_live(clock: Clock) -> None:
    uniforms = iter([0.0, 0.5, 1.0])
    cache = made(Source(), clock, uniform=lambda: next(uniforms))
    lives = [cache.put(key, 1).fresh_until - clock.now for key in "abc"]
    assert lives == [100.0, 95.0, 90.0]


def test_the_value_unused_for_longest_makes_room(clock: Clock) -> None:
    cache: Cache[str, int] = Cache(EXPIRY, size=2, clock=clock)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.peek("a") == 1
    cache.put("c", 3)
    assert [cache.peek(key) for key in "abc"] == [1, None, 3]


@pytest.mark.asyncio
async def test_closing_ends_what_is_being_loaded(clock: Clock) -> None:
    source = Source(held=asyncio.Event())
    cache = made(source, clock)
    waiting = asyncio.create_task(cache.get("a"))
    await settled()
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


class Model:
    """The same cache, told in the simplest way: a list of values with the time when each was stored."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._failures: OrderedDict[str, float] = OrderedDict()
        self.loads = 0
        self.broken = False
        self.now = 0.0

    def peek(self, key: str) -> int | None:
        """Returns what may be used without waiting; loading anew what gets old."""
        if key not in self._values:
            return None
        value, stored = self._values[key]
        age = self.now - stored
        paused = self._is_paused(key)
        if age >= EXPIRY.ttl + EXPIRY.stale:
            del self._values[key]
            return None
        if age >= EXPIRY.ttl and not paused:
            return None
        self._values.move_to_end(key)
        if EXPIRY.ttl > age >= EXPIRY.ttl * EXPIRY.refresh_after and not paused:
            self._load(key)
        return value

    def get(self, key: str) -> int | None:
        """Returns a value, loading it if that takes it; None if it cannot be had."""
        value = self.peek(key)
        if value is not None or self._is_paused(key):
            return value
        self._load(key)
        return self.peek(key)

    def put(self, key: str, value: int) -> None:
        """Stores a value."""
        self._failures.pop(key, None)
        self._values[key] = value, self.now
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forgets a value."""
        self._values.pop(key, None)
        self._failures.pop(key, None)

    def _is_paused(self, key: str) -> bool:
        return key in self._failures and self.now - self._failures[key] < EXPIRY.failure_pause

    def _load(self, key: str) -> None:
        self.loads += 1
        if not self.broken:
            self.put(key, self.loads)
            return
        self._failures[key] = self.now
        self._failures.move_to_end(key)
        if len(self._failures) > self._size:
            self._failures.popitem(last=False)


KEYS = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("peek"), KEYS),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("put"), KEYS),
    st.tuples(st.just("forget"), KEYS),
    st.tuples(st.just("advance"), st.sampled_from([1.0, 4.0, 5.0, 20.0, 80.0, 100.0, 150.0])),
    st.tuples(st.just("break"), st.booleans()),
    st.tuples(st.just("clear"), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_any_sequence_of_steps_does_what_the_model_does(steps: list[tuple[str, str | float | bool | None]]) -> None:
    asyncio.run(_compare(steps))


async def _compare(steps: list[tuple[str, str | float | bool | None]]) -> None:
    clock, source, model = Clock(), Source(), Model(size=3)
    clock.now = 0.0
    cache = made(source, clock, size=3)
    for number, (step, what) in enumerate(steps):
        if isinstance(what, bool):
            source.broken = model.broken = what
        elif isinstance(what, float):
            clock.advance(what)
            model.now += what
        elif what is None:
            cache.clear()
            for key in "abcd":
                model.forget(key)
        elif step == "put":
            cache.put(what, -number)
            model.put(what, -number)
        elif step == "forget":
            cache.invalidate(what)
            model.forget(what)
        elif step == "peek":
            assert cache.peek(what) == model.peek(what)
        else:
            try:
                found = await cache.get(what)
            except LoadFailedError:
                found = None
            assert found == model.get(what)
        await settled()
        assert source.loads == model.loads
