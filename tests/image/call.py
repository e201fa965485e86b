"""Makes the documented allocation at the address given as argument, and prints what came back as JSON."""

from __future__ import annotations

import json
import sys

import grpc
from allocation.v1 import shipment_allocation_service_pb2, shipment_allocation_service_pb2_grpc


def main(address: str) -> None:
    """Makes the call."""
    request = shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupRequest(
        shipment_reference="sp_00794403010635468411384028069888", service_group="valuableGoods"
    )
    with grpc.insecure_channel(address) as channel:
        stub = shipment_allocation_service_pb2_grpc.ShipmentAllocationServiceStub(channel)
        allocation = stub.AllocateShipmentWithServiceGroup(request, timeout=20).allocation
    price = allocation.price.gross
    answer = {
        "carrier": allocation.carrier.name,
        "price": [price.units, price.nanos, price.currency_code],
        "tracking": list(allocation.tracking_details.shipment.tracking_references),
        "excluded": len(allocation.excluded_services),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
