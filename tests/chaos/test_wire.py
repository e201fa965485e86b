"""The fault injector of the chaos suite does to requests what it says it does, and writes down what it did."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from allocation_gateway.sandbox.options import SandboxOptions
from allocation_gateway.sandbox.server import Sandbox
from allocation_gateway.settings import Settings
from chaos.configuration import DEFAULTS, Pace, described
from chaos.history import History
from chaos.plan import Plan, Rates, shipment, spread
from chaos.processes import Witness
from chaos.wire import KINDS, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHIPMENT = shipment(1)
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {
    "x-api-key": "sandbox-key",
    "x-api-version": "1.1",
    "traceparent": f"00-{TRACE}-{7:016x}-00",
}


@dataclass
class Struck:
    """A sandbox behind a wire, and a client in front of it."""

    sandbox: Sandbox
    wire: Wire
    history: History
    http: aiohttp.ClientSession

    async def allocate(self) -> tuple[int, Any]:
        """Allocates; returns the status, and the body if it is JSON. The status is 0 if there is no whole answer."""
        url = f"http://127.0.0.1:{self.wire.ports[0]}/pro/shipments/{SHIPMENT}/allocate"
        try:
            async with self.http.put(url, headers=HEADERS) as answer:
                body = await answer.read()
                return answer.status, body
        except aiohttp.ClientError:
            return 0, b""

    def allocations(self) -> list[str]:
        """Returns by whose requests the shipment was allocated."""
        events = self.sandbox.journal.about(SHIPMENT)["events"]
        return [event["arrival"]["traceparent"][3:35] for event in events if event["effect"] == "allocated"]


@asynccontextmanager
async def struck(*, longest: float = 0.3, **rates: float) -> AsyncIterator[Struck]:
    """Runs a wire whose writes are struck as often as said, by kinds with underscores."""
    run = described("test", 1, guard=True, replicas=1, pace=Pace(timeout=0.5, settle=0.5, lease=0.5))
    plan = Plan(run, Rates(writes={kind.replace("_", " "): rate for kind, rate in rates.items()}))
    history = History(run)
    async with (
        Sandbox(SandboxOptions(port=0, shipments=1)) as sandbox,
        Wire(plan, history, sandbox.port, longest) as wire,
        # A lost connection must not be made up for: the client is the gateway, which does not do that either.
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
    ):
        http._retry_connection = False
        yield Struck(sandbox, wire, history, http)


@pytest.mark.asyncio
async def test_what_is_not_struck_passes_as_it_is() -> None:
    async with struck() as there:
        status, body = await there.allocate()
        assert (status, b'"allocated"' in body) == (200, True)
        assert there.allocations() == [TRACE]
    (request,) = there.history.requests
    assert (request.trace, request.references, request.fault) == (TRACE, (SHIPMENT,), "")
    assert (request.status, request.delivered) == (200, 200)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "status", "effects"),
    [
        ("reset before", 0, 0),
        ("reset after", 0, 1),
        ("half a response", 0, 1),
        ("garbage", 200, 1),
        ("latency", 200, 1),
        ("drip", 200, 1),
        ("hang", 0, 1),
    ],
)
async def test_a_fault_has_the_effect_that_it_is_named_after(kind: str, status: int, effects: int) -> None:
    async with struck(**{kind.replace(" ", "_"): 1.0}) as there:
        assert (await there.allocate())[0] == status
        assert len(there.allocations()) == effects
    (request,) = there.history.requests
    assert request.fault == kind
    assert request.delivered == (200 if kind in {"latency", "drip"} else 0)
    assert (request.status == 200) == bool(effects)


@pytest.mark.asyncio
async def test_a_wrong_status_is_not_upstreams() -> None:
    async with struck(wrong_status=1.0) as there:
        status, body = await there.allocate()
        assert status in {500, 502, 503, 504, 520}
        assert body.startswith(b"<html>")
    assert there.history.requests[0].delivered == 0


@pytest.mark.asyncio
async def test_a_late_effect_comes_after_the_reset_and_within_the_settle_time() -> None:
    async with struck(late_effect=1.0) as there:
        assert (await there.allocate())[0] == 0
        assert there.allocations() == []
        await there.wire.quiet()
        assert there.allocations() == [TRACE]
    (request,) = there.history.requests
    assert request.forwarded is not None
    assert 0 < request.ended - request.arrived < request.forwarded - request.arrived < there.history.run.settle


@pytest.mark.asyncio
async def test_a_slow_body_begins_at_once() -> None:
    async with struck(drip=1.0) as there:
        url = f"http://127.0.0.1:{there.wire.ports[0]}/pro/shipments/{SHIPMENT}/allocate"
        async with there.http.put(url, headers=HEADERS) as answer:
            head_at = time.time()
            assert there.history.requests == []
            assert b'"allocated"' in await answer.read()
    (request,) = there.history.requests
    assert request.answered is not None
    assert request.answered <= head_at < request.ended


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["hang", "reset_after", "garbage", "half_a_response"])
async def test_it_is_over_when_the_gateway_leaves(kind: str) -> None:
    async with struck(longest=1e6, **{kind: 1.0}) as there:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(there.allocate(), 0.5)
        _, pending = await asyncio.wait(there.wire._handlers, timeout=10)
        assert not pending
        assert there.allocations() == [TRACE]
    (request,) = there.history.requests
    assert request.ended - request.arrived < 100


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["late effect", "latency"])
async def test_a_request_that_the_machine_has_held_up_past_the_settle_time_is_not_passed_on(kind: str) -> None:
    async with struck(longest=1e6, **{kind.replace(" ", "_"): 1.0}) as there:
        there.wire.latest_effect = there.history.run.settle
        assert (await there.allocate())[0] == 0
        await there.wire.quiet()
        assert there.allocations() == []
    (request,) = there.history.requests
    assert request.forwarded is None


@pytest.mark.asyncio
async def test_the_witness_tells_real_times_whatever_upstreams_clock_shows() -> None:
    history = History(described("test", 1, guard=True, replicas=1))
    async with Witness(history, 1, -3600) as witness:
        before = time.time()
        async with witness.http.put(f"/pro/shipments/{SHIPMENT}/allocate", headers=HEADERS) as answer:
            assert answer.status == 200
            assert before - 3700 < parsedate_to_datetime(answer.headers["Date"]).timestamp() < before - 3500
        after = time.time()
        await witness.testify()
    (effect,) = history.effects
    assert before <= effect.time <= after


def test_the_phases_at_the_defaults_know_them() -> None:
    settings = Settings()
    for api in (settings.ship, settings.consignments):
        assert (api.timeout, api.settle_time) == (DEFAULTS.timeout, DEFAULTS.settle)
    assert settings.claim_lease == DEFAULTS.lease
    assert DEFAULTS.settings() == {}


def test_of_each_order_of_magnitude_there_are_as_many_delays() -> None:
    assert [round(spread(share, 0.01, 100), 6) for share in (0, 0.25, 0.5, 0.75, 1)] == [0.01, 0.1, 1, 10, 100]


@pytest.mark.asyncio
async def test_a_cut_wire_refuses_and_comes_back_at_the_same_place() -> None:
    async with struck() as there:
        cut = asyncio.create_task(there.wire.cut(0.3, touched=1))
        # It is down once the task has begun.
        await asyncio.sleep(0)
        assert (await there.allocate())[0] == 0
        await cut
        assert (await there.allocate())[0] == 200
    assert [incident.kind for incident in there.history.incidents] == ["upstream restarted"]


@pytest.mark.asyncio
async def test_a_plan_is_the_same_for_the_same_seed() -> None:
    rates = Rates(writes=dict.fromkeys(KINDS, 0.1))

    def decisions(seed: int) -> list[Any]:
        plan = Plan(described("phase", seed, guard=True, replicas=1), rates)
        return [list(plan.sessions(20)), [plan.strike(TRACE, writes=True, nth=nth) for nth in range(20)]]

    assert decisions(1) == decisions(1)
    assert decisions(1) != decisions(2)
