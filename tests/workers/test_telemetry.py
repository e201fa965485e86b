"""The metrics of several workers: each has its own, and none overwrites another's."""

from __future__ import annotations

from typing import Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.collector import running_collector
from support.front import LONG, READ, running_front
from support.workers import OWN_CONNECTION

CALLS: Final = 24


@pytest.mark.parametrize("given", ["", "service.instance.id=pod-7"], ids=["random", "named"])
def test_each_worker_exports_what_it_has_done_under_a_name_of_its_own(given: str) -> None:
    with running_collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_RESOURCE_ATTRIBUTES": given}
        with running_front(settings=settings, WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front:
            for _ in range(CALLS):
                with grpc.insecure_channel(front.gateway.address, OWN_CONNECTION) as channel:
                    ShipmentAllocationServiceStub(channel).GetShipmentAllocation(READ, timeout=LONG)
            assert front.gateway.stop() == 0
        instances = {resource["service.instance.id"] for resource in collector.resources}
        assert len(instances) == 2
        if given:
            assert instances == {"pod-7/1", "pod-7/2"}
        points = collector.of("rpc.server.call.duration")
        assert len(points) == 2
        assert sum(point.count for point in points) == CALLS
