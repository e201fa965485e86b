"""The JSON bodies that the Consignments API's bulk operations take. Its single operations take none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import core_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation.v1 import consignment_allocation_service_pb2 as pb

    from allocation_gateway.codecs.json import Object
    from allocation_gateway.settings import Settings

_DIRECTIONS: Final = {core_pb2.DIRECTION_INBOUND: "Inbound", core_pb2.DIRECTION_OUTBOUND: "Outbound"}


def consignments(**selector: str) -> Callable[..., Object]:
    """Makes the encoder of a bulk call: the references, and upstream's properties by the fields that they come from."""

    def encode(request: Any, _: Settings) -> Object:
        body: Object = {"ConsignmentReferences": list(request.consignments)}
        for name, field in selector.items():
            body[name] = getattr(request, field)
        return body

    return encode


def with_filters(request: pb.AllocateConsignmentsWithServiceFiltersRequest, _: Settings) -> Object:
    """Makes the body of AllocateConsignmentsWithServiceFilters. Booleans that are unset stay out."""
    filters: Object = {"ServiceDirection": _DIRECTIONS[request.filters.direction]}
    for name, field in (("IsPickup", "pickup"), ("IsDropOff", "drop_off")):
        if request.filters.HasField(field):  # type: ignore[arg-type] # a name of the message, as the loop has it
            filters[name] = getattr(request.filters, field)
    return {"ConsignmentReferences": list(request.consignments), "Filters": filters}


def references(request: pb.DeallocateConsignmentsRequest, _: Settings) -> list[str]:
    """Makes the body of a bulk de-allocation, which is a bare array."""
    return list(request.consignments)
