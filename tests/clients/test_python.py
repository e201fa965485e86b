"""The Python stubs against a running gateway, from outside, as another team uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1 import core_pb2, shipment_allocation_service_pb2, shipment_allocation_service_pb2_grpc
from support.gateway import running_gateway
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients

SHIPMENT = "sp_00794403010635468411384028069888"
GROUP = "valuableGoods"


@pytest.fixture
def stub() -> Iterator[shipment_allocation_service_pb2_grpc.ShipmentAllocationServiceStub]:
    """A stub on a fresh gateway in front of a fresh sandbox."""
    with running_gateway({}, "--sandbox") as gateway, grpc.insecure_channel(gateway.address) as channel:
        yield shipment_allocation_service_pb2_grpc.ShipmentAllocationServiceStub(channel)


def request(shipment: str) -> shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupRequest:
    return shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=shipment, service_group=GROUP
    )


def test_python_client_gets_the_documented_allocation(
    stub: shipment_allocation_service_pb2_grpc.ShipmentAllocationServiceStub,
) -> None:
    allocation = stub.AllocateShipmentWithServiceGroup(request(SHIPMENT), timeout=20).allocation
    assert allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert (allocation.price.net.currency_code, allocation.price.net.units, allocation.price.net.nanos) == (
        "GBP",
        2,
        0,
    )
    assert (allocation.price.gross.units, allocation.price.gross.nanos) == (2, 0)
    assert allocation.carrier.name == "Lineten"
    assert list(allocation.tracking_details.shipment.tracking_references) == ["43765709"]
    assert len(allocation.excluded_services) == 4


def test_python_client_reads_the_reason_of_a_failure(
    stub: shipment_allocation_service_pb2_grpc.ShipmentAllocationServiceStub,
) -> None:
    unknown = request("sp_00000000000000000000000000000000")
    told = failure(lambda: stub.AllocateShipmentWithServiceGroup(unknown, timeout=20))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SHIPMENT_NOT_FOUND")
