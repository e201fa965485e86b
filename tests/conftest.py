"""Fixtures that several suites use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.gateway import Gateway, running_gateway
from support.upstream import Upstream, running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a-key-that-nobody-may-see"


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """An upstream that tests script, for the whole session."""
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def scripted_gateway(shared_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway in front of the scripted upstream, for the whole session."""
    settings = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": shared_upstream.url, "SHIP_API_KEY": KEY}
    with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def scripted_channel(scripted_gateway: Gateway) -> Iterator[grpc.Channel]:
    """A channel to the gateway in front of the scripted upstream."""
    with grpc.insecure_channel(scripted_gateway.address) as channel:
        yield channel


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    """The scripted upstream, with nothing scripted and nothing received."""
    shared_upstream.forget()
    return shared_upstream


@pytest.fixture
def stub(scripted_channel: grpc.Channel) -> ShipmentAllocationServiceStub:
    """A stub of the gateway in front of the scripted upstream."""
    return ShipmentAllocationServiceStub(scripted_channel)
