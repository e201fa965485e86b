"""Waves of consignments: the same job, of the other API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2, job_pb2
from google.rpc import error_details_pb2
from streams.conftest import consignment, reset, running_scene
from streams.waves import Wave, carried_out, new_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.conftest import Scene
    from support.sandbox import Sandbox

WAVE = [consignment(number) for number in range(1, 301)]
BULK = "PUT /allocation/allocate"


def allocate(scene: Scene, references: Sequence[str], job: str, **more: Any) -> Wave:
    items = [pb.ConsignmentItem(consignment_reference=name) for name in references]
    described = job_pb2.AllocationJob(job_id=job, **more)
    requests = [pb.AllocateConsignmentStreamRequest(job=described, items=items)]
    return carried_out(scene.consignments.AllocateConsignmentStream, requests)


def test_a_wave_of_consignments_is_allocated_and_begun_again(scene: Scene) -> None:
    job = new_job()
    first = allocate(scene, WAVE[:150], job)
    assert first.kinds() == {"allocation": 150}
    sent = scene.writes()
    assert sent == 2
    again = allocate(scene, [*WAVE, "EC-000-000-000"], job)
    assert again.kinds() == {"allocation": 300, "refusal": 1}
    assert again.reason("EC-000-000-000") == "CONSIGNMENT_NOT_FOUND"
    assert scene.writes() == sent + 3, "what was answered from its claim takes no place in a bulk call"
    assert scene.sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))
    (told,) = again.outcomes[WAVE[0]]
    assert told.allocation.consignment_reference == WAVE[0]


def test_a_refusal_for_how_something_stands_shows_what_is_there(scene: Scene) -> None:
    there, other = WAVE[:2]
    scene.consignments.AllocateConsignment(pb.AllocateConsignmentRequest(consignment_reference=there))
    wave = allocate(scene, [there, other], new_job(), wait_for=job_pb2.WAIT_FOR_QUEUED)
    assert wave.kinds() == {"allocation": 1, "refusal": 1}
    assert wave.reason(there) == "INVALID_STATE"
    found = pb.ConsignmentAllocation()
    assert any(detail.Unpack(found) for detail in wave.outcomes[there][0].refusal.details)
    assert (found.consignment_reference, found.state) == (there, pb.CONSIGNMENT_STATE_ALLOCATED)
    assert found.price.gross.units > 0


def test_no_bulk_call_has_more_than_it_may(shared_sandbox: Sandbox) -> None:
    reset(shared_sandbox)
    with running_scene(shared_sandbox, CONSIGNMENTS_MAX_REFERENCES="20") as scene:
        assert allocate(scene, WAVE[:60], new_job()).kinds() == {"allocation": 60}
        assert scene.writes() == 3


def test_consignments_have_no_capabilities(scene: Scene) -> None:
    selector = job_pb2.AllocationSelector(
        capabilities=[core_pb2.ServiceCapability(type="proof_of_delivery", value="require")]
    )
    requests = [
        pb.AllocateConsignmentStreamRequest(
            items=[pb.ConsignmentItem(consignment_reference=WAVE[0], selector=selector)],
        )
    ]
    wave = carried_out(scene.consignments.AllocateConsignmentStream, requests)
    assert wave.reason(WAVE[0]) == "INVALID_REQUEST"
    violated = error_details_pb2.BadRequest()
    wave.outcomes[WAVE[0]][0].refusal.details[1].Unpack(violated)
    assert [one.field for one in violated.field_violations] == ["items[0].selector.capabilities"]
