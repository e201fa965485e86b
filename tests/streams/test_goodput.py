"""How much of what upstream can do a stream gets out of it.

Upstream has so many places, each of which carries out one bulk call at a time, in a fixed time; who finds none free
waits for one. So it is known what it can give: all its places, for as long as the stream lasts. What is measured is for
how long they were at work, on items that no other bulk call was for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.rpc.streams import run as runs
from streams.conftest import TESTS, shipment
from streams.virtual import Scene, Service
from streams.waves import QUEUED, carried_out, messages, new_job
from support.gateway import COMMAND, running_gateway
from support.upstream import Reply, running_upstream
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.upstream import Received

BULK: Final = 100
# Of what upstream can give.
LEAST: Final = 0.9
# So many bulk calls of a stream may be under way: an upstream with as many places shows each moment that is lost.
AS_MANY: Final = 8
# Over real HTTP it has few and slow ones. The gateway works for some hundredths of a second on what takes one of them
# 0.8 s: one on a machine that is ten times slower fills them as well.
PLACES: Final = 2
SERVICE_SECONDS: Final = 0.8
CALLS: Final = 24
FEW_CALLS: Final = 10


def wave(calls: int) -> list[str]:
    """Returns the items of so many bulk calls."""
    return [shipment(number) for number in range(1, calls * BULK + 1)]


def goodput(services: Sequence[Service], places: int) -> float:
    """Returns which part of what places could give they gave, apart from the beginning and the end of the stream.

    That is from when as many bulk calls had begun as there are places, until as many were left.
    """
    services = sorted(services)
    assert len(services) > 3 * places, "too short to show anything"
    first, last = services[places].begun, services[-places].begun
    seen: set[str] = set()
    given = 0.0
    for one in services:
        new = set(one.references) - seen
        seen |= new
        given += max(min(one.ended, last) - max(one.begun, first), 0.0) * len(new) / BULK
    return given / (places * (last - first))


# Over real HTTP.


class Places:
    """What upstream does, and when."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.Semaphore(PLACES)
        # Since when each place is free that is.
        self._free_since = [0.0] * PLACES
        self.services: list[Service] = []

    def answer(self, received: Received) -> Reply:
        """Queues all that a bulk call is for, when there was a place for it."""
        came = time.monotonic()
        references = json.loads(received.body)["shipments"]
        with self._free:
            with self._lock:
                # Who has waited for it begins when it became free, and not when a busy machine gets round to that.
                begun = max(came, self._free_since.pop(0))
            time.sleep(max(begun + SERVICE_SECONDS - time.monotonic(), 0.0))  # it is the work: nobody waits by it
            with self._lock:
                ended = time.monotonic()
                self._free_since.append(ended)
                self.services.append(Service(begun, ended, references))
        return Reply(202, {"message": "m", "queued": references, "rejected": [], "_links": []})


def goodput_of(command: Sequence[str], calls: int) -> float:
    """Returns the goodput of a stream of so many bulk calls through a gateway."""
    places, references = Places(), wave(calls)
    with running_upstream() as upstream:
        upstream.default = places.answer
        settings = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": upstream.url, "SHIP_API_KEY": "key"}
        with (
            running_gateway(settings, command=command, extra={"PYTHONPATH": str(TESTS)}) as gateway,
            grpc.insecure_channel(gateway.address) as channel,
        ):
            call = ShipmentAllocationServiceStub(channel).AllocateShipmentStream
            told = carried_out(call, messages(references, new_job(), QUEUED))
    assert told.error is None
    assert told.kinds() == {"queued": len(references)}
    return goodput(places.services, PLACES)


def test_a_stream_gets_at_least_nine_tenths_of_what_upstream_can_give() -> None:
    assert goodput_of((COMMAND,), CALLS) >= LEAST


def test_a_gateway_with_one_bulk_call_under_way_would_be_noticed() -> None:
    assert goodput_of((sys.executable, "-m", "streams.one_at_a_time"), FEW_CALLS) < LEAST


# In virtual time, in which only what is waited for takes any.


def goodput_in_virtual_time() -> float:
    """Returns the goodput of a stream through the gateway's own parts, with as many places as it may use."""

    async def work() -> float:
        scene, references = Scene(), wave(40)
        scene.ship.places = asyncio.Semaphore(AS_MANY)
        told = await scene.allocate(references, new_job())
        assert told.kinds() == {"queued": len(references)}
        return goodput(scene.ship.services, AS_MANY)

    return run(work())


@pytest.mark.usefixtures("quiet")
def test_no_place_is_left_idle_that_a_stream_may_use() -> None:
    assert goodput_in_virtual_time() >= LEAST


@pytest.mark.usefixtures("quiet")
def test_a_place_that_is_left_idle_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_BATCHES", AS_MANY - 1)
    assert goodput_in_virtual_time() < LEAST
