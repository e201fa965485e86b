"""The share of streams: of the requests under way, and of the line for a slot or a token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.errors import GatewayError
from allocation_gateway.protection.model import RequestKind
from allocation_gateway.upstream.call import CallOutcome
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.protection.protection import Protection

    Make = Callable[..., Protection]

READ, WRITE = RequestKind.READ, RequestKind.WRITE


def now() -> float:
    return asyncio.get_running_loop().time()


class Streams:
    """So many requests of streams, one after the other without an end."""

    def __init__(self, protection: Protection, seconds: float) -> None:
        self.under_way = {READ: 0, WRITE: 0}
        self.most = {READ: 0, WRITE: 0}
        self.ended = 0
        self._protection = protection
        self._seconds = seconds
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, kind: RequestKind, count: int) -> None:
        self._tasks += [asyncio.create_task(self._work(kind)) for _ in range(count)]

    async def _work(self, kind: RequestKind) -> None:
        while True:
            permit = await self._protection.acquire_for_stream(kind, now() + 30.0)
            self.under_way[kind] += 1
            self.most[kind] = max(self.most[kind], self.under_way[kind])
            await asyncio.sleep(self._seconds)
            self.under_way[kind] -= 1
            permit.release(CallOutcome.SUCCESS)
            self.ended += 1

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for told in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(told, asyncio.CancelledError), told


def test_streams_take_their_share_and_leave_the_rest(protected: Make) -> None:
    async def work() -> None:
        protection = protected(now, max_in_flight=20, stream_share=0.25)
        streams = Streams(protection, 1.0)
        streams.start(READ, 30)
        streams.start(WRITE, 30)
        await asyncio.sleep(5.5)
        assert streams.most == {READ: 5, WRITE: 5}
        singles: list[Any] = [await protection.acquire(READ, now()) for _ in range(12)]
        assert len(singles) == 12, "they were let in at once"
        for permit in singles:
            permit.release(CallOutcome.SUCCESS)
        await streams.stop()

    run(work())


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_streams_have_a_place_in_any_case(protected: Make, share: float) -> None:
    assert protected(lambda: 0.0, max_in_flight=20, stream_share=share).stream_places == 1


def test_who_finds_no_place_in_the_share_in_time_is_refused(protected: Make) -> None:
    async def work() -> None:
        protection = protected(now, max_in_flight=2, stream_share=0.5)
        permit = await protection.acquire_for_stream(WRITE, now())
        begun = now()
        with pytest.raises(GatewayError) as caught:
            await protection.acquire_for_stream(WRITE, begun + 3.0)
        assert (caught.value.reason_name, now()) == ("GATEWAY_OVERLOADED", begun + 3.0)
        permit.release(CallOutcome.SUCCESS)
        (await protection.acquire_for_stream(WRITE, now())).release(CallOutcome.SUCCESS)

    run(work())


@pytest.mark.parametrize("rate", [10.0, 50.0])
def test_streams_do_not_take_the_tokens_of_single_calls(protected: Make, rate: float) -> None:
    """However many requests of theirs wait for one."""

    async def work() -> None:
        protection = protected(now, rate_limit=rate)
        streams = Streams(protection, 0.1)
        streams.start(READ, 16)
        streams.start(WRITE, 8)
        await asyncio.sleep(5.0)
        waited = []
        for _ in range(20):
            begun = now()
            (await protection.acquire(READ, begun + 10.0)).release(CallOutcome.SUCCESS)
            waited.append(now() - begun)
            await asyncio.sleep(1.0)
        assert max(waited) <= 4 / rate + 0.01
        # And they have what is left.
        assert streams.ended + len(waited) >= 0.95 * rate * 25.0
        await streams.stop()

    run(work())


def test_who_leaves_the_line_of_streams_leaves_nothing_behind(protected: Make) -> None:
    async def work() -> None:
        protection = protected(now, rate_limit=4.0, rate_burst=1, max_in_flight=10)
        (await protection.acquire_for_stream(READ, now() + 1.0)).release(CallOutcome.SUCCESS)
        waiting = [asyncio.create_task(protection.acquire_for_stream(READ, now() + 60.0)) for _ in range(5)]
        await asyncio.sleep(0.1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(1.0)
        for _ in range(5):
            (await protection.acquire_for_stream(READ, now() + 60.0)).release(CallOutcome.SUCCESS)
            await asyncio.sleep(0.5)

    run(work())
