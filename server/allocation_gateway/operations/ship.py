"""The rows of the Ship API.

Where the sources give several spellings of a path or method, the first is the one that most of them agree on, and the
setting `SHIP_ROUTES` chooses another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import ship_requests
from allocation_gateway.codecs.ship_allocation import (
    ALLOCATED,
    DEALLOCATED,
    SHIPMENT,
    allocation,
    deallocation,
    shipment,
)
from allocation_gateway.codecs.ship_bulk import BULK, FILTERED, bulk, filtered
from allocation_gateway.codecs.ship_quotes import QUOTED, quote_result
from allocation_gateway.operations.allocations import SHIP
from allocation_gateway.operations.model import Action, Api, Operation, Route
from allocation_gateway.operations.ship_answers import LINKS, LISTING

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.codecs.schema import Document
    from allocation_gateway.operations.bulk import BulkAnswer
    from allocation_gateway.operations.model import Decode, Encode

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["ShipmentAllocationService"].full_name


# Sources disagree on the status of a bulk call of which shipments were rejected, up to all of them.
_BULK_STATUSES: Final = frozenset({404, 407, 521})


def _row(
    request: type[Message],
    action: Action,
    document: Document,
    decode: Decode,
    encode: Encode | None = None,
    bulk: BulkAnswer | None = None,
    bulk_statuses: frozenset[int] = frozenset(),
    **routes: str,
) -> Operation:
    return Operation(
        name=request.DESCRIPTOR.name.removesuffix("Request"),
        service=_SERVICE,
        request=request,
        api=Api.SHIP,
        action=action,
        allocations=SHIP,
        routes={name: Route(*line.split(" ", 1)) for name, line in routes.items()},
        encode=encode,
        document=document,
        decode=decode,
        bulk_statuses=bulk_statuses,
        bulk=bulk,
    )


ROWS: Final = (
    _row(
        pb.AllocateShipmentRequest,
        Action.ALLOCATE,
        ALLOCATED,
        allocation(pb.AllocateShipmentResponse),
        default="PUT /shipments/{shipment_reference}/allocate",
    ),
    _row(
        pb.AllocateShipmentWithServiceGroupRequest,
        Action.ALLOCATE,
        ALLOCATED,
        allocation(pb.AllocateShipmentWithServiceGroupResponse),
        default="PUT /shipments/{shipment_reference}/allocate/service_group/{service_group}",
    ),
    _row(
        pb.AllocateShipmentWithCarrierServiceRequest,
        Action.ALLOCATE,
        ALLOCATED,
        allocation(pb.AllocateShipmentWithCarrierServiceResponse),
        default="PUT /shipments/{shipment_reference}/allocate/service/{carrier_service_reference}",
    ),
    _row(
        pb.AllocateShipmentWithVirtualServiceRequest,
        Action.ALLOCATE,
        ALLOCATED,
        allocation(pb.AllocateShipmentWithVirtualServiceResponse),
        default="PUT /shipments/{shipment_reference}/allocate/virtual_service/{virtual_service_reference}",
    ),
    _row(
        pb.AllocateShipmentWithQuoteRequest,
        Action.ALLOCATE,
        ALLOCATED,
        allocation(pb.AllocateShipmentWithQuoteResponse),
        default="PUT /shipments/{shipment_reference}/allocate/quote/{quote_reference}",
        allocate_first="PUT /shipments/allocate/{shipment_reference}/quote/{quote_reference}",
    ),
    _row(
        pb.AllocateShipmentsRequest,
        Action.ALLOCATE_BULK,
        BULK,
        bulk(pb.AllocateShipmentsResponse),
        ship_requests.shipments(),
        LISTING,
        _BULK_STATUSES,
        allocate="PUT /shipments/allocate",
        allocation="PUT /shipments/allocation",
    ),
    _row(
        pb.AllocateShipmentsWithServiceGroupRequest,
        Action.ALLOCATE_BULK,
        BULK,
        bulk(pb.AllocateShipmentsWithServiceGroupResponse),
        ship_requests.shipments("service_group"),
        LISTING,
        _BULK_STATUSES,
        allocate="PUT /shipments/allocate/service_group",
        allocation="PUT /shipments/allocation/service_group",
    ),
    _row(
        pb.AllocateShipmentsWithCarrierServiceRequest,
        Action.ALLOCATE_BULK,
        BULK,
        bulk(pb.AllocateShipmentsWithCarrierServiceResponse),
        ship_requests.shipments("carrier_service_reference"),
        LISTING,
        _BULK_STATUSES,
        allocate="PUT /shipments/allocate/service",
        allocation="PUT /shipments/allocation/service",
    ),
    _row(
        pb.AllocateShipmentsWithFiltersRequest,
        Action.ALLOCATE_BULK,
        FILTERED,
        filtered,
        ship_requests.with_filters,
        LINKS,
        allocate="PUT /shipments/allocate/filters",
        allocation="PUT /shipments/allocation/filters",
    ),
    _row(
        pb.DeallocateShipmentRequest,
        Action.DEALLOCATE,
        DEALLOCATED,
        deallocation,
        default="DELETE /shipments/{shipment_reference}/allocation",
    ),
    _row(
        pb.GetShipmentAllocationRequest,
        Action.READ,
        SHIPMENT,
        shipment,
        default="GET /shipments/{shipment_reference}",
    ),
    _row(
        pb.CreateShipmentQuotesRequest,
        Action.READ,
        QUOTED,
        quote_result,
        post="POST /shipments/{shipment_reference}/quote",
        get="GET /shipments/{shipment_reference}/quote",
    ),
)

READ: Final = next(row for row in ROWS if row.request is pb.GetShipmentAllocationRequest)
