"""Every rpc of the Ship API from a stub, through the gateway, to the sandbox: three real servers, no script."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ExcludedServices
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.demo import amount, summary
from google.rpc import error_details_pb2
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.gateway import Gateway
    from support.sandbox import Sandbox

GOLDEN = "sp_00794403010635468411384028069888"
BULK = [
    "sp_00794407328944469090495223169024",
    "sp_00794407551522883083874672967680",
    "sp_00794407763918694348566450274304",
]
UNKNOWN = "sp_00794407763918694348566459974304"
SCHEDULED = "sp_01017652898121961272041674506240"
DANGEROUS = f"sp_9{4:031d}"
TOO_DANGEROUS = f"sp_9{5:031d}"
TIMEOUT = 10.0


@pytest.fixture
def stub(gateway: Gateway, sandbox: Sandbox) -> Iterator[ShipmentAllocationServiceStub]:
    with grpc.insecure_channel(gateway.address) as channel:
        yield ShipmentAllocationServiceStub(channel)


def state(stub: ShipmentAllocationServiceStub, reference: str) -> core_pb2.ShipmentState.ValueType:
    request = pb.GetShipmentAllocationRequest(shipment_reference=reference)
    return stub.GetShipmentAllocation(request, timeout=TIMEOUT).allocation.state


def wait_until_allocated(stub: ShipmentAllocationServiceStub, references: list[str]) -> None:
    """Asks until the background worker has allocated them, within a bound."""
    end = time.monotonic() + TIMEOUT
    while any(state(stub, reference) != core_pb2.SHIPMENT_STATE_ALLOCATED for reference in references):
        assert time.monotonic() < end, "the sandbox has not allocated what it queued"


def test_the_documented_allocation(stub: ShipmentAllocationServiceStub, sandbox: Sandbox) -> None:
    request = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=GOLDEN, service_group="valuableGoods")
    allocation = stub.AllocateShipmentWithServiceGroup(request, timeout=TIMEOUT).allocation
    assert summary(allocation) == "Lineten, 2.00 GBP, tracking 43765709, 4 excluded services"
    assert allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert {item.exclusion.code for item in allocation.excluded_services} == {core_pb2.EXCLUSION_CODE_RATES}
    assert sandbox.bookings(GOLDEN) == (1, 0)


def test_default_rules(stub: ShipmentAllocationServiceStub) -> None:
    response = stub.AllocateShipment(pb.AllocateShipmentRequest(shipment_reference=SCHEDULED), timeout=TIMEOUT)
    assert response.allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert amount(response.allocation.price.net) == "2.00 GBP"


def test_a_carrier_service(stub: ShipmentAllocationServiceStub) -> None:
    request = pb.AllocateShipmentWithCarrierServiceRequest(
        shipment_reference=GOLDEN, carrier_service_reference="FF_LINET-00001"
    )
    assert stub.AllocateShipmentWithCarrierService(request, timeout=TIMEOUT).allocation.carrier.name == "Lineten"


@pytest.mark.parametrize("virtual", ["FF_LINET-00001", "valuableGoods"])
def test_a_virtual_service_is_a_service_or_a_group(stub: ShipmentAllocationServiceStub, virtual: str) -> None:
    request = pb.AllocateShipmentWithVirtualServiceRequest(shipment_reference=GOLDEN, virtual_service_reference=virtual)
    assert stub.AllocateShipmentWithVirtualService(request, timeout=TIMEOUT).allocation.carrier.name == "Lineten"


def test_a_virtual_service_that_is_both_is_refused_with_its_field(stub: ShipmentAllocationServiceStub) -> None:
    request = pb.AllocateShipmentWithVirtualServiceRequest(
        shipment_reference=GOLDEN, virtual_service_reference="BAW_PREM_01"
    )
    found = failure(lambda: stub.AllocateShipmentWithVirtualService(request, timeout=TIMEOUT))
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    violations = found.detail(error_details_pb2.BadRequest)
    assert violations is not None
    assert [item.field for item in violations.field_violations] == ["virtual_service_reference"]


def test_a_quote_is_made_and_allocated(stub: ShipmentAllocationServiceStub) -> None:
    quotes = stub.CreateShipmentQuotes(pb.CreateShipmentQuotesRequest(shipment_reference=SCHEDULED), timeout=TIMEOUT)
    assert len(quotes.quotes) >= 2
    quote = quotes.quotes[-1]
    assert quote.shipment_reference == SCHEDULED
    assert quote.expires.ToDatetime() > quote.created.ToDatetime()
    request = pb.AllocateShipmentWithQuoteRequest(shipment_reference=SCHEDULED, quote_reference=quote.reference)
    allocation = stub.AllocateShipmentWithQuote(request, timeout=TIMEOUT).allocation
    assert allocation.carrier.service_reference == quote.carrier.service_reference
    assert allocation.price == quote.price


def test_an_answer_is_lost_about_a_shipment_in_another_spelling(
    stub: ShipmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    sandbox.call("PUT", "switches", {"ship": {"reference_case": "any"}})
    sandbox.call("POST", "faults", {"match": {"method": "PUT"}, "action": {"type": "drop", "when": "after"}})
    request = pb.AllocateShipmentRequest(shipment_reference=GOLDEN.upper())
    assert stub.AllocateShipment(request, timeout=TIMEOUT).allocation.reconciled
    assert sandbox.bookings(GOLDEN) == (1, 0)


@pytest.mark.parametrize("form", ["default rules", "group", "service", "filters"])
def test_a_bulk_call_queues_what_exists_and_it_becomes_allocated(
    stub: ShipmentAllocationServiceStub, sandbox: Sandbox, form: str
) -> None:
    """The documented request for four shipments queues three and rejects one, which does not exist."""
    names = [*BULK, UNKNOWN]
    response: Any
    if form == "default rules":
        response = stub.AllocateShipments(pb.AllocateShipmentsRequest(shipments=names), timeout=TIMEOUT)
    elif form == "group":
        by_group = pb.AllocateShipmentsWithServiceGroupRequest(shipments=names, service_group="exampleSG123")
        response = stub.AllocateShipmentsWithServiceGroup(by_group, timeout=TIMEOUT)
        assert response.message == "3 shipments queued for allocation successfully. 1 shipment rejected for allocation."
    elif form == "service":
        by_service = pb.AllocateShipmentsWithCarrierServiceRequest(
            shipments=names, carrier_service_reference="FF_DPD_Next_Day_103386"
        )
        response = stub.AllocateShipmentsWithCarrierService(by_service, timeout=TIMEOUT)
    else:
        filters = core_pb2.AllocationFilters(direction=core_pb2.DIRECTION_OUTBOUND)
        by_filters = pb.AllocateShipmentsWithFiltersRequest(shipments=BULK, filters=filters)
        filtered = stub.AllocateShipmentsWithFilters(by_filters, timeout=TIMEOUT)
        assert filtered.reference.startswith("af_")
        assert {link.reference for link in filtered.shipments} == set(BULK)
    if form != "filters":
        assert list(response.queued) == BULK
        assert [(item.code, list(item.references)) for item in response.rejected] == [("shipment_not_found", [UNKNOWN])]
        assert not response.unaccounted
    wait_until_allocated(stub, BULK)
    assert [sandbox.bookings(reference) for reference in BULK] == [(1, 0)] * 3


@pytest.mark.parametrize(
    "switches",
    [{"bulk_partial_status": 207}, {"bulk_partial_status": 407}, {"bulk_body": "array"}],
    ids=["207", "407", "array"],
)
def test_every_documented_answer_to_a_bulk_call_is_understood(
    stub: ShipmentAllocationServiceStub, sandbox: Sandbox, switches: dict[str, Any]
) -> None:
    sandbox.call("PUT", "switches", {"ship": switches})
    request = pb.AllocateShipmentsWithServiceGroupRequest(shipments=[*BULK, UNKNOWN], service_group="exampleSG123")
    response = stub.AllocateShipmentsWithServiceGroup(request, timeout=TIMEOUT)
    mentioned = [*response.queued, *(item.shipment_reference for item in response.allocations)]
    assert mentioned == BULK
    wait_until_allocated(stub, BULK)


def test_an_allocation_is_taken_back_and_made_again(stub: ShipmentAllocationServiceStub, sandbox: Sandbox) -> None:
    allocate = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=GOLDEN, service_group="valuableGoods")
    stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT)
    taken = stub.DeallocateShipment(pb.DeallocateShipmentRequest(shipment_reference=GOLDEN), timeout=TIMEOUT)
    assert taken.shipment_reference == GOLDEN
    assert state(stub, GOLDEN) == core_pb2.SHIPMENT_STATE_UNALLOCATED
    stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT)
    assert sandbox.bookings(GOLDEN) == (2, 1)


def test_reading_tells_state_carrier_and_when(stub: ShipmentAllocationServiceStub) -> None:
    read = pb.GetShipmentAllocationRequest(shipment_reference=GOLDEN)
    before = stub.GetShipmentAllocation(read, timeout=TIMEOUT).allocation
    assert before.state == core_pb2.SHIPMENT_STATE_UNALLOCATED
    assert not before.HasField("carrier")
    allocate = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=GOLDEN, service_group="valuableGoods")
    made = stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT).allocation
    after = stub.GetShipmentAllocation(read, timeout=TIMEOUT).allocation
    assert (after.carrier, after.price) == (made.carrier, made.price)
    assert after.HasField("allocation_date")
    assert list(after.tracking_details.shipment.tracking_references) == ["43765709"]


def test_a_second_allocation_is_refused_and_books_nothing(
    stub: ShipmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    allocate = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=GOLDEN, service_group="valuableGoods")
    stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT)
    found = failure(lambda: stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_STATE")
    assert sandbox.bookings(GOLDEN) == (1, 0)


def test_a_group_in_which_nobody_can_take_it_says_why(stub: ShipmentAllocationServiceStub) -> None:
    allocate = pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=TOO_DANGEROUS, service_group="dangerousGoods"
    )
    found = failure(lambda: stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ALLOCATION_FAILED")
    excluded = found.detail(ExcludedServices)
    assert excluded is not None
    assert len(excluded.excluded_services) == 2
    assert state(stub, TOO_DANGEROUS) == core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED


def test_a_group_code_of_any_characters_arrives_as_it_is(stub: ShipmentAllocationServiceStub) -> None:
    allocate = pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=BULK[0], service_group="Größe / 50% & mehr"
    )
    allocation = stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT).allocation
    assert allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATED


def test_dangerous_goods_go_to_who_takes_them(stub: ShipmentAllocationServiceStub) -> None:
    allocate = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=DANGEROUS, service_group="dangerousGoods")
    allocation = stub.AllocateShipmentWithServiceGroup(allocate, timeout=TIMEOUT).allocation
    assert allocation.carrier.service_reference == "SBX_HAZ_ROAD"
    assert amount(allocation.price.gross) == "22.20 GBP"


def test_what_the_sources_shape_in_several_ways_is_read_in_each_of_them(
    stub: ShipmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    """With a byte order mark before all of it. Nothing is left out, so that nothing is named."""
    read = pb.GetShipmentAllocationRequest(shipment_reference=SCHEDULED)
    sandbox.call("PUT", "switches", {"ship": {"byte_order_mark": True, "state_case": "pascal"}})
    sandbox.call("PUT", "switches", {"ship": {"paperless_documents": "array"}})
    found = stub.GetShipmentAllocation(read, timeout=TIMEOUT).allocation
    assert [(item.type, item.format, item.state) for item in found.supplied_documents] == [
        ("commercial_invoice", "pdf", "ready"),
        ("invoice", "pdf", ""),
    ]
    assert not found.HasField("paperless_documents")
    sandbox.call("PUT", "switches", {"ship": {"paperless_documents": "object"}})
    found = stub.GetShipmentAllocation(read, timeout=TIMEOUT).allocation
    assert found.paperless_documents.sent_to_carrier
    assert (found.state, list(found.supplied_documents)) == (core_pb2.SHIPMENT_STATE_UNALLOCATED, [])
    quote = pb.CreateShipmentQuotesRequest(shipment_reference=SCHEDULED)
    for kind, base in (("boolean_base", "true"), ("named_base", "net")):
        sandbox.call("PUT", "switches", {"ship": {"surcharges": kind}})
        quotes = stub.CreateShipmentQuotes(quote, timeout=TIMEOUT)
        assert {item.surcharges[0].base_application.base for item in quotes.quotes} == {base}
        assert all(item.surcharges[0].base_application.base_only for item in quotes.quotes)
        assert [list(item.unreadable) for item in quotes.quotes] == [[]] * len(quotes.quotes)
    failing = pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=TOO_DANGEROUS, service_group="dangerousGoods"
    )
    refused = failure(lambda: stub.AllocateShipmentWithServiceGroup(failing, timeout=TIMEOUT))
    assert refused.reason == "ALLOCATION_FAILED", "an error is read behind a byte order mark too"
    assert state(stub, TOO_DANGEROUS) == core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED
    bulk = pb.AllocateShipmentsRequest(shipments=BULK)
    assert list(stub.AllocateShipments(bulk, timeout=TIMEOUT).queued) == BULK
    wait_until_allocated(stub, BULK)


def test_a_price_that_is_not_exact_is_named_and_a_lost_booking_is_found_all_the_same(
    stub: ShipmentAllocationServiceStub, sandbox: Sandbox
) -> None:
    """Twelve decimals, as taxes may leave them."""
    prices = [{"net": 12.1951219512}]
    sandbox.call("PUT", "world", {"ship": {"services": {"FF_LINET-00001": {"prices": prices}}}})
    allocate = pb.AllocateShipmentWithCarrierServiceRequest(
        shipment_reference=GOLDEN, carrier_service_reference="FF_LINET-00001"
    )
    found = failure(lambda: stub.AllocateShipmentWithCarrierService(allocate, timeout=TIMEOUT))
    assert (found.reason, found.metadata["effect"]) == ("UPSTREAM_CONTRACT_BROKEN", "made")
    made = found.detail(core_pb2.Allocation)
    assert made is not None
    assert made.carrier.service_reference == "FF_LINET-00001"
    assert "price.net" in made.unreadable
    read = pb.GetShipmentAllocationRequest(shipment_reference=GOLDEN)
    booked = stub.GetShipmentAllocation(read, timeout=TIMEOUT).allocation
    assert booked.state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert not booked.HasField("price")
    assert "allocation.price.net" in booked.unreadable
    assert sandbox.bookings(GOLDEN) == (1, 0)


def test_an_unknown_shipment(stub: ShipmentAllocationServiceStub) -> None:
    request = pb.GetShipmentAllocationRequest(shipment_reference=UNKNOWN)
    found = failure(lambda: stub.GetShipmentAllocation(request, timeout=TIMEOUT))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "SHIPMENT_NOT_FOUND")


def test_capabilities_are_understood_by_the_api(stub: ShipmentAllocationServiceStub) -> None:
    """The service that was asked for proves deliveries, so that `prevent` leaves nobody."""
    prevent = core_pb2.ServiceCapability(type="proof_of_delivery", value="prevent")
    request = pb.AllocateShipmentsWithCarrierServiceRequest(
        shipments=[DANGEROUS], carrier_service_reference="SBX_HAZ_ROAD", capabilities=[prevent]
    )
    assert list(stub.AllocateShipmentsWithCarrierService(request, timeout=TIMEOUT).queued) == [DANGEROUS]
    end = time.monotonic() + TIMEOUT
    while state(stub, DANGEROUS) != core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED:
        assert time.monotonic() < end
