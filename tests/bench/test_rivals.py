"""Who claims to give the typed answer gives it: a rival that does less would be cheaper for the wrong reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from bench import building, payloads
from bench.contenders import CONTENDERS
from bench.machine import Cores
from bench.measuring import stage
from bench.processes import running
from bench.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("built")]

ANSWERING = pytest.mark.parametrize("name", ["go", "naive", "ours"])
ONE = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=payloads.REFERENCE, service_group=payloads.GROUP)


@pytest.fixture(scope="module", autouse=True)
def rivals() -> None:
    """The rivals as their sources are now."""
    building.build_rivals()


@pytest.fixture
def stub(name: str, row: str) -> Iterator[ShipmentAllocationServiceStub]:
    """A stub on a gateway in front of the upstream of a row."""
    found = next(one for one in ROWS if one.key == row)
    allowed = os.sched_getaffinity(0)
    with stage(found, Cores(max(allowed), min(allowed)), store=False) as around:
        program = CONTENDERS[name].program(around.surroundings)
        with running(name, program, sorted(allowed)) as gateway, grpc.insecure_channel(gateway.address) as channel:
            yield ShipmentAllocationServiceStub(channel)


@ANSWERING
@pytest.mark.parametrize("row", ["fast", "tls"])
def test_the_answer_is_the_documented_one_with_exact_money(stub: ShipmentAllocationServiceStub) -> None:
    assert stub.AllocateShipmentWithServiceGroup(ONE, timeout=10) == payloads.response()


@ANSWERING
@pytest.mark.parametrize("row", ["fast"])
def test_a_bulk_call_queues_what_it_names(stub: ShipmentAllocationServiceStub) -> None:
    request = pb.AllocateShipmentsWithServiceGroupRequest(shipments=["sp_1", "sp_2"], service_group=payloads.GROUP)
    response = stub.AllocateShipmentsWithServiceGroup(request, timeout=10)
    assert list(response.queued) == ["sp_1", "sp_2"]
    assert list(response.unaccounted) == []


@ANSWERING
@pytest.mark.parametrize("row", ["error"])
def test_a_refusal_is_a_failed_precondition(stub: ShipmentAllocationServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.AllocateShipmentWithServiceGroup(ONE, timeout=10)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@ANSWERING
@pytest.mark.parametrize("row", ["large"])
def test_all_excluded_services_arrive(stub: ShipmentAllocationServiceStub) -> None:
    assert len(stub.AllocateShipmentWithServiceGroup(ONE, timeout=10).allocation.excluded_services) == 200
