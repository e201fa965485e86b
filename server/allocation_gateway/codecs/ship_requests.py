"""The JSON bodies that the Ship API's bulk operations take. Its single operations take none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation.v1 import core_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from allocation.v1 import shipment_allocation_service_pb2 as pb

    from allocation_gateway.codecs.json import Object
    from allocation_gateway.settings import Settings

_DIRECTIONS = {core_pb2.DIRECTION_INBOUND: "inbound", core_pb2.DIRECTION_OUTBOUND: "outbound"}


def shipments(*selector: str) -> Callable[..., Object]:
    """Makes the encoder of a bulk call: the shipments, the named fields, and capabilities if there are any."""

    def encode(request: pb.AllocateShipmentsRequest, settings: Settings) -> Object:
        body: Object = {"shipments": list(request.shipments)}
        for name in selector:
            body[name] = getattr(request, name)
        if request.capabilities:
            body["capabilities"] = _capabilities(request.capabilities, settings)
        return body

    return encode


def _capabilities(capabilities: Sequence[core_pb2.ServiceCapability], settings: Settings) -> object:
    """Returns what no sample shows: the data contract types it as one object, its prose speaks of a list."""
    items = [{"type": item.type, "value": item.value} for item in capabilities]
    return items if settings.ship.capabilities_shape == "array" else items[0]


def with_filters(request: pb.AllocateShipmentsWithFiltersRequest, _: Settings) -> Object:
    """Makes the body of AllocateWithFilters. Booleans that are unset stay out: upstream has its own defaults."""
    filters: Object = {"direction": _DIRECTIONS[request.filters.direction]}
    if request.filters.tags:
        filters["tags"] = list(request.filters.tags)
    for name in ("pickup", "drop_off"):
        if request.filters.HasField(name):
            filters[name] = getattr(request.filters, name)
    return {"shipments": list(request.shipments), "filters": filters}
