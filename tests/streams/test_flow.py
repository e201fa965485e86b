"""What a stream costs that goes slowly, and how it ends when the gateway does."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.rpc import error_details_pb2
from streams.conftest import ENGINES, SHIPMENTS, reset, running_scene, shipment
from streams.waves import LONG, QUEUED, Wave, carried_out, messages, new_job
from support.status import failure

from bench.processes import resident_kb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sandbox import Sandbox

ALL: Final = [shipment(number) for number in range(1, SHIPMENTS + 1)]
BULK: Final = "PUT /shipments/allocate"
# What a gateway may take, whatever its streams do.
MOST_KB: Final = 150_000


def wait_until_still(value: Any, seconds: float = 1.0) -> int:
    """Waits until a number has not changed for a while, and returns it."""
    end = time.monotonic() + LONG
    last, since = value(), time.monotonic()
    while time.monotonic() - since < seconds:
        assert time.monotonic() < end
        time.sleep(0.05)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return int(last)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_caller_that_does_not_read_holds_up_nobody_but_itself(shared_sandbox: Sandbox, engine: str) -> None:
    reset(shared_sandbox)
    # Refused by the gateway itself, so that nothing but the caller is slow: with 40 MB of outcomes in all.
    refused = ["x" * 300] * 80_000
    with running_scene(shared_sandbox, GRPC_ENGINE=engine) as scene:
        given = 0

        def requests() -> Iterator[Any]:
            nonlocal given
            for message in messages(refused, new_job(), QUEUED):
                yield message
                given += len(message.items)

        call = scene.shipments.AllocateShipmentStream(requests(), timeout=LONG)
        sent = wait_until_still(lambda: given)
        assert sent < len(refused), "all was read of a caller that reads nothing"
        assert resident_kb(scene.gateway.process.pid) < MOST_KB
        other = carried_out(scene.shipments.AllocateShipmentStream, messages(ALL[:10], new_job()))
        assert other.kinds() == {"allocation": 10}
        for response in call:
            if response.WhichOneof("content") == "results":
                break
        call.cancel()


def test_a_drain_ends_a_job_with_its_id(shared_sandbox: Sandbox) -> None:
    reset(shared_sandbox)
    answer = {"type": "latency", "seconds": 0.3, "when": "before"}
    shared_sandbox.call("POST", "faults", {"match": {"path": BULK.split()[1]}, "count": None, "action": answer})
    job = new_job()
    with running_scene(shared_sandbox) as scene:
        call = scene.shipments.AllocateShipmentStream(messages(ALL, job, QUEUED), timeout=LONG)
        wave, is_stopped = Wave(), False

        def take_all() -> None:
            nonlocal is_stopped
            for response in call:
                wave.take(response)
                if wave.outcomes and not is_stopped:
                    is_stopped = True
                    scene.gateway.process.send_signal(signal.SIGTERM)

        told = failure(take_all)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_STOPPING")
        assert told.metadata["job_id"] == job
        assert told.detail(error_details_pb2.RetryInfo)
        assert scene.gateway.process.wait(LONG) == 0
    assert set(wave.kinds()) == {"queued"}
    assert len(wave.outcomes) < len(ALL), "too late to show anything"
    assert all(allocations <= 1 for allocations, _ in shared_sandbox.all_bookings().values())


def test_a_drain_ends_a_watch(shared_sandbox: Sandbox) -> None:
    reset(shared_sandbox)
    with running_scene(shared_sandbox) as scene:
        asked = pb.WatchShipmentAllocationsRequest(shipment_references=ALL[:3])
        call = scene.shipments.WatchShipmentAllocations(asked, timeout=LONG)
        next(call)
        scene.gateway.process.send_signal(signal.SIGTERM)
        told = failure(lambda: list(call))
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_STOPPING")
        assert scene.gateway.process.wait(LONG) == 0
