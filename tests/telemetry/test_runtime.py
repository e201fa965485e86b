"""What a process tells of its own resources, and of the state of the gateway."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import Any

import pytest
from allocation_gateway.telemetry.runtime import LAG_INTERVAL, CollectorPauses, cpu_seconds, measure_lag, memory_bytes
from support.collector import running_collector
from support.front import LONG, WRITE, running_front


def test_memory_is_what_is_resident() -> None:
    ((before, _),) = memory_bytes()
    block = bytearray(os.urandom(1)) * 64_000_000
    ((after, _),) = memory_bytes()
    assert 50_000_000 < after - before < 1_000_000_000
    assert block


def test_cpu_time_grows_with_the_work_of_this_process() -> None:
    def total() -> float:
        return sum(value for value, _ in cpu_seconds())

    before = total()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < total() - before < 10


def test_pauses_of_the_collector_are_counted_by_generation_and_only_meanwhile() -> None:
    with CollectorPauses() as pauses:
        gc.collect(2)
        ((youngest, _), _, (oldest, attributes)) = pauses.seconds()
        assert attributes == {"cpython.gc.generation": 2}
        assert 0 < oldest < LONG
        gc.collect(0)
        assert list(pauses.seconds())[0][0] > youngest  # noqa: RUF015 - the first of three
    told = list(pauses.seconds())
    gc.collect()
    assert list(pauses.seconds()) == told


@pytest.mark.asyncio
async def test_a_loop_that_is_blocked_lags() -> None:
    lags: asyncio.Queue[float] = asyncio.Queue()
    measuring = asyncio.create_task(measure_lag(lags.put_nowait))
    await asyncio.sleep(0)
    time.sleep(LAG_INTERVAL + 0.3)  # noqa: ASYNC251 - it blocks the loop, which is what is measured
    assert 0.25 < await lags.get() < LONG
    measuring.cancel()


def test_state_is_told_as_it_is_while_a_write_is_under_way() -> None:
    variables = {"OTEL_METRIC_EXPORT_INTERVAL": "100", "MAX_CONCURRENT_CALLS": "7", "SERVICE_GROUPS": "one,two"}
    with running_collector() as collector:

        def latest(name: str) -> dict[tuple[Any, ...], int]:
            return {tuple(point.attributes.values()): point.count for point in collector.of(name)}

        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **variables}
        with running_front(settings=settings) as front:
            release = front.upstream.hold(200, {"message": "none"})
            call = front.stub.AllocateShipment.future(WRITE, timeout=LONG)
            front.upstream.next_request()
            collector.wait_for_points(lambda: latest("allocation_gateway.writes").get(("sending",)) == 1)
            assert latest("allocation_gateway.calls.in_hand") == {(): 1}
            assert latest("allocation_gateway.calls.limit") == {(): 7}
            assert latest("allocation_gateway.service_group.known")["ship", "catalogue"] == 2
            release.set()
            call.exception(LONG)
            collector.wait_for_points(lambda: latest("allocation_gateway.calls.in_hand") == {(): 0})
