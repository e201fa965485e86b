"""A step to three times the load that upstream can bear, in virtual time."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest
from allocation_gateway.errors import GatewayError
from allocation_gateway.protection.model import RequestKind
from allocation_gateway.upstream.call import CallOutcome
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.protection.protection import Protection

PLACES = 20
SERVICE = 0.05
CAPACITY = PLACES / SERVICE
PATIENCE = 2.0
CALM, STORM = 2.0, 6.0


class Load:
    """Callers that come whether or not they are served, and an upstream that serves so many at once, each in 50 ms."""

    def __init__(self, protection: Protection, spread: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._protection = protection
        self._upstream = asyncio.Semaphore(PLACES)
        self._random = Random(5)  # noqa: S311 - a load that can be repeated
        self._spread = spread
        self._tasks: list[asyncio.Task[None]] = []
        self.served: dict[RequestKind, list[tuple[float, float]]] = {RequestKind.WRITE: [], RequestKind.READ: []}
        self.refused: list[tuple[float, float]] = []

    async def call(self, kind: RequestKind) -> None:
        came = self._loop.time()
        try:
            permit = await self._protection.acquire(kind, came + PATIENCE)
        except GatewayError:
            self.refused.append((came, self._loop.time() - came))
            return
        async with self._upstream:
            await asyncio.sleep(SERVICE * self._random.uniform(1 - self._spread, 1 + self._spread))
        permit.release(CallOutcome.SUCCESS)
        self.served[kind].append((came, self._loop.time() - came))

    async def come(self, kind: RequestKind, per_second: float, seconds: float) -> None:
        end = self._loop.time() + seconds
        while self._loop.time() < end:
            self._tasks.append(asyncio.create_task(self.call(kind)))
            await asyncio.sleep(self._random.expovariate(per_second))

    async def finish(self) -> None:
        await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("spread", [0.0, 0.9])
def test_goodput_stays_refusals_are_immediate_and_reads_are_served(
    protected: Callable[..., Protection], spread: float
) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        load = Load(protected(loop.time, max_in_flight=PLACES), spread)
        await load.come(RequestKind.WRITE, CAPACITY * 0.75, CALM)
        assert not load.refused
        step = loop.time()
        await asyncio.gather(load.come(RequestKind.WRITE, CAPACITY * 3, STORM), load.come(RequestKind.READ, 10, STORM))
        await load.finish()
        writes = [seconds for came, seconds in load.served[RequestKind.WRITE] if came >= step and seconds <= PATIENCE]
        assert len(writes) / (loop.time() - step) >= 0.9 * CAPACITY
        waits = sorted(seconds for _, seconds in load.refused)
        assert waits[int(len(waits) * 0.95)] < 0.05
        assert max(writes) < 0.5 + 4 * SERVICE
        reads = sorted(seconds for _, seconds in load.served[RequestKind.READ])
        assert len(reads) >= 30
        assert reads[int(len(reads) * 0.95)] < 4 * SERVICE
        # And the storm over, nobody is refused any more.
        before = len(load.refused)
        await load.come(RequestKind.WRITE, CAPACITY * 0.75, CALM)
        await load.finish()
        assert len(load.refused) == before

    run(work())
