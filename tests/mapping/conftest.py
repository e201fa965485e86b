"""Gateways with settings other than the shared one's, in front of the same scripted upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from conftest import CONSIGNMENTS_KEY, KEY, ONE_ATTEMPT
from support.gateway import running_gateway

if TYPE_CHECKING:
    from support.upstream import Upstream

Configured = Callable[..., ShipmentAllocationServiceStub]
ConfiguredConsignments = Callable[..., ConsignmentAllocationServiceStub]


@pytest.fixture(scope="module")
def configured(shared_upstream: Upstream) -> Iterator[Configured]:
    """Returns the stub of a gateway with the given settings. Equal settings share a gateway."""
    stubs: dict[frozenset[tuple[str, str]], ShipmentAllocationServiceStub] = {}
    with ExitStack() as stack:

        def start(**settings: str) -> ShipmentAllocationServiceStub:
            wanted = frozenset(settings.items())
            if wanted not in stubs:
                base = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": shared_upstream.url, "SHIP_API_KEY": KEY}
                gateway = stack.enter_context(running_gateway({**base, **ONE_ATTEMPT, "LOCK_WAIT": "0", **settings}))
                channel = stack.enter_context(grpc.insecure_channel(gateway.address))
                stubs[wanted] = ShipmentAllocationServiceStub(channel)
            return stubs[wanted]

        yield start


@pytest.fixture(scope="module")
def configured_consignments(shared_upstream: Upstream) -> Iterator[ConfiguredConsignments]:
    """The same with the Consignments API alone."""
    stubs: dict[frozenset[tuple[str, str]], ConsignmentAllocationServiceStub] = {}
    with ExitStack() as stack:

        def start(**settings: str) -> ConsignmentAllocationServiceStub:
            wanted = frozenset(settings.items())
            if wanted not in stubs:
                base = {
                    "ALLOW_PLAINTEXT": "true",
                    "CONSIGNMENTS_BASE_URL": f"http://127.0.0.1:{shared_upstream.port}",
                    "CONSIGNMENTS_API_KEY": CONSIGNMENTS_KEY,
                }
                gateway = stack.enter_context(running_gateway({**base, **ONE_ATTEMPT, "LOCK_WAIT": "0", **settings}))
                channel = stack.enter_context(grpc.insecure_channel(gateway.address))
                stubs[wanted] = ConsignmentAllocationServiceStub(channel)
            return stubs[wanted]

        yield start
