"""What is answered about writes whose outcome was read: which answers end one, and how readings complete the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2, error_reason_pb2
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.assessment import Assessed, Assessment
from allocation_gateway.operations.bulk import ItemAnswer
from allocation_gateway.operations.ship_answers import LISTING
from allocation_gateway.writes import errors, resolution, responses
from google.rpc import error_details_pb2
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from writes.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOCATED: Final = core_pb2.SHIPMENT_STATE_ALLOCATED
ALLOCATING: Final = core_pb2.SHIPMENT_STATE_ALLOCATING
FAILED: Final = core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED
CANCELLED: Final = core_pb2.SHIPMENT_STATE_CANCELLED
UNALLOCATED: Final = core_pb2.SHIPMENT_STATE_UNALLOCATED
DONE: Final = pb.OUTCOME_DONE
REJECTED: Final = pb.OUTCOME_REJECTED
UNKNOWN: Final = pb.OUTCOME_UNKNOWN
NAMES: Final = ("a", "b", "c")
REFUSAL: Final = GatewayError(
    StatusCode.FAILED_PRECONDITION,
    error_reason_pb2.ERROR_REASON_INVALID_STATE,
    "It cannot be allocated.",
    effect=WriteEffect.NONE,
    upstream_code="invalid_state",
)


def shipment(state: core_pb2.ShipmentState.ValueType = ALLOCATED, name: str = "a") -> core_pb2.Allocation:
    return core_pb2.Allocation(shipment_reference=name, state=state)


def failed(name: str) -> core_pb2.Allocation:
    """Returns the result of a shipment that was refused."""
    details = [core_pb2.UpstreamError(code="allocation_failed", message="m")]
    return core_pb2.Allocation(shipment_reference=name, state=FAILED, details=details)


def read(standing: Assessment, name: str, state: core_pb2.ShipmentState.ValueType = ALLOCATED) -> Assessed:
    return Assessed(standing, shipment(state, name))


def read_consignment(standing: Assessment, name: str) -> Assessed:
    return Assessed(standing, pb.ConsignmentAllocation(consignment_reference=name, carrier_service_reference="FF_1"))


def told(**outcomes: pb.Outcome.ValueType) -> pb.AllocateConsignmentsResponse:
    items = [pb.ConsignmentResult(consignment_reference=name, outcome=outcome) for name, outcome in outcomes.items()]
    return pb.AllocateConsignmentsResponse(results=items)


def outcomes(response: Any) -> dict[str, int]:
    return {item.consignment_reference: item.outcome for item in response.results}


def consignment(**fields: Any) -> pb.AllocateConsignmentResponse:
    return pb.AllocateConsignmentResponse(allocation=pb.ConsignmentAllocation(**fields))


CONCLUSIVE: Final = [
    ("AllocateShipment", ship_pb.AllocateShipmentResponse(allocation=shipment()), True),
    (
        "AllocateShipment",
        ship_pb.AllocateShipmentResponse(allocation=shipment(core_pb2.SHIPMENT_STATE_IN_TRANSIT)),
        True,
    ),
    ("AllocateShipment", ship_pb.AllocateShipmentResponse(allocation=shipment(ALLOCATING)), False),
    ("AllocateShipment", ship_pb.AllocateShipmentResponse(), False),
    (
        "AllocateShipment",
        ship_pb.AllocateShipmentResponse(allocation=shipment(core_pb2.SHIPMENT_STATE_UNALLOCATED)),
        False,
    ),
    ("AllocateConsignment", consignment(carrier_service_reference="FF_1"), True),
    ("AllocateConsignment", consignment(state=pb.CONSIGNMENT_STATE_ALLOCATED), True),
    ("AllocateConsignment", consignment(state=pb.CONSIGNMENT_STATE_ALLOCATING), False),
    ("AllocateConsignment", consignment(), False),
    ("DeallocateShipment", ship_pb.DeallocateShipmentResponse(), True),
    ("DeallocateConsignment", pb.DeallocateConsignmentResponse(), True),
    ("AllocateShipments", ship_pb.AllocateShipmentsResponse(queued=NAMES), True),
    ("AllocateShipments", ship_pb.AllocateShipmentsResponse(queued=["a"], unaccounted=["b"]), False),
    ("AllocateShipmentsWithFilters", ship_pb.AllocateShipmentsWithFiltersResponse(), True),
    ("AllocateConsignments", told(a=DONE, b=REJECTED), True),
    ("AllocateConsignments", told(a=DONE, b=UNKNOWN), False),
    ("DeallocateConsignments", pb.DeallocateConsignmentsResponse(results=told(a=UNKNOWN).results), False),
    ("DeallocateConsignments", pb.DeallocateConsignmentsResponse(results=told(a=DONE).results), True),
]


@pytest.mark.parametrize(("rpc", "response", "expected"), CONCLUSIVE)
def test_an_answer_ends_a_write_if_it_says_how_everything_ended(rpc: str, response: Any, expected: bool) -> None:
    assert responses.is_conclusive(ROWS[rpc], response) is expected


def test_what_an_answer_leaves_open_is_named() -> None:
    results, listing = ROWS["AllocateConsignments"], ROWS["AllocateShipments"]
    assert responses.undetermined(results, told(a=UNKNOWN, b=DONE, c=UNKNOWN, d=REJECTED)) == ["a", "c"]
    answer = ship_pb.AllocateShipmentsResponse(queued=["a"], unaccounted=["b", "c"])
    assert responses.undetermined(listing, answer) == ["b", "c"]


@pytest.mark.parametrize(
    ("rpc", "asked", "response", "expected"),
    [
        ("AllocateShipment", {"shipment_reference": "a"}, ship_pb.AllocateShipmentResponse(), (["a"], [])),
        ("DeallocateShipment", {"shipment_reference": "a"}, ship_pb.DeallocateShipmentResponse(), ([], ["a"])),
        ("AllocateConsignments", {"consignments": NAMES}, told(a=DONE, b=REJECTED, c=UNKNOWN), (["a"], [])),
        (
            "DeallocateConsignments",
            {"consignments": NAMES},
            pb.DeallocateConsignmentsResponse(results=told(a=DONE, b=REJECTED, c=DONE).results),
            ([], ["a", "c"]),
        ),
        (
            "AllocateShipments",
            {"shipments": NAMES},
            ship_pb.AllocateShipmentsResponse(queued=["c", "a", "x"]),
            (["a", "c"], []),
        ),
        (
            "AllocateShipments",
            {"shipments": NAMES},
            ship_pb.AllocateShipmentsResponse(
                queued=["a", "b"], allocations=[shipment(name="a"), shipment(ALLOCATING, "b")]
            ),
            (["a", "b"], []),
        ),
        (
            "AllocateShipments",
            {"shipments": NAMES},
            ship_pb.AllocateShipmentsResponse(allocations=[shipment(ALLOCATING), shipment(FAILED, "b"), failed("c")]),
            (["a", "b"], []),
        ),
        (
            "AllocateShipments",
            {"shipments": NAMES},
            ship_pb.AllocateShipmentsResponse(allocations=[shipment(CANCELLED), shipment(UNALLOCATED, "b")]),
            (["b"], []),
        ),
        (
            "AllocateShipmentsWithFilters",
            {"shipments": NAMES},
            ship_pb.AllocateShipmentsWithFiltersResponse(),
            ([], []),
        ),
        (
            "AllocateShipmentsWithFilters",
            {"shipments": NAMES},
            ship_pb.AllocateShipmentsWithFiltersResponse(
                shipments=[
                    core_pb2.Link(href="https://api-int.sorted.com/pro/shipments/a", rel="shipment", type="shipment"),
                    core_pb2.Link(reference="b", rel="shipment", type="rejected"),
                    core_pb2.Link(reference="c", href="https://api-int.sorted.com/pro/shipments/c"),
                ]
            ),
            (["a", "c"], []),
        ),
    ],
)
def test_only_what_was_carried_out_changes_owners(
    rpc: str, asked: Mapping[str, Any], response: Any, expected: tuple[list[str], list[str]]
) -> None:
    """So does what was queued, whatever state it shows; and not what was refused or is not known."""
    row = ROWS[rpc]
    assert responses.affected(row, row.request(**asked), response) == expected


@pytest.mark.parametrize(
    "response",
    [
        ship_pb.AllocateShipmentsResponse(unaccounted=["a"], rejected=[core_pb2.AllocationRejection(code="c")]),
        ship_pb.AllocateShipmentsResponse(
            unaccounted=["a"], rejected=[core_pb2.AllocationRejection(code="c", references=["x"])]
        ),
        ship_pb.AllocateShipmentsResponse(unaccounted=["a"], queued=["x"]),
    ],
    ids=["one that contradicted itself", "a rejection of another one", "another one that is queued"],
)
def test_what_an_answer_says_of_others_is_not_said_of_an_item(response: Any) -> None:
    """Of the only reference of a call it may be silent all the same: that is not known then, and never refused."""
    assert LISTING.item(response, "a") == ItemAnswer()


def test_a_single_write_that_was_read_says_so() -> None:
    """A de-allocation names what it was asked for: it has nothing else to tell."""
    got = responses.single(ROWS["AllocateShipment"], "a", shipment())
    assert (got.allocation.reconciled, got.allocation.state) == (True, ALLOCATED)
    gone = responses.single(ROWS["DeallocateShipment"], "a", shipment(core_pb2.SHIPMENT_STATE_UNALLOCATED))
    assert gone == ship_pb.DeallocateShipmentResponse(shipment_reference="a")


def test_an_allocation_of_somebody_elses_is_a_detail_and_a_cancelled_shipment_is_none() -> None:
    other = errors.not_own(ROWS["AllocateShipment"], shipment())
    assert (other.code, other.info) == (StatusCode.FAILED_PRECONDITION, {"effect": "none"})
    assert other.allocation == shipment()
    cancelled = errors.not_own(ROWS["AllocateShipment"], shipment(core_pb2.SHIPMENT_STATE_CANCELLED))
    assert (cancelled.code, cancelled.allocation) == (StatusCode.FAILED_PRECONDITION, None)


def test_readings_complete_what_ship_left_open() -> None:
    row = ROWS["AllocateShipments"]
    response = ship_pb.AllocateShipmentsResponse(queued=["a"], unaccounted=["b", "c"])
    known = {"b": read(Assessment.DONE, "b", ALLOCATING), "c": read(Assessment.NOT_OWN, "c")}
    got = responses.bulk(row, row.request(shipments=NAMES), known, response)
    assert list(got.queued) == ["a", "b"]
    assert [(item.code, list(item.references)) for item in got.rejected] == [("shipment_invalid_state", ["c"])]
    assert [(item.shipment_reference, item.reconciled) for item in got.allocations] == [("b", True)]
    assert not got.unaccounted
    assert responses.is_conclusive(row, got)


def test_what_could_not_be_read_stays_open() -> None:
    row = ROWS["AllocateShipments"]
    response = ship_pb.AllocateShipmentsResponse(queued=["a"], unaccounted=["b", "c"])
    got = responses.bulk(row, row.request(shipments=NAMES), {"b": read(Assessment.DONE, "b")}, response)
    assert list(got.unaccounted) == ["c"]
    assert not responses.is_conclusive(row, got)


def test_a_rest_that_upstream_refused_is_rejected_and_what_was_done_before_is_not() -> None:
    """The reason is upstream's own."""
    ship, other = ROWS["AllocateShipments"], ROWS["AllocateConsignments"]
    known = {"a": read(Assessment.DONE, "a"), "b": read(Assessment.NOT_OWN, "b")}
    got = responses.bulk(ship, ship.request(shipments=NAMES), known, None, REFUSAL)
    assert list(got.queued) == ["a"]
    assert [(item.code, list(item.references)) for item in got.rejected] == [
        ("invalid_state", ["c"]),
        ("shipment_invalid_state", ["b"]),
    ]
    done = {"b": read_consignment(Assessment.DONE, "b")}
    answer = responses.bulk(other, other.request(consignments=NAMES), done, None, REFUSAL)
    assert outcomes(answer) == {"a": REJECTED, "b": DONE, "c": REJECTED}
    assert [item.reason for item in answer.results] == [REFUSAL.reason, 0, REFUSAL.reason]
    assert answer.results[1].allocation.reconciled


def test_a_deallocation_that_was_read_carries_no_allocation() -> None:
    row = ROWS["DeallocateConsignments"]
    got = responses.bulk(row, row.request(consignments=["a"]), {"a": read_consignment(Assessment.DONE, "a")}, None)
    assert outcomes(got) == {"a": DONE}
    assert not got.results[0].HasField("allocation")


def test_an_answer_of_filters_names_what_was_read() -> None:
    row = ROWS["AllocateShipmentsWithFilters"]
    got = responses.bulk(row, row.request(shipments=["a"]), {"a": read(Assessment.DONE, "a")}, None)
    assert [item.reference for item in got.shipments] == ["a"]


def test_an_answer_of_filters_names_nothing_that_may_be_somebody_elses() -> None:
    """It has no place for what was not done, and so an error is told if it is not all."""
    row = ROWS["AllocateShipmentsWithFilters"]
    request = row.request(shipments=["a", "b"])
    done, other, open_one = (
        read(standing, name)
        for standing, name in ((Assessment.DONE, "a"), (Assessment.NOT_OWN, "b"), (Assessment.UNDECIDED, "b"))
    )
    got: Any = resolution.told(row, request, {"a": done, "b": other})
    assert [item.reference for item in got.shipments] == ["a"]
    got = resolution.told(row, request, {"b": other})
    assert (got.reason_name, got.effect) == ("INVALID_STATE", WriteEffect.NONE)
    assert resolution.told(row, request, {"b": other}, REFUSAL) is REFUSAL
    got = resolution.told(row, request, {"a": done, "b": open_one})
    assert (got.reason_name, got.effect) == ("OUTCOME_UNKNOWN", WriteEffect.UNKNOWN)
    (progress,) = (one for one in got.details if isinstance(one, error_reason_pb2.WriteProgress))
    assert (list(progress.done), list(progress.unknown)) == (["a"], ["b"])


STANDINGS: Final = st.sampled_from([Assessment.DONE, Assessment.NOT_OWN, Assessment.UNDECIDED])


@given(
    known=st.dictionaries(st.sampled_from(NAMES), STANDINGS),
    said=st.permutations(NAMES).flatmap(
        lambda order: st.tuples(*(st.sampled_from([DONE, REJECTED, UNKNOWN]) for _ in order)).map(
            lambda outcomes: dict(zip(order, outcomes, strict=True))
        )
    ),
)
def test_every_consignment_has_one_result_in_the_order_of_the_request(
    known: dict[str, Assessment], said: dict[str, pb.Outcome.ValueType]
) -> None:
    """What was read counts; of the others what upstream said."""
    row = ROWS["AllocateConsignments"]
    found = {name: read_consignment(standing, name) for name, standing in known.items()}
    got = responses.bulk(row, row.request(consignments=NAMES), found, told(**said))
    read_as = {Assessment.DONE: DONE, Assessment.NOT_OWN: REJECTED, Assessment.UNDECIDED: UNKNOWN}
    expected = [(name, read_as[known[name]] if name in known else said[name]) for name in NAMES]
    assert [(item.consignment_reference, item.outcome) for item in got.results] == expected


@given(known=st.dictionaries(st.sampled_from(NAMES), STANDINGS))
def test_every_shipment_is_queued_or_rejected_or_open_and_only_one_of_these(known: dict[str, Assessment]) -> None:
    row = ROWS["AllocateShipments"]
    found = {name: read(standing, name) for name, standing in known.items()}
    response = ship_pb.AllocateShipmentsResponse(unaccounted=NAMES)
    got = responses.bulk(row, row.request(shipments=NAMES), found, response)
    rejected = [name for item in got.rejected for name in item.references]
    assert sorted([*got.queued, *rejected, *got.unaccounted]) == list(NAMES)
    assert set(got.queued) == {name for name, standing in known.items() if standing is Assessment.DONE}
    assert set(rejected) == {name for name, standing in known.items() if standing is Assessment.NOT_OWN}
    undecided = {name for name, standing in known.items() if standing is Assessment.UNDECIDED}
    assert set(got.unaccounted) == (set(NAMES) - known.keys()) | undecided


def test_progress_tells_apart_what_is_done_and_what_is_not() -> None:
    known = {"a": read(Assessment.DONE, "a"), "b": read(Assessment.NOT_OWN, "b"), "d": read(Assessment.UNDECIDED, "d")}
    got = responses.progress(known, ["c"])
    assert (list(got.done), list(got.rejected), list(got.unknown)) == (["a"], ["b"], ["c", "d"])


def test_a_doubt_names_its_cause() -> None:
    """A refusal becomes the cause; a doubt from before has none."""
    progress = error_reason_pb2.WriteProgress(done=["a"])
    doubt = errors.in_doubt(REFUSAL, progress)
    assert (doubt.code, doubt.reason) == (StatusCode.UNKNOWN, error_reason_pb2.ERROR_REASON_OUTCOME_UNKNOWN)
    assert doubt.info == {"upstream_code": "invalid_state", "effect": "unknown", "cause": "INVALID_STATE"}
    retry, detail = doubt.details
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert detail == progress
    again = errors.in_doubt(doubt)
    assert again.info == doubt.info
