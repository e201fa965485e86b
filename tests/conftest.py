"""Fixtures that several suites use."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import pytest
import structlog
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.settings import KNOWN
from support.gateway import Gateway, running_gateway
from support.upstream import Upstream, running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

_TESTS: Final = Path(__file__).parent
_LONG: Final = frozenset({"accounts", "callers", "cli", "clients", "secrecy", "streams", "telemetry", "threats"})
KEY = "a-key-that-nobody-may-see"
CONSIGNMENTS_KEY = "NzI1M2U0-another-key-that-nobody-may-see"
# What is scripted is answered in order, and most of it is failure: nothing is asked again, and no breaker opens. Nor is
# anything read before it is sent because another test has allocated the same shipment: that is forgotten at once.
ONE_ATTEMPT = {
    **{
        f"{api}_{name}": value
        for api in ("SHIP", "CONSIGNMENTS")
        for name, value in (("MAX_ATTEMPTS", "1"), ("BREAKER_MIN_CALLS", "1000000"))
    },
    "CLAIM_RETENTION_IN_MEMORY": "0.000001",
}


def pytest_configure() -> None:
    """Lets the processes that tests start be interrupted, also where the suite itself runs in the background.

    A shell has its background jobs ignore SIGINT, and whoever they start inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of folders whose tests start many processes, before any are chosen by their marks."""
    for item in items:
        if item.path.relative_to(_TESTS).parts[0] in _LONG:
            item.add_marker("long")


@pytest.fixture(autouse=True)
def default_logging() -> Iterator[None]:
    """Takes back what a command sets up when a test runs it in this process: logging, and the secrets that it knows."""
    yield
    structlog.reset_defaults()
    KNOWN._forms.clear()


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[Upstream]:
    """An upstream that the tests of a module script."""
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def scripted_gateway(shared_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway in front of the scripted upstream. What a module leaves in doubt there is in nobody else's way."""
    settings = {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_BASE_URL": shared_upstream.url,
        "SHIP_API_KEY": KEY,
        "CONSIGNMENTS_BASE_URL": f"http://127.0.0.1:{shared_upstream.port}",
        "CONSIGNMENTS_API_KEY": CONSIGNMENTS_KEY,
        **ONE_ATTEMPT,
        "LOCK_WAIT": "0",
        "DEADLINE_MARGIN": "0.5",  # on a busy machine an answer takes its time to arrive
    }
    with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
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


@pytest.fixture
def consignments_stub(scripted_channel: grpc.Channel) -> ConsignmentAllocationServiceStub:
    """A stub of the same gateway for the Consignments API."""
    return ConsignmentAllocationServiceStub(scripted_channel)
