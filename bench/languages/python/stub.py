"""Calls of the gateway by the generated stub: once, and never again."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable


def open_at(address: str) -> Callable[[str, str], tuple[str, Decimal]]:
    """Returns what allocates a shipment."""
    stub = ShipmentAllocationServiceStub(grpc.insecure_channel(address))

    def allocate(shipment: str, group: str) -> tuple[str, Decimal]:
        request = pb.AllocateShipmentWithServiceGroupRequest(
            shipment_reference=shipment, request_id=str(uuid.uuid4()), service_group=group
        )
        allocation = stub.AllocateShipmentWithServiceGroup(request, timeout=20).allocation
        gross = allocation.price.gross
        return allocation.carrier.name, gross.units + Decimal(gross.nanos).scaleb(-9)

    return allocate
