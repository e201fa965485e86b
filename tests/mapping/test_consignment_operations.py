"""The mapping table of the Consignments API: one row for each rpc, over real sockets on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from allocation_gateway.operations.streams import STREAMS, WATCHES
from conftest import CONSIGNMENTS_KEY
from mapping.consignments import (
    BODIES,
    CONSIGNMENT,
    CONSIGNMENTS,
    DEALLOCATED,
    GOLDEN,
    QUOTE,
    QUOTED,
    REQUESTS,
    SERVICE,
    SERVICE_NAME,
    Row,
    answer,
    call,
    expected,
)
from mapping.table import changed

if TYPE_CHECKING:
    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from support.upstream import Upstream


def _labels(path: str, **fields: str) -> Row:
    return Row(
        request=changed(REQUESTS["AllocateConsignmentWithLabels"], **fields),
        line=f"PUT /allocation/EC-000-05B-MMA/{path} HTTP/1.1",
        answer=answer("labels"),
        response=expected("labels"),
    )


def _golden(rpc: str, line: str, status: int = 200) -> Row:
    return Row(
        request=REQUESTS[rpc],
        line=f"{line} HTTP/1.1",
        body=BODIES.get(rpc, b""),
        status=status,
        answer=answer(GOLDEN[rpc]),
        response=expected(GOLDEN[rpc]),
    )


ROWS: Final = {
    "AllocateConsignment": _golden("AllocateConsignment", f"PUT /allocation/{QUOTED}/allocatewithcheapestquote"),
    "AllocateConsignmentWithServiceGroup": _golden(
        "AllocateConsignmentWithServiceGroup", f"PUT /allocation/{QUOTED}/allocatewithservicegroup/valuableGoods"
    ),
    "AllocateConsignmentWithQuote": _golden(
        "AllocateConsignmentWithQuote",
        "PUT /allocation/EC-000-05B-N40/allocatewithquote/112236d5-4460-492f-a6bd-aa3f00f62dfb",
    ),
    "AllocateConsignments": _golden("AllocateConsignments", "PUT /allocation/allocate"),
    "AllocateConsignmentsWithServiceGroup": _golden(
        "AllocateConsignmentsWithServiceGroup", "PUT /allocation/allocatewithservicegroup"
    ),
    "AllocateConsignmentsWithCarrierService": _golden(
        "AllocateConsignmentsWithCarrierService", "PUT /allocation/allocatewithcarrierservice"
    ),
    "AllocateConsignmentsWithServiceFilters": Row(
        request=pb.AllocateConsignmentsWithServiceFiltersRequest(
            consignments=CONSIGNMENTS,
            filters=pb.ConsignmentFilters(direction=core_pb2.DIRECTION_OUTBOUND, pickup=False, drop_off=True),
        ),
        line="PUT /allocation/allocateConsignmentsWithServiceFilters HTTP/1.1",
        body=b'{"ConsignmentReferences":["EC-000-05B-MMA","EC-000-083-45D","EC-000-A04-0DV"],'
        b'"Filters":{"ServiceDirection":"Outbound","IsPickup":false,"IsDropOff":true}}',
        answer=answer("allocated_bulk"),
        response=expected("allocated_bulk"),
    ),
    "AllocateConsignmentWithLabels": _labels("labels/PDF"),
    "AllocateConsignmentWithLabels, carrier service": _labels(
        f"carrierservice/{SERVICE}/labels/PDF", carrier_service_reference=SERVICE
    ),
    "AllocateConsignmentWithLabels, service group": _labels(
        "servicegroup/valuableGoods/labels/PDF", service_group="valuableGoods"
    ),
    "AllocateConsignmentWithLabels, quote": _labels(f"quote/{QUOTE}/labels/PDF", quote_reference=QUOTE),
    "DeallocateConsignment": _golden("DeallocateConsignment", f"PUT /consignments/{CONSIGNMENT}/deallocate"),
    "DeallocateConsignments": _golden("DeallocateConsignments", "PUT /consignments/deallocatelist"),
    "GetConsignmentAllocation": _golden("GetConsignmentAllocation", f"GET /consignments/{CONSIGNMENT}"),
    "GetConsignmentAllocation, unallocated": Row(
        request=REQUESTS["GetConsignmentAllocation"],
        line=f"GET /consignments/{CONSIGNMENT} HTTP/1.1",
        answer=answer("consignment_unallocated"),
        response=expected("consignment_unallocated"),
    ),
    "GetConsignmentAllocation, failed": Row(
        request=REQUESTS["GetConsignmentAllocation"],
        line=f"GET /consignments/{CONSIGNMENT} HTTP/1.1",
        answer=answer("consignment_failed"),
        response=expected("consignment_failed"),
    ),
    "GetConsignmentQuotes": _golden("GetConsignmentQuotes", f"GET /quotes/consignment/{QUOTED}", 201),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_an_rpc_is_one_documented_request_and_its_answer_is_told_whole(
    consignments_stub: Stub, upstream: Upstream, row: Row
) -> None:
    """The exact line, headers and body go out, and every field of the answer comes back; its links are not followed."""
    row.check(consignments_stub, upstream, CONSIGNMENTS_KEY)


def test_every_rpc_of_the_service_has_a_row_and_a_golden_answer() -> None:
    """An rpc that is added without a row fails here."""
    methods = pb.DESCRIPTOR.services_by_name["ConsignmentAllocationService"].methods
    # Those that last have rows of their own, in operations/streams.py.
    rpcs = {method.name for method in methods} - {row.name for row in (*STREAMS, *WATCHES)}
    assert {name.partition(",")[0] for name in ROWS} == set(REQUESTS) == set(GOLDEN) == rpcs
    assert len(rpcs) == 12


def test_the_documented_allocation_with_a_quote_comes_back_typed(consignments_stub: Stub, upstream: Upstream) -> None:
    """The published example of the guides, read field by field."""
    upstream.answer(200, answer("allocated"))

    allocation = call(consignments_stub, REQUESTS["AllocateConsignmentWithQuote"]).allocation

    assert allocation.consignment_reference == "EC-000-05B-N40"
    assert allocation.carrier_service_reference == "EDC5_UPSHSTDCS"
    assert allocation.carrier_service_name == SERVICE_NAME
    assert SERVICE_NAME == "UPS STANDARD (Delivery Confirmation Signature Required)"
    assert allocation.carrier_reference == "UPS"
    assert not allocation.reconciled


def test_the_documented_bulk_deallocation_keeps_the_order_of_the_request(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Also if upstream answers in another one."""
    body = answer("deallocated_list").decode()
    first, last = DEALLOCATED[0], DEALLOCATED[-1]
    upstream.answer(200, body.replace(first, "?").replace(last, first).replace("?", last).encode())

    results = call(consignments_stub, REQUESTS["DeallocateConsignments"]).results

    assert [item.consignment_reference for item in results] == list(DEALLOCATED)
    assert {item.outcome for item in results} == {pb.OUTCOME_DONE}


def test_the_golden_quote_is_the_one_that_is_allocated(consignments_stub: Stub, upstream: Upstream) -> None:
    """A quote's reference, consignment and service are those that an allocation with it names."""
    upstream.answer(201, answer("quotes"))

    (quote,) = call(consignments_stub, REQUESTS["GetConsignmentQuotes"]).quotes

    assert (quote.reference, quote.consignment_reference) == (QUOTE, QUOTED)
    assert (quote.carrier_service_reference, quote.carrier_service_name) == (SERVICE, SERVICE_NAME)
