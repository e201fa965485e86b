"""Of many items, a few are done in each turn of the event loop, of which a single call needs some ten."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.writes.pace import PER_TURN, PER_TURN_BESIDE_CALLS, Pace
from streams.conftest import shipment
from streams.virtual import Scene
from streams.waves import new_job
from support.virtual import run

if TYPE_CHECKING:
    from allocation_gateway.claims.model import Begun, Busy, Held, NewClaim

TOGETHER = 8


class Counted(MemoryClaims):
    """A store that knows how many claims were begun and finished in each turn of the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(size=100_000, retention=86_400.0, clock=self._loop.time)
        self._turn = 0
        self.steps: Counter[tuple[str, int]] = Counter()

    def _count(self, step: str) -> None:
        key = step, self._turn
        if key not in self.steps:
            self._loop.call_soon(self._end_turn, self._turn)
        self.steps[key] += 1

    def _end_turn(self, turn: int) -> None:
        self._turn = turn + 1

    async def begin(self, new: NewClaim) -> Begun | Held | Busy:
        """See ClaimStore."""
        self._count("begin")
        return await super().begin(new)

    async def finish(self, *arguments: Any, **more: Any) -> None:
        """See ClaimStore."""
        self._count("finish")
        await super().finish(*arguments, **more)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("has_calls", "most"), [(False, PER_TURN), (True, PER_TURN_BESIDE_CALLS)])
def test_a_few_items_are_begun_and_finished_in_a_turn_however_many_bulk_calls_are_under_way(
    has_calls: bool, most: int
) -> None:
    """And fewer if there are calls that wait for their turn."""

    async def work() -> None:
        store = Counted()
        scene = Scene(store, has_calls=lambda: has_calls)
        references = [shipment(number) for number in range(1, 100 * TOGETHER + 1)]
        told = await scene.allocate(references, new_job())
        assert told.kinds() == {"queued": len(references)}
        assert sum(store.steps.values()) == 2 * len(references)
        assert max(store.steps.values()) == most

    run(work())


async def turn(pace: Pace) -> None:
    """Does something for one item."""
    async for _ in pace.parts([None]):
        pass


def test_each_turn_is_for_one_of_those_who_wait_in_their_order() -> None:
    async def work() -> None:
        pace, had = Pace(), list[tuple[int, int]]()
        number_of_turn = 0

        async def wait(number: int) -> None:
            await turn(pace)
            had.append((number, number_of_turn))

        tasks = [asyncio.create_task(wait(number)) for number in range(5)]
        tasks[2].cancel()
        while not all(task.done() for task in tasks):
            number_of_turn += 1
            await asyncio.sleep(0)
        assert [number for number, _ in had] == [0, 1, 3, 4]
        assert len({turn for _, turn in had}) == len(had)
        # Nobody waits any more: it is had at once.
        for _ in range(3):
            await asyncio.sleep(0)
        await wait(9)
        assert had[-1] == (9, number_of_turn)

    asyncio.run(work())


def test_who_waits_no_more_keeps_no_turn_from_others() -> None:
    async def work() -> None:
        pace = Pace()
        first, second, third, last = [asyncio.create_task(turn(pace)) for _ in range(4)]
        await first
        second.cancel()
        third.cancel()
        await asyncio.wait_for(last, 5)
        assert second.cancelled()
        assert third.cancelled()

    asyncio.run(work())
