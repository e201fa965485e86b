"""What is said of a write whose answer was lost: OK of what it did, a denial of what is proved, else that nobody knows.

The time-outs here are longer than the tolerances, as they are by default.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.writes.clocks import NOT_OWN_TOLERANCE, TOLERANCE
from support.front import LONG
from support.status import failure, failure_of
from support.upstream import Reply
from support.workers import wait_until
from support.world import DROPPED, HELD, LOST, TWICE, TWICE_LATE
from writes.conftest import running_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.status import Failure
    from writes.conftest import Scene

pytestmark = pytest.mark.slow

# Seconds that upstream has for an answer: more than the tolerance and the second that dates leave out.
PATIENT: Final = TOLERANCE + 1.5
# More readings than are made in the first moment.
MANY_READINGS: Final = 7
SLOW: Final = {"SHIP_TIMEOUT": str(PATIENT), "SHIP_SETTLE_TIME": str(PATIENT)}


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    with running_scene(**SLOW) as running:
        yield running


@pytest.fixture
def patient(shared: Scene) -> Iterator[Scene]:
    """A gateway whose time-out is longer than every tolerance, in front of a world with the right time."""
    shared.world.written.clear()
    yield shared
    shared.world.clock_offset = 0.0
    shared.world.is_dated = True
    shared.world.readable = True
    shared.world.unreadable = Reply(503)
    shared.world.queues = False
    shared.world.age = 0
    shared.world.release.set()
    shared.world.release.clear()


def request(reference: str = "") -> pb.AllocateShipmentRequest:
    return pb.AllocateShipmentRequest(
        shipment_reference=reference or f"sp_{uuid.uuid4()}", request_id=str(uuid.uuid4())
    )


def allocate(scene: Scene, asked: pb.AllocateShipmentRequest) -> core_pb2.Allocation:
    return scene.stub.AllocateShipment(asked, timeout=LONG).allocation


def left_in_doubt(scene: Scene, ask: Callable[[], Any]) -> None:
    """Makes a call whose outcome cannot be read."""
    scene.world.readable = False
    told = failure(ask)
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    scene.world.readable = True


def settled(ask: Callable[[], Any]) -> Any:
    """Returns what comes of a call, or how it failed, as soon as it is told what became of it for good."""
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        try:
            return ask()
        except grpc.RpcError as error:
            told = failure_of(error)
            if told.code is not grpc.StatusCode.ABORTED and "Repeat the call" not in told.message:
                return told
    raise AssertionError("nobody says what became of it")


def refused(scene: Scene, asked: pb.AllocateShipmentRequest) -> Failure:
    return failure(lambda: allocate(scene, asked))


def wait_for_end(scene: Scene, request_id: str) -> None:
    """Waits until a write has ended whose call has: it may go on without its caller."""
    gateway = scene.front.gateway
    gateway.wait_for("call", LONG, request_id=request_id)
    detached = {line.get("request_id") for line in list(gateway.lines) if line.get("event") == "write_detached"}
    if request_id in detached:
        gateway.wait_for("detached_write_failed", LONG, request_id=request_id)


@pytest.mark.parametrize("offset", [0.0, 3_600.0, -7_200.0])
def test_a_booking_whose_answer_never_came_is_not_denied(patient: Scene, offset: float) -> None:
    """It was made longer ago than any tolerance when the time-out is over, whatever upstream's clock shows."""
    patient.world.clock_offset = offset
    patient.world.fates.put(HELD)
    asked = request()
    got = allocate(patient, asked)
    assert (got.reconciled, got.state) == (True, core_pb2.SHIPMENT_STATE_ALLOCATED)
    assert patient.world.bookings[asked.shipment_reference] == 1
    assert allocate(patient, asked) == got


def test_a_booking_that_another_write_is_known_to_have_made_is_not_taken_for_this_ones(patient: Scene) -> None:
    """Both at about the same time, on one shipment, and the answer of the second is lost: only one has booked."""
    first = request()
    assert not allocate(patient, first).reconciled
    second = request(first.shipment_reference)
    patient.world.fates.put(DROPPED)
    told = refused(patient, second)
    assert (told.reason, told.metadata["effect"]) == ("INVALID_STATE", "none")
    assert told.detail(core_pb2.Allocation) is not None
    assert patient.world.bookings[first.shipment_reference] == 1


def test_a_booking_after_a_deallocation_is_the_later_writes_own(patient: Scene) -> None:
    first = request()
    allocate(patient, first)
    patient.world.carry_out("DELETE", first.shipment_reference)  # past the gateway, which knows of the first one alone
    patient.world.fates.put(LOST)
    assert allocate(patient, request(first.shipment_reference)).reconciled


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (TOLERANCE + 3, "OUTCOME_UNKNOWN"),
        (NOT_OWN_TOLERANCE - 1, "OUTCOME_UNKNOWN"),
        (NOT_OWN_TOLERANCE + 3, "INVALID_STATE"),
    ],
)
def test_somebody_elses_booking_is_never_taken_for_ones_own(patient: Scene, age: float, reason: str) -> None:
    """That it is somebody else's is only said if it is older than every tolerance. It is a detail in any case."""
    asked = request()
    patient.world.carry_out("PUT", asked.shipment_reference, date=patient.world.now(-age).isoformat())
    patient.world.fates.put(DROPPED)
    told = refused(patient, asked)
    assert told.reason == reason
    assert told.detail(core_pb2.Allocation) is not None
    assert refused(patient, asked).reason == reason
    later = request(asked.shipment_reference)
    told = refused(patient, later)
    while told.code is grpc.StatusCode.ABORTED:
        # As long as what was sent first may still arrive, nothing else is sent.
        told = refused(patient, later)
    assert (told.reason, told.metadata["effect"]) == ("INVALID_STATE", "none"), "upstream itself refuses that"


def test_an_upstream_without_a_date_leaves_it_unknown(patient: Scene) -> None:
    """Its clock is not ours, and nothing else tells when the allocation was made."""
    patient.world.is_dated = False
    patient.world.fates.put(LOST)
    told = refused(patient, request())
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert told.detail(core_pb2.Allocation) is not None


def test_what_was_read_before_the_write_tells_without_any_clock() -> None:
    with running_scene(**SLOW, SHIP_READ_BEFORE_WRITE="true") as scene:
        scene.world.is_dated = False
        scene.world.fates.put(LOST)
        assert allocate(scene, request()).reconciled
        asked = request()
        scene.world.carry_out("PUT", asked.shipment_reference)
        scene.world.fates.put(DROPPED)
        told = refused(scene, asked)
        assert (told.reason, told.metadata["effect"]) == ("INVALID_STATE", "none")


def test_a_refusal_of_what_a_proxy_sent_twice_is_not_believed(patient: Scene) -> None:
    """The first copy has booked, and the answer is the refusal of the second."""
    patient.world.fates.put(TWICE)
    asked = request()
    told = refused(patient, asked)
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert told.detail(core_pb2.Allocation) is not None
    assert refused(patient, asked).reason == "OUTCOME_UNKNOWN"
    assert patient.world.bookings[asked.shipment_reference] == 1


@pytest.mark.parametrize(
    "answer",
    [
        *map(Reply, (503, 429, 500, 401, 403, 407, 405, 400)),
        Reply(404, {"code": "not_found", "details": [{"code": "shipment_not_found"}]}),
        Reply(200, b"{"),
        Reply(200, {"state": "allocated", "price": 1}),
        Reply(200, {"state": "allocating"}),
        Reply(200, {"state": "being_born"}),
    ],
    ids=lambda answer: f"{answer.status} {answer.body}",
)
def test_a_refusal_of_what_was_sent_twice_is_not_believed_while_it_cannot_be_read(
    answer: Reply, patient: Scene
) -> None:
    patient.world.readable, patient.world.unreadable = False, answer
    patient.world.fates.put(TWICE)
    asked = request()
    told = failure(lambda: patient.stub.AllocateShipment(asked, timeout=1.0))
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    # The write is read for as long as its caller waits: a repeat before it has ended would join it.
    wait_for_end(patient, asked.request_id)
    patient.world.readable = True
    assert allocate(patient, asked).reconciled
    assert patient.world.bookings[asked.shipment_reference] == 1


def test_what_stands_where_a_write_was_refused_is_read_again_while_its_caller_waits(patient: Scene) -> None:
    """Its upstream goes away after the refusal, and comes back: nobody has to ask again for that."""
    world, asked = patient.world, request()
    world.carry_out("PUT", asked.shipment_reference, date=world.now(-3_600.0).isoformat())
    world.readable, unread = False, world.unread
    call = patient.stub.AllocateShipment.future(asked, timeout=LONG)
    wait_until(lambda: world.unread - unread >= MANY_READINGS, "it is not read again")
    world.readable = True
    told = failure(call.result)
    assert (told.reason, told.metadata["effect"]) == ("INVALID_STATE", "none")
    assert len(world.written) == 1


def test_a_refusal_is_not_believed_while_the_first_copy_is_still_at_work(patient: Scene) -> None:
    """What was sent twice is refused, and reading it shows nothing yet."""
    patient.world.fates.put(TWICE_LATE)
    asked = request()
    told = refused(patient, asked)
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    patient.world.land()
    assert settled(lambda: allocate(patient, asked)).reconciled
    assert patient.world.bookings[asked.shipment_reference] == 1


def test_a_refusal_that_is_being_looked_into_is_not_believed_since_its_caller_leaves(patient: Scene) -> None:
    patient.world.readable, patient.world.unreadable = False, Reply(503, wait=patient.world.release)
    patient.world.fates.put(TWICE)
    asked = request()
    call = patient.stub.AllocateShipment.future(asked, timeout=LONG)
    assert patient.world.read.wait(LONG)
    call.cancel()
    patient.world.release.set()
    patient.world.readable = True
    told = settled(lambda: allocate(patient, asked))
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert told.detail(core_pb2.Allocation) is not None
    assert len(patient.world.written) == 1


def test_what_upstream_has_failed_to_allocate_and_does_not_try_again_is_refused(patient: Scene) -> None:
    """Also after an attempt of which nothing was heard: that it has failed is why it is refused."""
    asked = request()
    patient.world.fail(asked.shipment_reference)
    told = refused(patient, asked)
    assert (told.reason, told.metadata["effect"]) == ("INVALID_STATE", "none")
    patient.world.fates.put(DROPPED)
    told = refused(patient, asked)
    assert (told.reason, told.metadata["effect"]) == ("INVALID_STATE", "none")


def test_a_refusal_of_what_was_sent_twice_is_not_believed_beside_a_queued_allocation_either(patient: Scene) -> None:
    """What is there may be its own, or that of the write whose turn has come."""
    patient.world.queues = True
    asked = request()
    bulk = pb.AllocateShipmentsRequest(shipments=[asked.shipment_reference], request_id=str(uuid.uuid4()))
    patient.stub.AllocateShipments(bulk, timeout=LONG)
    patient.world.queues = False
    patient.world.fates.put(TWICE)
    told = refused(patient, asked)
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")


def test_what_was_cancelled_after_a_lost_answer_is_not_said_never_to_have_been_allocated(patient: Scene) -> None:
    asked, taken_back = request(), request()
    patient.world.fates.put(LOST)
    left_in_doubt(patient, lambda: patient.stub.AllocateShipment(asked, timeout=TOLERANCE))
    allocate(patient, taken_back)
    undo = pb.DeallocateShipmentRequest(shipment_reference=taken_back.shipment_reference, request_id=str(uuid.uuid4()))
    patient.world.fates.put(LOST)
    left_in_doubt(patient, lambda: patient.stub.DeallocateShipment(undo, timeout=TOLERANCE))
    for one in (asked, taken_back):
        patient.world.cancel(one.shipment_reference)
    for ask in (lambda: allocate(patient, asked), lambda: patient.stub.DeallocateShipment(undo, timeout=LONG)):
        told = settled(ask)
        assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
        assert "cancelled" in told.message


def test_what_the_portal_allocates_when_a_lost_write_can_do_nothing_any_more_is_not_adopted(patient: Scene) -> None:
    asked = request()
    patient.world.fates.put(DROPPED)
    left_in_doubt(patient, lambda: patient.stub.AllocateShipment(asked, timeout=TOLERANCE))
    later = patient.world.now() + timedelta(hours=2)
    patient.world.carry_out("PUT", asked.shipment_reference, date=later.isoformat())
    told = settled(lambda: allocate(patient, asked))
    assert (told.reason, told.metadata["effect"]) == ("INVALID_STATE", "none")


def test_a_deallocation_does_not_take_back_what_was_allocated_after_it(patient: Scene) -> None:
    """Its answer was lost, and somebody has allocated the shipment again since."""
    asked = request()
    allocate(patient, asked)
    undo = pb.DeallocateShipmentRequest(shipment_reference=asked.shipment_reference, request_id=str(uuid.uuid4()))
    patient.world.fates.put(LOST)
    left_in_doubt(patient, lambda: patient.stub.DeallocateShipment(undo, timeout=TOLERANCE))
    again = patient.world.now() + timedelta(hours=1)
    patient.world.carry_out("PUT", asked.shipment_reference, date=again.isoformat())
    written = len(patient.world.written)
    told = settled(lambda: patient.stub.DeallocateShipment(undo, timeout=LONG))
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert len(patient.world.written) == written, "it was sent again"


def test_a_deallocation_does_not_take_back_what_comes_out_of_the_queue_after_it(patient: Scene) -> None:
    """Its answer was lost, and another write is known to have had the shipment queued: its turn may just have come."""
    patient.world.queues = True
    asked = request()
    bulk = pb.AllocateShipmentsRequest(shipments=[asked.shipment_reference], request_id=str(uuid.uuid4()))
    patient.stub.AllocateShipments(bulk, timeout=LONG)
    patient.world.land()
    undo = pb.DeallocateShipmentRequest(shipment_reference=asked.shipment_reference, request_id=str(uuid.uuid4()))
    patient.world.fates.put(LOST)
    left_in_doubt(patient, lambda: patient.stub.DeallocateShipment(undo, timeout=TOLERANCE))
    patient.world.carry_out("PUT", asked.shipment_reference)
    written = len(patient.world.written)
    told = settled(lambda: patient.stub.DeallocateShipment(undo, timeout=LONG))
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert len(patient.world.written) == written, "it was sent again"


def test_what_was_read_before_a_deallocation_tells_what_it_was_about() -> None:
    """Without any clock: it is sent again against the same allocation, and not against a new one."""
    with running_scene(**SLOW, SHIP_READ_BEFORE_WRITE="true") as scene:
        scene.world.is_dated = False
        asked = request()

        def undo() -> pb.DeallocateShipmentRequest:
            allocate(scene, request(asked.shipment_reference))
            scene.world.written.clear()
            return pb.DeallocateShipmentRequest(
                shipment_reference=asked.shipment_reference, request_id=str(uuid.uuid4())
            )

        never_carried_out = undo()
        scene.world.fates.put(DROPPED)
        scene.stub.DeallocateShipment(never_carried_out, timeout=LONG)
        assert len(scene.world.written) == 2
        unanswered = undo()
        scene.world.fates.put(HELD)
        call = scene.stub.DeallocateShipment.future(unanswered, timeout=LONG)
        assert scene.world.arrived.wait(LONG)
        again = scene.world.now() + timedelta(seconds=1)
        scene.world.carry_out("PUT", asked.shipment_reference, date=again.isoformat())
        told = failure(call.result)
        assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
        assert len(scene.world.written) == 1
        scene.world.release.set()


def test_a_cached_answer_is_no_reading(patient: Scene) -> None:
    """It shows what was so before, at the time of its own `Date`."""
    patient.world.age = 60
    patient.world.fates.put(LOST)
    asked = request()
    told = failure(lambda: patient.stub.AllocateShipment(asked, timeout=TOLERANCE))
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    patient.world.age = 0
    assert settled(lambda: allocate(patient, asked)).reconciled


def test_what_another_write_has_queued_is_not_taken_for_ones_own(patient: Scene) -> None:
    """Its turn comes when this write's answer is lost: the date tells nothing, and only one has booked."""
    patient.world.queues = True
    asked = request()
    bulk = pb.AllocateShipmentsRequest(shipments=[asked.shipment_reference], request_id=str(uuid.uuid4()))
    assert list(patient.stub.AllocateShipments(bulk, timeout=LONG).queued) == [asked.shipment_reference]
    patient.world.fates.put(DROPPED)
    told = failure(lambda: patient.stub.AllocateShipment(asked, timeout=TOLERANCE))
    assert told.reason == "OUTCOME_UNKNOWN"
    patient.world.land()
    told = settled(lambda: allocate(patient, asked))
    assert (told.reason, told.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
    assert told.detail(core_pb2.Allocation) is not None
    assert patient.world.bookings[asked.shipment_reference] == 1
