"""The rpcs that last: which bulk calls a stream of shipments or consignments is made of, and what reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import shipment_allocation_service_pb2 as shipments_pb

from allocation_gateway.operations import consignments, ship
from allocation_gateway.operations.model import Api, references_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.settings import Settings

MAX_BATCH: Final = 100
"""How many items go into one bulk call."""


@dataclass(frozen=True, slots=True)
class LastingRpc:
    """One rpc that lasts.

    Attributes:
        request: The class of the messages that it takes.
        response: The class of the messages that it gives.
        read: The row that reads one shipment or consignment.
    """

    request: type[Message]
    response: type[Message]
    read: Operation

    @property
    def service(self) -> str:
        """The service's full name."""
        return self.read.service

    @property
    def name(self) -> str:
        """The rpc's name within its service."""
        return str(self.request.DESCRIPTOR.name).removesuffix("Request")

    @property
    def full_name(self) -> str:
        """The rpc's name as telemetry and gRPC know it, without a leading slash."""
        return f"{self.service}/{self.name}"

    @property
    def api(self) -> Api:
        """The REST API that carries it out."""
        return self.read.api

    @property
    def reference(self) -> str:
        """The field by which a shipment or consignment is named."""
        return references_field(self.read.request)


@dataclass(frozen=True, slots=True)
class AllocationWatch(LastingRpc):
    """One rpc that watches how shipments or consignments stand.

    Attributes:
        standing: The class of what it tells of one.
        references: The field of the request that names them.
        items: The field of the response that tells of some.
    """

    standing: type[Message]
    references: str
    items: str


@dataclass(frozen=True, slots=True)
class AllocationStream(LastingRpc):
    """One rpc that allocates a stream.

    Attributes:
        outcome: The class of what it tells of one item.
        bulk: The row of the bulk call by the field of the selector that is set; by nothing if none is.
        takes_capabilities: Whether a selector may name capabilities.
    """

    outcome: type[Message]
    bulk: Mapping[str, Operation]
    takes_capabilities: bool

    def most_together(self, settings: Settings) -> int:
        """Returns how many items may go into one bulk call."""
        return min(MAX_BATCH, settings.consignments.max_references) if self.api is Api.CONSIGNMENTS else MAX_BATCH

    def alike(self, selector: Any) -> dict[str, Any]:
        """Returns the fields of a bulk call that a selector sets: the same for all items that have it."""
        fields: dict[str, Any] = {}
        scope = selector.WhichOneof("scope")
        if scope:
            fields[scope] = getattr(selector, scope)
        if selector.capabilities:
            fields["capabilities"] = selector.capabilities
        return fields


def _bulk(rows: Sequence[Operation], *requests: type[Message]) -> Mapping[str, Operation]:
    scopes = ("", "service_group", "carrier_service_reference")
    by_request = {row.request: row for row in rows}
    return {scope: by_request[request] for scope, request in zip(scopes, requests, strict=True)}


STREAMS: Final = (
    AllocationStream(
        request=shipments_pb.AllocateShipmentStreamRequest,
        response=shipments_pb.AllocateShipmentStreamResponse,
        outcome=shipments_pb.ShipmentOutcome,
        bulk=_bulk(
            ship.ROWS,
            shipments_pb.AllocateShipmentsRequest,
            shipments_pb.AllocateShipmentsWithServiceGroupRequest,
            shipments_pb.AllocateShipmentsWithCarrierServiceRequest,
        ),
        read=ship.READ,
        takes_capabilities=True,
    ),
    AllocationStream(
        request=consignments_pb.AllocateConsignmentStreamRequest,
        response=consignments_pb.AllocateConsignmentStreamResponse,
        outcome=consignments_pb.ConsignmentOutcome,
        bulk=_bulk(
            consignments.ROWS,
            consignments_pb.AllocateConsignmentsRequest,
            consignments_pb.AllocateConsignmentsWithServiceGroupRequest,
            consignments_pb.AllocateConsignmentsWithCarrierServiceRequest,
        ),
        read=consignments.READ,
        takes_capabilities=False,
    ),
)
WATCHES: Final = (
    AllocationWatch(
        request=shipments_pb.WatchShipmentAllocationsRequest,
        response=shipments_pb.WatchShipmentAllocationsResponse,
        read=ship.READ,
        standing=shipments_pb.ShipmentStanding,
        references="shipment_references",
        items="shipments",
    ),
    AllocationWatch(
        request=consignments_pb.WatchConsignmentAllocationsRequest,
        response=consignments_pb.WatchConsignmentAllocationsResponse,
        read=consignments.READ,
        standing=consignments_pb.ConsignmentStanding,
        references="consignment_references",
        items="consignments",
    ),
)
