"""What a process tells of its own resources, and of the state of the gateway."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
from allocation_gateway.accounts.book import Accounts
from allocation_gateway.rpc.base import finish
from allocation_gateway.telemetry.runtime import LAG_INTERVAL, CollectorPauses, cpu_seconds, measure_lag, memory_bytes
from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.collector import running_collector
from support.front import LONG, SERVICE, WRITE, running_front

if TYPE_CHECKING:
    from allocation_gateway.accounts.model import Account


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
    variables = {
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
        "MAX_CONCURRENT_CALLS": "7",
        "SERVICE_GROUPS": "one,two",
        "SHIP_MAX_CONNECTIONS": "9",
        "SHUTDOWN_DELAY": "2",
    }
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
            assert latest("allocation_gateway.serving") == {(): 1}
            server = ("127.0.0.1", front.upstream.port, "ship")
            assert latest("http.client.open_connections") == {(*server, "active"): 1, (*server, "idle"): 0}
            assert latest("allocation_gateway.upstream.connections.limit") == {server: 9}
            assert latest("allocation_gateway.calls.limit") == {(): 7}
            assert latest("allocation_gateway.workers") == {(): 1}
            assert latest("allocation_gateway.upstream.breaker") == {("ship",): 0}
            # What alerts wait for is there before it happens: else nobody could tell that it is one more.
            events = latest("allocation_gateway.write.events")
            assert {events[event, f"{SERVICE}/AllocateShipment"] for event in ("undecided", "left_in_doubt")} == {0}
            assert latest("allocation_gateway.service_group.known")["ship", "catalogue"] == 2
            release.set()
            call.exception(LONG)
            collector.wait_for_points(lambda: latest("allocation_gateway.calls.in_hand") == {(): 0})
            assert latest("http.client.open_connections") == {(*server, "active"): 0, (*server, "idle"): 1}
            assert max(point.total for point in collector.of("process.uptime")) > 0
            front.gateway.process.send_signal(signal.SIGTERM)
            collector.wait_for_points(lambda: latest("allocation_gateway.serving") == {(): 0})


def test_age_of_a_doubt_is_that_of_the_oldest_write_until_it_is_over() -> None:
    settings = {
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
        "SHIP_TIMEOUT": "1",
        "SHIP_SETTLE_TIME": "1",
        "SHIP_MAX_ATTEMPTS": "1",
    }
    with running_collector() as collector:

        def ages() -> list[float]:
            return [point.total for point in collector.of("allocation_gateway.writes.longest_doubt")]

        with running_front(settings={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **settings}) as front:
            collector.wait_for_points(lambda: ages()[-1:] == [0.0])
            front.upstream.answer(raw=b"", close=True, to="PUT")
            call = front.stub.AllocateShipment.future(WRITE, timeout=LONG)
            collector.wait_for_points(lambda: max(ages()) > 0.2)
            call.result(LONG)
            collector.wait_for_points(lambda: ages()[-1] == 0.0)
        assert 0.2 < max(ages()) < LONG


def test_of_an_account_that_is_taken_out_nothing_is_told_any_more() -> None:
    """Else whoever watches would be alarmed for ever by what it was at last."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics = Telemetry(meter_provider=provider).metrics
    for account in ("north", "default"):
        metrics.group_part("cache", usable=False, account=account)
        metrics.observe_breaker("ship", lambda: 2, account)
        metrics.queue_length("ship", "read", 1, account)
    metrics.forget_account("north")
    data: Any = reader.get_metrics_data()
    points = [
        point.attributes
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    ]
    provider.shutdown()
    assert points == [{"part": "cache"}, {"api": "ship"}, {"api": "ship", "lane": "read"}]


def test_a_call_has_the_name_of_its_account_if_there_is_one_of_that_name() -> None:
    """Callers may name any: what is made up is no series."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    telemetry = Telemetry(meter_provider=provider)
    accounts = Accounts(cast("Account", SimpleNamespace(name="default")))
    accounts.use([cast("Account", SimpleNamespace(name="north"))])
    for fields in ({"account": "north"}, {"account": "made-up"}, {}):
        finish(structlog.get_logger(), "OK", telemetry.call("a/b", []), dict(fields), accounts)
    data: Any = reader.get_metrics_data()
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    provider.shutdown()
    counted = {point.attributes.get("allocation_gateway.account"): point.count for point in metric.data.data_points}
    assert counted == {"north": 1, None: 2}
