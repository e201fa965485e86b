"""Every rpc of the Consignments API from a stub, through the gateway, to the sandbox: three real servers, no script."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.error_reason_pb2 import ErrorReason, WriteProgress
from allocation.v1.shipment_allocation_service_pb2 import GetShipmentAllocationRequest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.demo import amount
from support.gateway import running_gateway
from support.sandbox import Sandbox
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.gateway import Gateway

QUOTED = "EC-000-05B-N40"
QUOTE = "112236d5-4460-492f-a6bd-aa3f00f62dfb"
GROUPED = "EC-000-05B-MMA"
BULK = ["EC-000-05B-MMA", "EC-000-083-45D", "EC-000-A04-0DV"]
ALLOCATED = ["EC-000-05D-EP2", "EC-000-05D-ENQ", "EC-000-05D-ENG"]
UNKNOWN = "EC-999-999-999"
UPS = "UPS STANDARD (Delivery Confirmation Signature Required)"
TIMEOUT = 10.0


@pytest.fixture
def stub(gateway: Gateway, sandbox: Sandbox) -> Iterator[ConsignmentAllocationServiceStub]:
    with grpc.insecure_channel(gateway.address) as channel:
        yield ConsignmentAllocationServiceStub(channel)


def read(stub: ConsignmentAllocationServiceStub, reference: str) -> pb.ConsignmentAllocation:
    request = pb.GetConsignmentAllocationRequest(consignment_reference=reference)
    return stub.GetConsignmentAllocation(request, timeout=TIMEOUT).allocation


def test_the_documented_quote_is_allocated(stub: ConsignmentAllocationServiceStub, sandbox: Sandbox) -> None:
    request = pb.AllocateConsignmentWithQuoteRequest(consignment_reference=QUOTED, quote_reference=QUOTE)
    allocation = stub.AllocateConsignmentWithQuote(request, timeout=TIMEOUT).allocation
    assert allocation.description == (
        f"Consignment {QUOTED} has been successfully allocated with {UPS} for shipping on 18/06/2019 17:00:00 +00:00"
    )
    assert (allocation.carrier_service_name, allocation.carrier_service_reference) == (UPS, "EDC5_UPSHSTDCS")
    assert sandbox.bookings(QUOTED) == (1, 0)


def test_a_quote_is_made_and_allocated(stub: ConsignmentAllocationServiceStub) -> None:
    asked = pb.GetConsignmentQuotesRequest(consignment_reference=GROUPED)
    quotes = stub.GetConsignmentQuotes(asked, timeout=TIMEOUT).quotes
    assert len(quotes) >= 2
    quote = quotes[0]
    assert quote.expires.ToDatetime() > quote.created.ToDatetime()
    request = pb.AllocateConsignmentWithQuoteRequest(consignment_reference=GROUPED, quote_reference=quote.reference)
    allocation = stub.AllocateConsignmentWithQuote(request, timeout=TIMEOUT).allocation
    assert allocation.carrier_service_reference == quote.carrier_service_reference
    assert read(stub, GROUPED).price == quote.price


def test_reading_tells_state_price_and_when(stub: ConsignmentAllocationServiceStub) -> None:
    before = read(stub, QUOTED)
    assert before.state == pb.CONSIGNMENT_STATE_UNALLOCATED
    assert not before.carrier_service_reference
    request = pb.AllocateConsignmentWithQuoteRequest(consignment_reference=QUOTED, quote_reference=QUOTE)
    stub.AllocateConsignmentWithQuote(request, timeout=TIMEOUT)
    after = read(stub, QUOTED)
    assert after.state == pb.CONSIGNMENT_STATE_ALLOCATED
    assert after.carrier_service_reference == "EDC5_UPSHSTDCS"
    assert (amount(after.price.net), amount(after.price.gross)) == ("27.69 GBP", "33.23 GBP")
    assert after.HasField("allocation_date")


def test_the_cheapest_service(stub: ConsignmentAllocationServiceStub) -> None:
    request = pb.AllocateConsignmentRequest(consignment_reference=GROUPED)
    assert stub.AllocateConsignment(request, timeout=TIMEOUT).allocation.carrier_service_reference
    assert read(stub, GROUPED).state == pb.CONSIGNMENT_STATE_ALLOCATED


def test_a_service_group_is_told_when_it_is_read(stub: ConsignmentAllocationServiceStub) -> None:
    request = pb.AllocateConsignmentWithServiceGroupRequest(
        consignment_reference=GROUPED, service_group="valuableGoods"
    )
    stub.AllocateConsignmentWithServiceGroup(request, timeout=TIMEOUT)
    assert read(stub, GROUPED).service_group == "valuableGoods"


@pytest.mark.parametrize("form", ["default rules", "group", "service", "filters"])
def test_a_bulk_call_answers_for_each_consignment(
    stub: ConsignmentAllocationServiceStub, sandbox: Sandbox, form: str
) -> None:
    """One that does not exist is rejected with its reason, and costs the others nothing."""
    names = [*BULK, UNKNOWN]
    response: (
        pb.AllocateConsignmentsResponse
        | pb.AllocateConsignmentsWithServiceGroupResponse
        | pb.AllocateConsignmentsWithCarrierServiceResponse
        | pb.AllocateConsignmentsWithServiceFiltersResponse
    )
    if form == "default rules":
        response = stub.AllocateConsignments(pb.AllocateConsignmentsRequest(consignments=names), timeout=TIMEOUT)
    elif form == "group":
        by_group = pb.AllocateConsignmentsWithServiceGroupRequest(consignments=names, service_group="valuableGoods")
        response = stub.AllocateConsignmentsWithServiceGroup(by_group, timeout=TIMEOUT)
    elif form == "service":
        by_service = pb.AllocateConsignmentsWithCarrierServiceRequest(
            consignments=names, carrier_service_reference="EDC5_UPSHSTDCS"
        )
        response = stub.AllocateConsignmentsWithCarrierService(by_service, timeout=TIMEOUT)
    else:
        filters = pb.ConsignmentFilters(direction=core_pb2.DIRECTION_OUTBOUND)
        by_filters = pb.AllocateConsignmentsWithServiceFiltersRequest(consignments=names, filters=filters)
        response = stub.AllocateConsignmentsWithServiceFilters(by_filters, timeout=TIMEOUT)
    assert [result.consignment_reference for result in response.results] == names
    assert [result.outcome for result in response.results] == [pb.OUTCOME_DONE] * 3 + [pb.OUTCOME_REJECTED]
    assert response.results[3].reason == ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND
    assert [result.allocation.consignment_reference for result in response.results[:3]] == BULK
    assert [sandbox.bookings(reference) for reference in BULK] == [(1, 0)] * 3


def test_a_bulk_call_that_is_ended_in_the_midst_is_not_told_as_not_done() -> None:
    """Upstream allocates one after the other: its error may come when some are allocated. A repeat tells of each."""
    names = [BULK[0], UNKNOWN, BULK[1]]
    request = pb.AllocateConsignmentsRequest(consignments=names, request_id=str(uuid.uuid4()))
    times = {"CONSIGNMENTS_TIMEOUT": "1", "CONSIGNMENTS_SETTLE_TIME": "1"}
    with running_gateway(times, "--sandbox") as gateway, grpc.insecure_channel(gateway.address) as channel:
        stub, sandbox = ConsignmentAllocationServiceStub(channel), Sandbox(gateway.sandbox_url)
        sandbox.call("PUT", "switches", {"consignments": {"bulk_bad_reference": "ends_call"}})
        found = failure(lambda: stub.AllocateConsignments(request, timeout=TIMEOUT))
        assert (found.reason, found.metadata["effect"]) == ("OUTCOME_UNKNOWN", "unknown")
        progress = found.detail(WriteProgress)
        assert progress is not None
        assert (list(progress.done), list(progress.unknown)) == ([BULK[0]], [UNKNOWN, BULK[1]])
        response = stub.AllocateConsignments(request, timeout=TIMEOUT)
        assert [result.outcome for result in response.results] == [pb.OUTCOME_DONE] + [pb.OUTCOME_REJECTED] * 2
        assert [sandbox.bookings(reference) for reference in BULK[:2]] == [(1, 0), (0, 0)]


def test_a_bulk_call_that_is_refused_before_anything_is_done_says_so(
    stub: ConsignmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    """Also if one of them was allocated before, by another call."""
    stub.AllocateConsignment(pb.AllocateConsignmentRequest(consignment_reference=BULK[0]), timeout=TIMEOUT)
    sandbox.call("PUT", "switches", {"consignments": {"bulk_bad_reference": "refuses_call"}})
    found = failure(
        lambda: stub.AllocateConsignments(pb.AllocateConsignmentsRequest(consignments=BULK), timeout=TIMEOUT)
    )
    assert (found.reason, found.metadata["effect"]) == ("INVALID_REQUEST", "none")
    assert [sandbox.bookings(reference) for reference in BULK] == [(1, 0), (0, 0), (0, 0)]


def test_one_that_is_allocated_already_is_rejected_with_its_reason(
    stub: ConsignmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    stub.AllocateConsignment(pb.AllocateConsignmentRequest(consignment_reference=BULK[0]), timeout=TIMEOUT)
    response = stub.AllocateConsignments(pb.AllocateConsignmentsRequest(consignments=BULK), timeout=TIMEOUT)
    assert response.results[0].reason == ErrorReason.ERROR_REASON_INVALID_STATE
    assert [result.outcome for result in response.results[1:]] == [pb.OUTCOME_DONE] * 2
    assert sandbox.bookings(BULK[0]) == (1, 0)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"service_group": "valuableGoods"},
        {"carrier_service_reference": "EDC5_UPSHSTDCS"},
        {"quote_reference": QUOTE},
    ],
    ids=["cheapest", "group", "service", "quote"],
)
def test_an_allocation_with_labels(
    stub: ConsignmentAllocationServiceStub, sandbox: Sandbox, form: dict[str, str]
) -> None:
    """The label is a real PDF; asking again fetches it again, and books nothing."""
    request = pb.AllocateConsignmentWithLabelsRequest(
        consignment_reference=QUOTED, label_format=pb.LABEL_FORMAT_PDF, **form
    )
    for _ in range(2):
        response = stub.AllocateConsignmentWithLabels(request, timeout=TIMEOUT)
        assert response.labels[0].content.startswith(b"%PDF-")
        assert response.labels[0].content_type == "application/pdf"
        assert response.allocation.carrier_service_reference
        assert not response.HasField("label_error")
    assert sandbox.bookings(QUOTED) == (1, 0)


def test_an_allocation_is_taken_back(stub: ConsignmentAllocationServiceStub, sandbox: Sandbox) -> None:
    stub.AllocateConsignment(pb.AllocateConsignmentRequest(consignment_reference=GROUPED), timeout=TIMEOUT)
    request = pb.DeallocateConsignmentRequest(consignment_reference=GROUPED)
    assert stub.DeallocateConsignment(request, timeout=TIMEOUT).consignment_reference == GROUPED
    assert read(stub, GROUPED).state == pb.CONSIGNMENT_STATE_UNALLOCATED
    found = failure(lambda: stub.DeallocateConsignment(request, timeout=TIMEOUT))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_STATE")
    assert sandbox.bookings(GROUPED) == (1, 1)


def test_several_allocations_are_taken_back(stub: ConsignmentAllocationServiceStub) -> None:
    request = pb.DeallocateConsignmentsRequest(consignments=ALLOCATED)
    response = stub.DeallocateConsignments(request, timeout=TIMEOUT)
    assert [(result.consignment_reference, result.outcome) for result in response.results] == [
        (reference, pb.OUTCOME_DONE) for reference in ALLOCATED
    ]
    assert response.results[0].description == "Consignment deallocation completed successfully"
    assert not response.results[0].HasField("allocation")


def test_what_the_sources_call_differently_is_read_under_each_name(
    stub: ConsignmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    """With a byte order mark before all of it."""
    request = pb.AllocateConsignmentWithLabelsRequest(
        consignment_reference=QUOTED, label_format=pb.LABEL_FORMAT_PDF, quote_reference=QUOTE
    )
    sandbox.call("PUT", "switches", {"consignments": {"byte_order_mark": True}})
    stub.AllocateConsignmentWithLabels(request, timeout=TIMEOUT)
    before = read(stub, QUOTED)
    assert before.price.taxes[0].rate.reference
    other = {"tax_rate": "VatRate", "label_content_type": "Content-Type", "tax_amount": "TaxAmount"}
    sandbox.call("PUT", "switches", {"consignments": other})
    assert read(stub, QUOTED) == before
    again = stub.AllocateConsignmentWithLabels(request, timeout=TIMEOUT)
    assert [label.content_type for label in again.labels] == ["application/pdf"]
    assert list(again.unreadable) == list(again.labels[0].unreadable) == []
    found = failure(lambda: read(stub, UNKNOWN))
    assert found.reason == "CONSIGNMENT_NOT_FOUND"


def test_an_answer_is_lost_about_a_consignment_in_another_spelling(
    stub: ConsignmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    sandbox.call("PUT", "switches", {"consignments": {"reference_case": "any"}})
    sandbox.call("POST", "faults", {"match": {"method": "PUT"}, "action": {"type": "drop", "when": "after"}})
    request = pb.AllocateConsignmentRequest(consignment_reference=GROUPED.lower())
    assert stub.AllocateConsignment(request, timeout=TIMEOUT).allocation.reconciled
    assert sandbox.bookings(GROUPED) == (1, 0)


def test_an_unknown_consignment(stub: ConsignmentAllocationServiceStub) -> None:
    found = failure(lambda: read(stub, UNKNOWN))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "CONSIGNMENT_NOT_FOUND")


def test_one_gateway_serves_both_apis(gateway: Gateway, sandbox: Sandbox) -> None:
    with grpc.insecure_channel(gateway.address) as channel:
        shipments, consignments = ShipmentAllocationServiceStub(channel), ConsignmentAllocationServiceStub(channel)
        golden = GetShipmentAllocationRequest(shipment_reference="sp_00794403010635468411384028069888")
        assert shipments.GetShipmentAllocation(golden, timeout=TIMEOUT).allocation.state_text == "unallocated"
        assert read(consignments, GROUPED).state_text == "Unallocated"
