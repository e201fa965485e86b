"""Steps of writes that are sent together wait for a place, so that those of others are not behind all of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.claims.model import Begun, StoreUnavailableError
from allocation_gateway.claims.queued import QueuedClaims, StepQueue
from support.claims import connected, new_claim

if TYPE_CHECKING:
    from support.cache import CacheServer

PLACES: Final = 4
MANY: Final = 300

pytestmark = pytest.mark.asyncio


class Steps:
    """Steps that end when they are told to.

    Attributes:
        under_way: How each that has begun and not ended is told how it ends, by its number.
        order: The numbers of all that have begun.
    """

    def __init__(self) -> None:
        self.under_way: dict[int, asyncio.Future[None]] = {}
        self.order: list[int] = []

    async def step(self, number: int) -> int:
        self.order.append(number)
        self.under_way[number] = asyncio.get_running_loop().create_future()
        try:
            await self.under_way[number]
        finally:
            del self.under_way[number]
        return number

    def task(self, queue: StepQueue, number: int) -> asyncio.Task[int]:
        return asyncio.create_task(queue.run(partial(self.step, number)))


async def turn() -> None:
    """Waits until what is ready has had its turns of the event loop."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_steps_than_there_are_places_are_under_way_and_they_begin_in_order() -> None:
    queue, steps = StepQueue(PLACES), Steps()
    tasks = [steps.task(queue, number) for number in range(3 * PLACES)]
    for ended in range(3 * PLACES):
        await turn()
        assert set(steps.under_way) == set(range(ended, min(ended + PLACES, 3 * PLACES)))
        steps.under_way[ended].set_result(None)
    assert await asyncio.gather(*tasks) == [*range(3 * PLACES)]
    assert steps.order == [*range(3 * PLACES)]


async def test_whoever_no_longer_waits_is_passed_over_and_takes_no_place() -> None:
    queue, steps = StepQueue(1), Steps()
    first, given_up, second = (steps.task(queue, number) for number in range(3))
    await turn()
    given_up.cancel()
    await turn()
    steps.under_way[0].set_result(None)
    await turn()
    assert list(steps.under_way) == [2]
    steps.under_way[2].set_result(None)
    assert (await first, await second) == (0, 2)
    assert given_up.cancelled()


async def test_a_place_that_was_given_to_a_step_that_is_cancelled_at_once_is_passed_on() -> None:
    queue, steps = StepQueue(1), Steps()

    async def cancel_the_next_one() -> None:
        await queue.run(partial(steps.step, 0))
        # The next one has been given the place, and has had no turn of the event loop since.
        given_up.cancel()

    first = asyncio.create_task(cancel_the_next_one())
    given_up, second = (steps.task(queue, number) for number in (1, 2))
    await turn()
    steps.under_way[0].set_result(None)
    await first
    await turn()
    assert given_up.cancelled()
    assert steps.order == [0, 2]
    steps.under_way[2].set_result(None)
    assert await second == 2


async def test_a_step_that_fails_gives_its_place_back() -> None:
    queue, steps = StepQueue(1), Steps()
    failing, next_one = (steps.task(queue, number) for number in range(2))
    await turn()
    steps.under_way[0].set_exception(ValueError("a defect"))
    with pytest.raises(ValueError, match="a defect"):
        await failing
    await turn()
    steps.under_way[1].set_result(None)
    assert await next_one == 1


async def test_nobody_waits_for_the_time_outs_of_others_and_later_there_are_no_more_places_than_before() -> None:
    queue, steps = StepQueue(PLACES), Steps()
    tasks = [steps.task(queue, number) for number in range(3 * PLACES)]
    await turn()
    steps.under_way[0].set_exception(StoreUnavailableError("the server does not answer"))
    await turn()
    assert sorted(steps.under_way) == [*range(1, 3 * PLACES)]
    later = steps.task(queue, 3 * PLACES)
    steps.under_way[1].set_result(None)
    await turn()
    assert sorted(steps.under_way) == [*range(2, 3 * PLACES)]
    for step in steps.under_way.values():
        step.set_exception(StoreUnavailableError("the server does not answer"))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError, int}
    await turn()
    steps.under_way[3 * PLACES].set_result(None)
    assert await later == 3 * PLACES
    again = [steps.task(queue, number) for number in range(2 * PLACES)]
    await turn()
    assert sorted(steps.under_way) == [*range(PLACES)]
    while steps.under_way:
        next(iter(steps.under_way.values())).set_result(None)
        await turn()
    assert await asyncio.gather(*again) == [*range(2 * PLACES)]


@pytest.mark.cache
@pytest.mark.parametrize("is_queued", [True, False])
async def test_a_single_step_is_carried_out_before_most_of_those_of_a_wave(
    is_queued: bool, server: CacheServer
) -> None:
    """Over one connection, on which a server answers in order. Without the queue it comes last."""
    async with connected(server.port) as store:
        wave = QueuedClaims(store, StepQueue(PLACES)) if is_queued else store
        order: list[str] = []

        async def begin(name: str) -> None:
            claims = store if name == "single" else wave
            assert isinstance(await claims.begin(new_claim(name, references=(name,))), Begun)
            order.append(name)

        await begin("first")
        items = [asyncio.create_task(begin(f"item-{number}")) for number in range(MANY)]
        await turn()
        await begin("single")
        place = order.index("single")
        await asyncio.gather(*items)
        assert (place <= 3 * PLACES) if is_queued else (place == MANY + 1)
