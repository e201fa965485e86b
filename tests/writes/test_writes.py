"""Never twice, never lost: what becomes of a write, and of its repeats, when answers are lost."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import WriteProgress
from support.front import LONG
from support.status import failure
from support.world import DROPPED, FAILED, HIDDEN, LATE, LOST, OVERTAKEN, REFUSED
from writes.conftest import SETTLE, running_scene

if TYPE_CHECKING:
    from support.status import Failure
    from writes.conftest import Scene

# Ends before the settle time has passed.
SHORT = SETTLE * 0.8
PUSHBACK = "grpc-retry-pushback-ms"


def new_id() -> str:
    return str(uuid.uuid4())


def allocation(request_id: str = "") -> pb.AllocateShipmentRequest:
    return pb.AllocateShipmentRequest(shipment_reference=f"sp_{uuid.uuid4()}", request_id=request_id)


def bulk(request_id: str) -> pb.AllocateShipmentsRequest:
    names = [f"sp_{uuid.uuid4()}" for _ in range(3)]
    return pb.AllocateShipmentsRequest(shipments=names, request_id=request_id)


def allocate(scene: Scene, request: pb.AllocateShipmentRequest, timeout: float = LONG) -> core_pb2.Allocation:
    return scene.stub.AllocateShipment(request, timeout=timeout).allocation


def unknown(call: Any) -> Failure:
    found = failure(call)
    assert (found.code, found.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    assert found.metadata["effect"] == "unknown"
    return found


def test_a_repeat_gets_the_same_answer_and_asks_nobody(scene: Scene) -> None:
    """Also after somebody has taken the allocation back: it is the answer of that time."""
    request = allocation(new_id())
    first = allocate(scene, request)
    scene.world.carry_out("DELETE", request.shipment_reference)
    assert allocate(scene, request) == first
    request.request_id = request.request_id.upper()
    assert allocate(scene, request) == first
    assert len(scene.world.written) == 1


def test_repeats_at_the_same_time_share_one_attempt(scene: Scene) -> None:
    request = allocation(new_id())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: allocate(scene, request), range(8)))
    assert answers == [answers[0]] * 8
    assert len(scene.world.written) == 1


def test_another_request_with_a_used_id_is_refused(scene: Scene) -> None:
    """Another shipment, or another rpc for the same one."""
    request = allocation(new_id())
    allocate(scene, request)
    same_id = {"request_id": request.request_id, "shipment_reference": request.shipment_reference}
    for call in (
        lambda: scene.stub.AllocateShipment(allocation(request.request_id), timeout=LONG),
        lambda: scene.stub.DeallocateShipment(pb.DeallocateShipmentRequest(**same_id), timeout=LONG),
    ):
        found = failure(call)
        assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
        assert found.metadata == {"effect": "none"}
    assert len(scene.world.written) == 1


def test_a_refused_write_leaves_its_id_free(scene: Scene) -> None:
    """What stood in its way may have gone by the next time."""
    request = allocation(new_id())
    scene.world.carry_out("PUT", request.shipment_reference, date="2020-07-16T19:20:30Z")
    assert failure(lambda: allocate(scene, request)).reason == "INVALID_STATE"
    scene.world.carry_out("DELETE", request.shipment_reference)
    assert allocate(scene, request).state == core_pb2.SHIPMENT_STATE_ALLOCATED


def test_an_answer_that_is_lost_is_read(scene: Scene) -> None:
    """OK, and it says that it was read."""
    request = allocation(new_id())
    scene.world.fates.put(LOST)
    got = allocate(scene, request)
    assert (got.state, got.reconciled) == (core_pb2.SHIPMENT_STATE_ALLOCATED, True)
    assert allocate(scene, request) == got
    assert len(scene.world.written) == 1


def test_a_write_that_never_arrived_is_sent_again_when_it_can_take_effect_no_more(scene: Scene) -> None:
    request = allocation(new_id())
    scene.world.fates.put(DROPPED)
    unknown(lambda: allocate(scene, request, SHORT))
    assert len(scene.world.written) == 1, "it was sent again although it could still arrive"
    assert allocate(scene, request).state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert (len(scene.world.written), scene.world.bookings[request.shipment_reference]) == (2, 1)


def test_an_effect_that_comes_after_a_reading_is_not_repeated(scene: Scene) -> None:
    """First nobody knows; then it is there, and is the answer to the repeat."""
    request = allocation(new_id())
    scene.world.fates.put(LATE)
    unknown(lambda: allocate(scene, request, SHORT))
    assert scene.world.read.is_set()
    scene.world.land()
    assert allocate(scene, request).reconciled
    assert (len(scene.world.written), scene.world.bookings[request.shipment_reference]) == (1, 1)


def test_a_repeat_while_nothing_can_be_read_stays_unknown(scene: Scene) -> None:
    request = allocation(new_id())
    scene.world.fates.put(LOST)
    scene.world.readable = False
    for _ in range(2):
        unknown(lambda: allocate(scene, request, SHORT))
    scene.world.readable = True
    assert allocate(scene, request).reconciled
    assert len(scene.world.written) == 1


def test_an_allocation_of_somebody_elses_is_not_adopted(scene: Scene) -> None:
    """Neither at a first attempt, nor after an answer that was lost: it is a detail of the refusal."""
    old = "2020-07-16T19:20:30Z"
    request = allocation(new_id())
    scene.world.carry_out("PUT", request.shipment_reference, date=old)
    lost = allocation(new_id())
    scene.world.carry_out("PUT", lost.shipment_reference, date=old)
    refusals = [failure(lambda: allocate(scene, request))]
    scene.world.fates.put(DROPPED)
    refusals.append(failure(lambda: allocate(scene, lost)))
    for found, asked in zip(refusals, (request, lost), strict=True):
        assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_STATE")
        assert found.metadata["effect"] == "none"
        detail = found.detail(core_pb2.Allocation)
        assert detail is not None
        assert (detail.shipment_reference, detail.state) == (
            asked.shipment_reference,
            core_pb2.SHIPMENT_STATE_ALLOCATED,
        )


def test_an_allocation_to_another_service_is_not_adopted(scene: Scene) -> None:
    """It was made at the right time, and is still not what was asked for."""
    reference = f"sp_{uuid.uuid4()}"
    request = pb.AllocateShipmentWithCarrierServiceRequest(
        shipment_reference=reference, carrier_service_reference="FF_2", request_id=new_id()
    )
    scene.world.fates.put(LATE)
    scene.world.carry_out("PUT", reference, "FF_1")
    found = failure(lambda: scene.stub.AllocateShipmentWithCarrierService(request, timeout=LONG))
    assert (found.reason, found.metadata["effect"]) == ("INVALID_STATE", "none")


def quoted(scene: Scene, *, service: str = "FF_1", gross: float = 2.4) -> pb.AllocateShipmentWithQuoteRequest:
    """Gets a quote through the gateway, and returns the request that allocates it."""
    request = pb.AllocateShipmentWithQuoteRequest(
        shipment_reference=f"sp_{uuid.uuid4()}", quote_reference=f"qu_{uuid.uuid4()}", request_id=new_id()
    )
    offer = {
        "reference": request.quote_reference,
        "carrier": {"service_reference": service},
        "price": {"net": 2.0, "gross": gross, "currency": "GBP"},
    }
    scene.front.upstream.answer(200, {"reference": "qs_1", "message": "done", "quotes": [offer]})
    asked = pb.CreateShipmentQuotesRequest(shipment_reference=request.shipment_reference)
    assert len(scene.stub.CreateShipmentQuotes(asked, timeout=LONG).quotes) == 1
    return request


def test_an_allocation_that_agrees_with_its_quote_is_adopted(scene: Scene) -> None:
    request = quoted(scene)
    scene.world.fates.put(LOST)
    assert scene.stub.AllocateShipmentWithQuote(request, timeout=LONG).allocation.reconciled
    assert len(scene.world.written) == 1


@pytest.mark.parametrize(
    ("promised", "expected"),
    [({"gross": 2.41}, ("OUTCOME_UNKNOWN", "unknown")), ({"service": "FF_2"}, ("INVALID_STATE", "none"))],
)
def test_an_allocation_that_disagrees_with_the_quote_is_not_adopted(
    scene: Scene, promised: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Only another service proves that somebody else was faster. What is there instead is a detail in any case."""
    request = quoted(scene, **promised)
    scene.world.fates.put(DROPPED)
    scene.world.carry_out("PUT", request.shipment_reference)
    found = failure(lambda: scene.stub.AllocateShipmentWithQuote(request, timeout=LONG))
    assert (found.reason, found.metadata["effect"]) == expected
    detail = found.detail(core_pb2.Allocation)
    assert detail is not None
    assert (detail.shipment_reference, detail.carrier.service_reference) == (request.shipment_reference, "FF_1")
    assert (detail.price.gross.units, detail.price.gross.nanos) == (2, 400_000_000)
    assert len(scene.world.written) == 1


def test_a_later_attempt_that_is_refused_for_the_first_ones_sake_is_read_once_more(scene: Scene) -> None:
    """Its effect came after the last reading: OK, and not the refusal."""
    request = allocation(new_id())
    scene.world.fates.put(LATE)
    scene.world.fates.put(OVERTAKEN)
    got = allocate(scene, request)
    assert (got.state, got.reconciled) == (core_pb2.SHIPMENT_STATE_ALLOCATED, True)
    assert allocate(scene, request) == got
    assert (len(scene.world.written), scene.world.bookings[request.shipment_reference]) == (2, 1)


def test_a_later_attempt_that_is_refused_and_cannot_be_read_stays_unknown(scene: Scene) -> None:
    """The refusal itself says nothing of the first attempt. A repeat that can read learns the truth."""
    request = allocation(new_id())
    scene.world.fates.put(LATE)
    scene.world.fates.put(HIDDEN)
    unknown(lambda: allocate(scene, request, SETTLE * 3))
    scene.world.readable = True
    assert allocate(scene, request).reconciled
    assert (len(scene.world.written), scene.world.bookings[request.shipment_reference]) == (2, 1)


def test_a_later_attempt_that_is_refused_for_its_own_sake_was_not_carried_out(scene: Scene) -> None:
    """Reading shows no effect, so that the refusal holds, and the id is free."""
    request = allocation(new_id())
    scene.world.fates.put(DROPPED)
    scene.world.fates.put(FAILED)
    found = failure(lambda: allocate(scene, request))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ALLOCATION_FAILED")
    assert found.metadata["effect"] == "none"
    assert len(scene.world.written) == 2
    assert allocate(scene, request).state == core_pb2.SHIPMENT_STATE_ALLOCATED


def test_a_refusal_for_a_state_that_reading_does_not_show_decides_nothing(scene: Scene) -> None:
    """One of the two is behind: a shipment that may be allocated is not refused for its state."""
    request = allocation(new_id())
    scene.world.fates.put(DROPPED)
    scene.world.fates.put(REFUSED)
    assert allocate(scene, request).state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert len(scene.world.written) == 3
    assert scene.world.bookings[request.shipment_reference] == 1


def test_a_deallocation_is_judged_by_its_goal(scene: Scene) -> None:
    """Its lost answer is read, and its repeat asks nobody."""
    request = allocation(new_id())
    allocate(scene, request)
    asked = pb.DeallocateShipmentRequest(shipment_reference=request.shipment_reference, request_id=new_id())
    scene.world.fates.put(LOST)
    for _ in range(2):
        got = scene.stub.DeallocateShipment(asked, timeout=LONG)
        assert got.shipment_reference == request.shipment_reference
    assert len(scene.world.written) == 2


def test_allocate_deallocate_allocate_is_three_effects(scene: Scene) -> None:
    """Under ids of their own, each of them with a lost answer."""
    reference = f"sp_{uuid.uuid4()}"
    for _ in range(4):
        scene.world.fates.put(LOST)
    for _ in range(2):
        assert allocate(scene, pb.AllocateShipmentRequest(shipment_reference=reference, request_id=new_id())).reconciled
        asked = pb.DeallocateShipmentRequest(shipment_reference=reference, request_id=new_id())
        scene.stub.DeallocateShipment(asked, timeout=LONG)
    assert (len(scene.world.written), scene.world.bookings[reference]) == (4, 2)


def test_a_bulk_call_in_doubt_is_sent_again_by_a_repeat_alone_and_only_for_the_rest(scene: Scene) -> None:
    """Its progress is a detail meanwhile."""
    request = bulk(new_id())
    scene.world.fates.put(LOST)  # after the first of three
    found = unknown(lambda: scene.stub.AllocateShipments(request, timeout=SETTLE * 2))
    progress = found.detail(WriteProgress)
    assert progress is not None
    assert (list(progress.done), list(progress.unknown)) == ([request.shipments[0]], list(request.shipments[1:]))
    assert len(scene.world.written) == 1, "it was sent again although nobody asked"
    got = scene.stub.AllocateShipments(request, timeout=LONG)
    assert sorted(got.queued) == sorted(request.shipments)
    assert [scene.world.bookings[name] for name in request.shipments] == [1, 1, 1]
    assert len(scene.world.written) == 2


def test_a_second_write_of_a_shipment_waits_for_the_first_and_is_refused_if_that_lasts(scene: Scene) -> None:
    request = allocation(new_id())
    scene.world.fates.put(DROPPED)
    unknown(lambda: allocate(scene, request, SHORT))
    second = pb.AllocateShipmentRequest(shipment_reference=request.shipment_reference, request_id=new_id())
    found = failure(lambda: allocate(scene, second, SHORT))
    assert (found.code, found.reason) == (grpc.StatusCode.ABORTED, "WRITE_IN_PROGRESS")
    assert found.metadata == {}, "another process may be sending it by now"
    assert len(scene.world.written) == 1


def test_a_second_write_gets_its_turn_when_the_first_is_over() -> None:
    with running_scene(LOCK_WAIT=str(LONG)) as scene:
        request = allocation(new_id())
        scene.world.fates.put(DROPPED)
        unknown(lambda: allocate(scene, request, SHORT))
        second = pb.AllocateShipmentRequest(shipment_reference=request.shipment_reference, request_id=new_id())
        assert not allocate(scene, second).reconciled
        assert len(scene.world.written) == 2


@pytest.mark.parametrize("request_id", ["", "given"])
def test_ids_can_be_made_mandatory(request_id: str) -> None:
    with running_scene(REQUEST_ID_REQUIRED="true") as scene:
        request = allocation(new_id() if request_id else "")
        if request_id:
            allocate(scene, request)
            return
        found = failure(lambda: allocate(scene, request))
        assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert not scene.world.written


def pushback(call: Any) -> int:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return int(dict(error.trailing_metadata())[PUSHBACK])


def test_clients_are_told_whether_to_repeat_by_themselves(scene: Scene) -> None:
    """After an unknown outcome soon; after a refusal not at all."""
    request = allocation(new_id())
    scene.world.fates.put(DROPPED)
    assert pushback(lambda: allocate(scene, request, SHORT)) == 1000
    assert pushback(lambda: allocate(scene, pb.AllocateShipmentRequest())) == -1


def test_an_open_breaker_refuses_what_is_new_and_answers_what_is_known() -> None:
    with running_scene(SHIP_BREAKER_MIN_CALLS="2", SHIP_BREAKER_OPEN_TIME="60", SHIP_MAX_ATTEMPTS="1") as scene:
        request = allocation(new_id())
        first = allocate(scene, request)
        scene.world.readable = False
        read = pb.GetShipmentAllocationRequest(shipment_reference=request.shipment_reference)
        for _ in range(5):
            failure(lambda: scene.stub.GetShipmentAllocation(read, timeout=LONG))
        scene.front.gateway.wait_for("breaker_opened")
        found = failure(lambda: allocate(scene, allocation(new_id())))
        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert found.metadata == {}, "another process may be sending it by now"
        unnamed = failure(lambda: allocate(scene, allocation()))
        assert unnamed.metadata == {"effect": "none"}, "nobody else knows its id"
        assert allocate(scene, request) == first
        assert len(scene.world.written) == 1


def test_a_write_in_doubt_does_not_hold_up_the_end_of_the_process() -> None:
    """The caller is told that nobody knows, and the process does not wait for the settle time."""
    with running_scene(SHIP_SETTLE_TIME="60") as scene:
        scene.world.fates.put(DROPPED)
        unknown(lambda: allocate(scene, allocation(new_id()), SHORT))
        assert scene.front.gateway.stop() == 0
        scene.front.gateway.wait_for("detached_write_given_up")


def test_what_a_lost_bulk_call_may_still_allocate_is_not_taken_back_before_it_cannot(scene: Scene) -> None:
    """It found the shipment allocated before, and would allocate it as soon as it is not."""
    request = bulk(new_id())
    for reference in request.shipments:
        old = scene.world.now(-3_600).isoformat()
        scene.world.carry_out("PUT", reference, date=old)
    scene.world.fates.put(DROPPED)
    answer = scene.stub.AllocateShipments(request, timeout=LONG)
    assert [sorted(one.references) for one in answer.rejected] == [sorted(request.shipments)]
    undo = pb.DeallocateShipmentRequest(shipment_reference=request.shipments[0], request_id=new_id())
    told = failure(lambda: scene.stub.DeallocateShipment(undo, timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.ABORTED, "WRITE_IN_PROGRESS")
    assert scene.stub.AllocateShipments(request, timeout=LONG) == answer
