"""The mapping table: one row for each rpc, over real sockets on both sides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.operations.streams import STREAMS, WATCHES
from conftest import KEY
from mapping.table import GOLDEN, REQUESTS, SHIPMENTS, UNALLOCATED, Row, answer, expected

if TYPE_CHECKING:
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from support.upstream import Upstream

_P: Final = "/pro/shipments"
_S: Final = f"{_P}/sp_00794403010635468411384028069888"
_REFERENCES: Final = (
    b'["sp_00794407328944469090495223169024","sp_00794407551522883083874672967680",'
    b'"sp_00794407763918694348566450274304","sp_00794407763918694348566459974304"]'
)

ROWS: Final = {
    "AllocateShipment": Row(
        request=REQUESTS["AllocateShipment"],
        line=f"PUT {_S}/allocate HTTP/1.1",
        answer=answer("service_group"),
        response=expected("service_group"),
    ),
    "AllocateShipmentWithServiceGroup": Row(
        request=REQUESTS["AllocateShipmentWithServiceGroup"],
        line=f"PUT {_S}/allocate/service_group/valuableGoods HTTP/1.1",
        answer=answer("service_group"),
        response=expected("service_group"),
    ),
    "AllocateShipmentWithCarrierService": Row(
        request=REQUESTS["AllocateShipmentWithCarrierService"],
        line=f"PUT {_S}/allocate/service/FF_LINET-00001 HTTP/1.1",
        answer=answer("service_group"),
        response=expected("service_group"),
    ),
    "AllocateShipmentWithVirtualService": Row(
        request=REQUESTS["AllocateShipmentWithVirtualService"],
        line=f"PUT {_S}/allocate/virtual_service/BAW_PREM_01 HTTP/1.1",
        answer=answer("service_group"),
        response=expected("service_group"),
    ),
    "AllocateShipmentWithQuote": Row(
        request=REQUESTS["AllocateShipmentWithQuote"],
        line=f"PUT {_S}/allocate/quote/qu_00795110485512405094154213130241 HTTP/1.1",
        answer=answer("service_group"),
        response=expected("service_group"),
    ),
    "AllocateShipments": Row(
        request=REQUESTS["AllocateShipments"],
        line=f"PUT {_P}/allocate HTTP/1.1",
        body=b'{"shipments":' + _REFERENCES + b"}",
        status=202,
        answer=answer("bulk_default_rules"),
        response=expected("bulk_default_rules"),
    ),
    "AllocateShipmentsWithServiceGroup": Row(
        request=REQUESTS["AllocateShipmentsWithServiceGroup"],
        line=f"PUT {_P}/allocate/service_group HTTP/1.1",
        body=b'{"shipments":' + _REFERENCES + b',"service_group":"exampleSG123"}',
        status=202,
        answer=answer("bulk_service_group"),
        response=expected("bulk_service_group"),
    ),
    "AllocateShipmentsWithCarrierService": Row(
        request=REQUESTS["AllocateShipmentsWithCarrierService"],
        line=f"PUT {_P}/allocate/service HTTP/1.1",
        body=b'{"shipments":' + _REFERENCES + b',"carrier_service_reference":"FF_LINET-00001"}',
        status=202,
        answer=answer("bulk_service_group"),
        response=expected("bulk_service_group"),
    ),
    "AllocateShipmentsWithFilters": Row(
        request=pb.AllocateShipmentsWithFiltersRequest(
            shipments=SHIPMENTS,
            filters=core_pb2.AllocationFilters(
                direction=core_pb2.DIRECTION_OUTBOUND, tags=["fragile", "gift"], pickup=True, drop_off=False
            ),
        ),
        line=f"PUT {_P}/allocate/filters HTTP/1.1",
        body=b'{"shipments":'
        + _REFERENCES
        + b',"filters":{"direction":"outbound","tags":["fragile","gift"],"pickup":true,"drop_off":false}}',
        status=202,
        answer=answer("filters"),
        response=expected("filters"),
    ),
    "DeallocateShipment": Row(
        request=REQUESTS["DeallocateShipment"],
        line=f"DELETE {_S}/allocation HTTP/1.1",
        answer=answer("deallocated"),
        response=expected("deallocated"),
    ),
    "GetShipmentAllocation": Row(
        request=REQUESTS["GetShipmentAllocation"],
        line=f"GET {_S} HTTP/1.1",
        answer=answer("shipment_allocated"),
        response=expected("shipment_allocated"),
    ),
    "GetShipmentAllocation, unallocated": Row(
        request=pb.GetShipmentAllocationRequest(shipment_reference=UNALLOCATED),
        line=f"GET {_P}/sp_00670934713498251534876966551552 HTTP/1.1",
        answer=answer("shipment_unallocated"),
        response=expected("shipment_unallocated"),
    ),
    "CreateShipmentQuotes": Row(
        request=REQUESTS["CreateShipmentQuotes"],
        line=f"POST {_S}/quote HTTP/1.1",
        status=201,
        answer=answer("quotes"),
        response=expected("quotes"),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_an_rpc_is_one_documented_request_and_its_answer_is_told_whole(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, row: Row
) -> None:
    """The exact line, headers and body go out, and every field of the answer comes back; its links are not followed."""
    row.check(stub, upstream, KEY)


def test_every_rpc_of_the_service_has_a_row_and_a_golden_answer() -> None:
    """An rpc that is added without a row fails here."""
    methods = pb.DESCRIPTOR.services_by_name["ShipmentAllocationService"].methods
    # Those that last have rows of their own, in operations/streams.py.
    rpcs = {method.name for method in methods} - {row.name for row in (*STREAMS, *WATCHES)}
    assert {name.partition(",")[0] for name in ROWS} == set(REQUESTS) == set(GOLDEN) == rpcs
    assert len(rpcs) == 12


def test_the_misprinted_key_of_the_vendors_page_is_not_sent(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """The page writes `"service_group "` with a trailing space; what is sent is its example without that space."""
    misprinted = json.loads(answer("bulk_service_group.request"))
    assert "service_group " in misprinted, "the fixture is as the page has it"
    upstream.answer(202, answer("bulk_service_group"))

    stub.AllocateShipmentsWithServiceGroup(
        pb.AllocateShipmentsWithServiceGroupRequest(shipments=SHIPMENTS, service_group="exampleSG123")
    )

    assert json.loads(upstream.next_request().body) == {key.strip(): value for key, value in misprinted.items()}
