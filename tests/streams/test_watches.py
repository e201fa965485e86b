"""Watching how shipments and consignments stand: all at once, then each change, until all are final."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.rpc import error_details_pb2
from streams.conftest import consignment, reset, running_scene, shipment
from streams.waves import LONG, messages, new_job
from support.status import failure

if TYPE_CHECKING:
    from streams.conftest import Scene
    from support.sandbox import Sandbox

NAMES = [shipment(number) for number in range(1, 21)]
READ = "GET /shipments/{reference}"


def watch(scene: Scene, names: list[str], timeout: float = LONG) -> Any:
    asked = pb.WatchShipmentAllocationsRequest(shipment_references=names)
    return scene.shipments.WatchShipmentAllocations(asked, timeout=timeout)


def told_first(call: Any, count: int) -> dict[str, Any]:
    """Takes messages until so many have been told."""
    standing: dict[str, Any] = {}
    while len(standing) < count:
        standing.update((one.shipment_reference, one) for one in next(call).shipments)
    return standing


def test_each_change_is_told_until_all_are_final(scene: Scene) -> None:
    call = watch(scene, NAMES)
    first = told_first(call, len(NAMES))
    assert {one.allocation.state for one in first.values()} == {core_pb2.SHIPMENT_STATE_UNALLOCATED}
    assert not any(one.final for one in first.values())
    scene.shipments.AllocateShipments(pb.AllocateShipmentsRequest(shipments=NAMES))
    final: dict[str, Any] = {}
    pending = []
    for response in call:
        pending.append(response.pending)
        for one in response.shipments:
            assert one.shipment_reference not in final, "nothing is told of what is final"
            if one.final:
                final[one.shipment_reference] = one
    assert sorted(final) == NAMES
    assert {one.allocation.state for one in final.values()} == {core_pb2.SHIPMENT_STATE_ALLOCATED}
    assert all(one.allocation.carrier.service_reference for one in final.values())
    assert pending[-1] == 0


def test_each_is_read_once_however_many_watch_it(scene: Scene) -> None:
    scene.shipments.AllocateShipments(pb.AllocateShipmentsRequest(shipments=NAMES))
    answer = {"type": "latency", "seconds": 1.0, "when": "after"}
    fault = {"match": {"path": READ.split()[1]}, "count": len(NAMES), "action": answer}
    scene.sandbox.call("POST", "faults", fault)
    ended = []
    watchers = [threading.Thread(target=lambda: ended.append(list(watch(scene, NAMES)))) for _ in range(5)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(LONG)
    assert len(ended) == 5
    for told in ended:
        assert sorted(one.shipment_reference for response in told for one in response.shipments if one.final) == NAMES
    # Once for all who had come by then, once more for those who came while it was read; and once on top if slow.
    assert scene.requests()[READ] <= 3 * len(NAMES)


def test_what_is_not_there_is_final_and_what_is_not_allocated_is_not(scene: Scene) -> None:
    missing = "sp_" + "9" * 32
    (final,) = [one for response in watch(scene, [missing]) for one in response.shipments]
    assert final.final
    assert final.WhichOneof("standing") == "error"
    told = failure(lambda: list(watch(scene, [missing, NAMES[0]], timeout=1.0)))
    assert (told.code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


def test_calls_that_last_leave_room_for_others(shared_sandbox: Sandbox) -> None:
    """However many there are: half of the calls in hand may be such."""
    reset(shared_sandbox)
    with running_scene(shared_sandbox, MAX_CONCURRENT_CALLS="4") as scene:
        lasting = [watch(scene, [name]) for name in NAMES[:2]]
        for call in lasting:
            next(call)
        for refused in (
            lambda: next(watch(scene, NAMES[2:3])),
            lambda: next(scene.shipments.AllocateShipmentStream(messages(NAMES[:1], new_job()), timeout=LONG)),
        ):
            told = failure(refused)
            assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "GATEWAY_OVERLOADED")
            assert told.detail(error_details_pb2.RetryInfo)
        asked = pb.GetShipmentAllocationRequest(shipment_reference=NAMES[0])
        assert scene.shipments.GetShipmentAllocation(asked).allocation.shipment_reference == NAMES[0]
        lasting[0].cancel()
        scene.gateway.wait_for("call", code="CANCELLED")
        next(watch(scene, NAMES[2:3]))


def test_a_request_is_checked(scene: Scene) -> None:
    for names in ([], [NAMES[0], NAMES[0]], [f"sp_{number}" for number in range(1_001)]):
        assert failure(partial(next, watch(scene, names))).reason == "INVALID_REQUEST"


def test_consignments_are_watched_too(scene: Scene) -> None:
    names = [consignment(number) for number in range(1, 6)]
    scene.consignments.AllocateConsignments(consignments_pb.AllocateConsignmentsRequest(consignments=names))
    asked = consignments_pb.WatchConsignmentAllocationsRequest(consignment_references=names)
    told = scene.consignments.WatchConsignmentAllocations(asked, timeout=LONG)
    assert sorted(one.consignment_reference for response in told for one in response.consignments if one.final) == names
