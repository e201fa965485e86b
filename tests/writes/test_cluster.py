"""Two gateways that share their claims on a cluster, of which a node is killed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from support.cluster import running_cluster
from support.front import LONG, running_front
from support.replication import wait_until
from support.status import failure, failure_of
from support.upstream import running_upstream
from support.world import World
from writes.conftest import SETTINGS

if TYPE_CHECKING:
    from support.front import Front

pytestmark = pytest.mark.cache


def asking(reference: str) -> pb.AllocateShipmentRequest:
    """Returns a request for an allocation."""
    return pb.AllocateShipmentRequest(shipment_reference=reference, request_id=str(uuid.uuid4()))


def is_answered(front: Front, request: pb.AllocateShipmentRequest) -> bool:
    """Makes a call that may be refused as long as the store is away."""
    try:
        front.stub.AllocateShipment(request, timeout=LONG)
    except grpc.RpcError as error:
        return failure_of(error).reason != "CLAIM_STORE_UNAVAILABLE"
    return True


def test_gateways_on_a_cluster_know_each_others_writes_also_after_a_node_was_replaced() -> None:
    with running_cluster(replicas=1) as cluster, running_upstream() as upstream:
        world = World()
        upstream.default = world.answer
        settings = {
            **SETTINGS,
            "REPLICAS": "2",
            "STORE_URL": cluster.url(),
            "STORE_NAMESPACE": "claims",
            "STORE_CHECKS": "off",  # nothing is left of these servers after the test
            "STORE_TIMEOUT": "2",
        }
        with running_front(upstream, settings=settings) as one, running_front(upstream, settings=settings) as other:
            requests = [asking(f"sp_{uuid.uuid4()}") for _ in range(6)]
            of_the_lost = [asking(reference) for reference in cluster.references(0, 3, "sp_lost")]
            requests += of_the_lost
            first = [one.stub.AllocateShipment(request, timeout=LONG) for request in requests]
            for request, answer in zip(requests, first, strict=True):
                assert other.stub.AllocateShipment(request, timeout=LONG) == answer
            reused = pb.AllocateShipmentRequest(shipment_reference="sp_other", request_id=requests[0].request_id)
            refused = failure(lambda: other.stub.AllocateShipment(reused, timeout=LONG))
            assert refused.reason == "REQUEST_ID_REUSED"
            assert len(world.written) == len(requests)
            shipments = [name for number in range(3) for name in cluster.references(number, 3, "sp_bulk")]
            bulk = pb.AllocateShipmentsRequest(shipments=shipments, request_id=str(uuid.uuid4()))
            queued = one.stub.AllocateShipments(bulk, timeout=LONG)
            written = len(world.written)
            cluster.wait_for_copy(0)
            cluster.nodes[0].kill()
            refused = failure(lambda: one.stub.AllocateShipment(of_the_lost[0], timeout=LONG))
            assert refused.reason == "CLAIM_STORE_UNAVAILABLE"
            cluster.ask(3, "CLUSTER FAILOVER", "TAKEOVER")
            wait_until(lambda: is_answered(one, of_the_lost[0]), "writes do not go on")
            for request, answer in zip(requests, first, strict=True):
                assert one.stub.AllocateShipment(request, timeout=LONG) == answer
            assert other.stub.AllocateShipments(bulk, timeout=LONG) == queued
            assert len(world.written) == written, "nothing was sent twice"
