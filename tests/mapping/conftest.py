"""Gateways with settings other than the shared one's, in front of the same scripted upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from conftest import KEY
from support.gateway import running_gateway

if TYPE_CHECKING:
    from support.upstream import Upstream

Configured = Callable[..., ShipmentAllocationServiceStub]


@pytest.fixture(scope="module")
def configured(shared_upstream: Upstream) -> Iterator[Configured]:
    """Returns the stub of a gateway with the given settings. Equal settings share a gateway."""
    stubs: dict[frozenset[tuple[str, str]], ShipmentAllocationServiceStub] = {}
    with ExitStack() as stack:

        def start(**settings: str) -> ShipmentAllocationServiceStub:
            wanted = frozenset(settings.items())
            if wanted not in stubs:
                base = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": shared_upstream.url, "SHIP_API_KEY": KEY}
                gateway = stack.enter_context(running_gateway({**base, **settings}))
                channel = stack.enter_context(grpc.insecure_channel(gateway.address))
                stubs[wanted] = ShipmentAllocationServiceStub(channel)
            return stubs[wanted]

        yield start
