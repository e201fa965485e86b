"""Waves of shipments: each is allocated once, whatever happens to the call that asks for it."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from allocation.v1 import core_pb2, job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.rpc import error_details_pb2
from streams.conftest import reset, running_scene, shipment
from streams.waves import ALLOCATED, LONG, QUEUED, Wave, carried_out, messages, new_job
from support.status import failure, failure_of
from support.workers import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.conftest import Scene
    from support.sandbox import Sandbox

WAVE = [shipment(number) for number in range(1, 1_001)]
SMALL = WAVE[:250]
BULK = "PUT /shipments/allocate"
READ = "GET /shipments/{reference}"


def allocate(scene: Scene, requests: Any) -> Wave:
    return carried_out(scene.shipments.AllocateShipmentStream, requests)


def assert_each_once(scene: Scene, references: Sequence[str]) -> None:
    """The journal has one allocation of each of them, and of nothing else."""
    assert scene.sandbox.all_bookings() == dict.fromkeys(references, (1, 0))


def test_a_wave_of_a_thousand_is_allocated(scene: Scene) -> None:
    job = new_job()
    wave = allocate(scene, messages(WAVE, job))
    assert wave.error is None
    assert wave.job.job_id == job
    assert wave.kinds() == {"allocation": 1_000}
    assert_each_once(scene, WAVE)
    for reference, (told,) in wave.outcomes.items():
        assert told.request_id == str(uuid.uuid5(uuid.UUID(job), reference))
        assert told.allocation.shipment_reference == reference
        assert told.allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATED
        assert told.allocation.reconciled
        assert told.allocation.price.gross.units > 0
    progress = wave.summary.progress
    assert (progress.received, progress.sent, progress.allocated) == (1_000, 1_000, 1_000)
    assert (progress.queued, progress.refused, progress.unknown, progress.repeated) == (0, 0, 0, 0)
    counts = scene.requests()
    assert wave.summary.bulk_calls == counts[BULK] <= 14, "a hundred in each, but for the last of what has come"
    assert wave.summary.readings == counts[READ] < 4 * len(WAVE)


def test_queued_is_enough_if_the_caller_says_so(scene: Scene) -> None:
    wave = allocate(scene, messages(SMALL, new_job(), QUEUED))
    assert wave.kinds() == {"queued": 250}
    assert wave.summary.progress.queued == 250
    assert wave.summary.readings == 0
    # What another job has had queued is read before it is sent, once.
    assert scene.requests().get(READ, 0) in {0, 250}


def test_a_job_that_is_begun_again_sends_nothing_again(scene: Scene) -> None:
    """Also if its items come in another order, and in messages of another size."""
    job = new_job()
    first = allocate(scene, messages(SMALL[:130], job, QUEUED, chunk=37))
    assert first.kinds() == {"queued": 130}
    before = scene.requests()[BULK]
    shuffled = sorted(SMALL, key=lambda name: name[::-1])
    again = allocate(scene, messages(shuffled, job, ALLOCATED, chunk=11))
    assert again.kinds() == {"allocation": 250}
    assert_each_once(scene, SMALL)
    sent = scene.requests()[BULK]
    assert sent > before
    last = allocate(scene, messages(SMALL, job))
    assert last.kinds() == {"allocation": 250}
    assert scene.requests()[BULK] == sent
    assert last.summary.bulk_calls == 0
    ids = {name: told[0].request_id for name, told in first.outcomes.items()}
    assert ids == {name: last.outcomes[name][0].request_id for name in ids}


def test_an_item_is_the_bulk_call_of_one_with_its_id(scene: Scene) -> None:
    """Who has the id of an item can ask for it without a stream."""
    job = new_job()
    (reference,) = SMALL[:1]
    asked = pb.AllocateShipmentsRequest(shipments=[reference], request_id=str(uuid.uuid5(uuid.UUID(job), reference)))
    assert scene.shipments.AllocateShipments(asked).queued == [reference]
    assert allocate(scene, messages([reference], job)).kinds() == {"allocation": 1}
    assert scene.requests()[BULK] == 1


def test_what_may_have_been_sent_with_others_is_never_denied(scene: Scene) -> None:
    """Also to whoever asks for an item without the stream, and waits for less."""
    answer = {"type": "latency", "seconds": 1.8, "when": "before"}
    scene.sandbox.call("POST", "faults", {"match": {"path": BULK.split()[1]}, "count": 1, "action": answer})
    job = new_job()
    call = scene.shipments.AllocateShipmentStream(messages(SMALL[:2], job, QUEUED), timeout=LONG)
    assert next(call).WhichOneof("content") == "job"
    wait_until(lambda: scene.requests().get(BULK, 0) > 0, "nothing was sent")
    request_id = str(uuid.uuid5(uuid.UUID(job), SMALL[0]))
    asked = pb.AllocateShipmentsRequest(shipments=SMALL[:1], request_id=request_id)
    told = failure(lambda: scene.shipments.AllocateShipments(asked, timeout=0.8))
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert sum(len(response.results.results) for response in call) == 2


def test_a_caller_that_breaks_off_goes_on_with_the_same_job(scene: Scene) -> None:
    job = new_job()
    call = scene.shipments.AllocateShipmentStream(messages(WAVE, job))
    broken = Wave()
    for response in call:
        broken.take(response)
        if broken.outcomes:
            break
    call.cancel()
    assert len(broken.outcomes) < len(WAVE), "too late to show anything"
    again = allocate(scene, messages(WAVE, job))
    assert again.kinds() == {"allocation": 1_000}
    assert_each_once(scene, WAVE)


def test_what_is_not_as_it_must_be_is_refused_for_itself(scene: Scene) -> None:
    good = SMALL[:20]

    def requests() -> Any:
        yield from messages([*good[:10], "", good[0], good[1].upper(), "sp_" + "9" * 32], new_job())
        yield pb.AllocateShipmentStreamRequest(
            items=[pb.ShipmentItem(shipment_reference=f"x{number}") for number in range(1_001)]
        )
        yield pb.AllocateShipmentStreamRequest(
            job=job_pb2.AllocationJob(job_id=new_job()), items=[pb.ShipmentItem(shipment_reference=good[10])]
        )
        yield pb.AllocateShipmentStreamRequest(items=[pb.ShipmentItem(shipment_reference=name) for name in good[10:]])

    wave = allocate(scene, requests())
    assert wave.kinds() == {"allocation": 20, "refusal": 2}
    assert wave.reason("") == "INVALID_REQUEST"
    assert wave.reason("sp_" + "9" * 32) == "SHIPMENT_NOT_FOUND"
    violated = error_details_pb2.BadRequest()
    wave.outcomes[""][0].refusal.details[1].Unpack(violated)
    assert [one.field for one in violated.field_violations] == ["items[10].shipment_reference"]
    assert wave.repeated == [good[0], good[1].upper()]
    assert [one.message_index for one in wave.refused] == [2, 3]
    fields: list[str] = []
    for one in wave.refused:
        violated = error_details_pb2.BadRequest()
        one.status.details[1].Unpack(violated)
        fields.extend(violation.field for violation in violated.field_violations)
    assert fields == ["items[1000]", "job"]
    assert wave.summary.progress.refused == 2
    assert_each_once(scene, good)


def too_many(count: int) -> Any:
    """Returns a message of as many items as no message may have."""
    return pb.AllocateShipmentStreamRequest(
        items=[pb.ShipmentItem(shipment_reference=f"sp_{number:032d}") for number in range(count)]
    )


def test_a_message_of_more_bytes_than_allowed_is_refused_for_itself(shared_sandbox: Sandbox) -> None:
    """It is not kept, and the call goes on: with what comes after it, and also if it unpacks to as much."""
    reset(shared_sandbox)

    def requests() -> Any:
        yield from messages(SMALL[:10], new_job(), QUEUED)
        # All references of a wave in one message; and far more than any window holds.
        for count, name in ((10_000, SMALL[10]), (200_000, SMALL[11])):
            yield too_many(count)
            yield pb.AllocateShipmentStreamRequest(items=[pb.ShipmentItem(shipment_reference=name)])

    with running_scene(shared_sandbox) as scene:
        allocate_stream = scene.shipments.AllocateShipmentStream
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            reset(shared_sandbox)
            wave = Wave()
            wave.take_all(allocate_stream(requests(), timeout=LONG, compression=compression))
            assert wave.kinds() == {"queued": 12}
            assert [one.message_index for one in wave.refused] == [2, 4]
            for one in wave.refused:
                assert one.status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
                assert "262144 bytes" in one.status.message
                violated = error_details_pb2.BadRequest()
                one.status.details[1].Unpack(violated)
                assert [violation.field for violation in violated.field_violations] == ["items"]
        # A first message says what the job is. And there is an end to what is passed over.
        first = failure(lambda: list(allocate_stream(iter([too_many(10_000)]), timeout=LONG)))
        assert first.reason == "INVALID_REQUEST"
        endless = (*messages(SMALL[:1], new_job(), QUEUED), too_many(500_000))
        told = failure(lambda: list(allocate_stream(iter(endless), timeout=LONG)))
        assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_one_item_for_which_upstream_refuses_the_whole_call_does_not_cost_the_others(scene: Scene) -> None:
    # It is no reference of a shipment, which upstream says of the whole request.
    wave = allocate(scene, messages([*SMALL[:99], "no-shipment"], new_job()))
    assert wave.kinds() == {"allocation": 99, "refusal": 1}
    assert wave.reason("no-shipment") == "INVALID_REQUEST"
    assert_each_once(scene, SMALL[:99])


def test_a_refusal_for_how_something_stands_shows_what_is_there(scene: Scene) -> None:
    """As it does to a single call."""
    scene.sandbox.call("PUT", "switches", {"ship": {"guard": True}})
    there, *others = SMALL[:3]
    asked = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=there, service_group="exampleSG123")
    made = scene.shipments.AllocateShipmentWithServiceGroup(asked).allocation
    wave = allocate(scene, messages([there, *others], new_job(), QUEUED))
    assert wave.kinds() == {"queued": 2, "refusal": 1}
    assert wave.reason(there) == "INVALID_STATE"
    found = core_pb2.Allocation()
    assert any(detail.Unpack(found) for detail in wave.outcomes[there][0].refusal.details)
    assert (found.shipment_reference, found.carrier) == (there, made.carrier)
    assert found.price == made.price


def test_each_item_may_have_a_selector_of_its_own(scene: Scene) -> None:
    service = "FF_DPD_Sunday_103386"
    own = job_pb2.AllocationSelector(carrier_service_reference=service)

    def requests() -> Any:
        yield pb.AllocateShipmentStreamRequest(
            job=job_pb2.AllocationJob(selector=job_pb2.AllocationSelector(service_group="exampleSG123")),
            items=[
                pb.ShipmentItem(shipment_reference=name, selector=own if index % 2 else None)
                for index, name in enumerate(SMALL[:60])
            ],
        )

    wave = allocate(scene, requests())
    assert wave.kinds() == {"allocation": 60}
    chosen = {name: told[0].allocation.carrier.service_reference for name, told in wave.outcomes.items()}
    assert {chosen[name] for name in SMALL[1:60:2]} == {service}
    assert service not in {chosen[name] for name in SMALL[:60:2]}
    assert scene.writes() == 2


@pytest.mark.slow
def test_lost_answers_are_read_and_nothing_is_sent_twice(scene: Scene) -> None:
    fault = {"match": {"path": BULK.split()[1]}, "count": 2, "action": {"type": "drop", "when": "after"}}
    scene.sandbox.call("POST", "faults", fault)
    wave = allocate(scene, messages(SMALL, new_job()))
    assert wave.kinds() == {"allocation": 250}
    assert_each_once(scene, SMALL)
    assert scene.requests()[BULK] <= 4


@pytest.mark.slow
def test_what_was_lost_before_it_had_an_effect_is_sent_again(scene: Scene) -> None:
    fault = {"match": {"path": BULK.split()[1]}, "count": 1, "action": {"type": "drop", "when": "before"}}
    scene.sandbox.call("POST", "faults", fault)
    wave = allocate(scene, messages(SMALL[:20], new_job()))
    assert wave.kinds() == {"allocation": 20}
    assert_each_once(scene, SMALL[:20])


@pytest.mark.slow
def test_an_upstream_that_throttles_is_waited_for(scene: Scene) -> None:
    answer = {"type": "status", "status": 429, "body": {}, "headers": {"retry-after": "1"}, "when": "before"}
    scene.sandbox.call("POST", "faults", {"match": {"path": BULK.split()[1]}, "count": 2, "action": answer})
    wave = allocate(scene, messages(WAVE, new_job()))
    assert wave.kinds() == {"allocation": 1_000}
    assert_each_once(scene, WAVE)
    assert scene.requests()[BULK] <= 20, "batches are sent again whole, and not item by item"


@pytest.mark.slow
def test_a_deadline_says_which_job_to_go_on_with(scene: Scene) -> None:
    answer = {"type": "latency", "seconds": 1.8, "when": "before"}
    scene.sandbox.call("POST", "faults", {"match": {"path": BULK.split()[1]}, "count": None, "action": answer})
    job = new_job()
    wave = carried_out(scene.shipments.AllocateShipmentStream, messages(SMALL, job), timeout=1.5)
    assert wave.error is not None
    told = failure_of(wave.error)
    assert (told.code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert told.metadata["job_id"] == job
    scene.sandbox.call("DELETE", "faults")
    assert allocate(scene, messages(SMALL, job)).kinds() == {"allocation": 250}
    assert_each_once(scene, SMALL)


@pytest.mark.slow
def test_an_outage_ends_the_call_and_fails_no_item(shared_sandbox: Sandbox) -> None:
    reset(shared_sandbox)
    answer = {"type": "status", "status": 503, "body": {}, "when": "before"}
    shared_sandbox.call("POST", "faults", {"match": {"method": "PUT"}, "count": None, "action": answer})
    with running_scene(shared_sandbox, STREAM_OUTAGE_TIME="1", SHIP_SETTLE_TIME="2", SHIP_TIMEOUT="2") as scene:
        job = new_job()
        wave = allocate(scene, messages(SMALL, job))
        assert wave.error is not None
        told = failure_of(wave.error)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert told.metadata["job_id"] == job
        assert told.detail(error_details_pb2.RetryInfo)
        assert wave.outcomes == {}
        shared_sandbox.call("DELETE", "faults")
        # The breaker lets nothing pass for some seconds more.
        for _ in range(30):
            again = allocate(scene, messages(SMALL, job))
            if again.error is None:
                break
            assert failure_of(again.error).code is grpc.StatusCode.UNAVAILABLE
        assert again.kinds() == {"allocation": 250}
        assert_each_once(scene, SMALL)


def test_a_first_message_that_is_not_valid_fails_the_call(scene: Scene) -> None:
    wave = allocate(scene, [pb.AllocateShipmentStreamRequest(job=job_pb2.AllocationJob(job_id="wave 7"))])
    assert wave.error is not None
    assert failure_of(wave.error).reason == "INVALID_REQUEST"


def test_no_items_are_a_job_too(scene: Scene) -> None:
    assert allocate(scene, []).summary.progress == job_pb2.AllocationProgress()


def test_ids_that_do_not_come_from_the_job_would_be_noticed(shared_sandbox: Sandbox) -> None:
    """The test of a job that is begun again fails for a gateway whose items have ids of their own each time."""
    reset(shared_sandbox)
    command = (sys.executable, "-m", "streams.broken")
    with running_scene(shared_sandbox, command=command) as scene, pytest.raises(AssertionError):
        test_a_job_that_is_begun_again_sends_nothing_again(scene)
