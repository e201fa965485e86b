"""Real gateways in front of a real sandbox of their own, whose journal is the witness."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import pytest
import structlog
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.gateway import COMMAND, running_gateway
from support.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.gateway import Gateway

# Each engine is asked for the same; what is the other one's by default waits for the long run.
ENGINES: Final = ("direct", pytest.param("grpcio", marks=pytest.mark.slow))
TESTS: Final = Path(__file__).resolve().parents[1]
SHIPMENTS: Final = 12_000
STOP: Final = 10.0


def shipment(number: int) -> str:
    """Returns the reference of one of the shipments that a sandbox is started with, counted from 1."""
    return f"sp_{number:032d}"


def consignment(number: int) -> str:
    """Returns the reference of one of the consignments that a sandbox is started with, counted from 1."""
    digits = f"{number:08d}"
    return f"EC-1{digits[:2]}-{digits[2:5]}-{digits[5:]}"


@contextmanager
def running_sandbox(*options: str) -> Iterator[Sandbox]:
    """Runs a sandbox as a process of its own, which outlives gateways."""
    process = subprocess.Popen(
        [sys.executable, "-m", "allocation_gateway.sandbox", "--port", "0", "--shipments", str(SHIPMENTS), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield Sandbox(line.split()[3])
    finally:
        process.kill()
        process.wait(STOP)
        assert process.stdout is not None
        process.stdout.close()


def reset(sandbox: Sandbox) -> None:
    """Has nothing allocated, and upstream book twice what is asked for twice: nothing but the gateway is in the way."""
    sandbox.call("POST", "reset")
    sandbox.call("PUT", "switches", {"ship": {"guard": False}})


@dataclass
class Scene:
    """A gateway and the sandbox behind it."""

    gateway: Gateway
    sandbox: Sandbox
    channel: grpc.Channel

    @property
    def shipments(self) -> ShipmentAllocationServiceStub:
        """Calls the gateway."""
        return ShipmentAllocationServiceStub(self.channel)

    @property
    def consignments(self) -> ConsignmentAllocationServiceStub:
        """Calls the gateway."""
        return ConsignmentAllocationServiceStub(self.channel)

    def requests(self) -> dict[str, int]:
        """Returns how many requests the sandbox has had, by method and template."""
        counts: dict[str, int] = self.sandbox.call("GET", "requests")["counts"]
        return counts

    def writes(self) -> int:
        """Returns how many of them were writes."""
        return sum(count for name, count in self.requests().items() if name.startswith("PUT"))


@contextmanager
def running_scene(sandbox: Sandbox, command: Sequence[str] = (COMMAND,), **settings: str) -> Iterator[Scene]:
    """Runs a gateway in front of a sandbox."""
    given = {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_BASE_URL": f"{sandbox.url}/pro",
        "SHIP_API_KEY": "sandbox-key",
        "CONSIGNMENTS_BASE_URL": sandbox.url,
        "CONSIGNMENTS_API_KEY": "sandbox-key",
        **settings,
    }
    with (
        running_gateway(given, command=command, extra={"PYTHONPATH": str(TESTS)}) as gateway,
        grpc.insecure_channel(gateway.address) as channel,
    ):
        yield Scene(gateway, sandbox, channel)


@pytest.fixture(scope="package")
def shared_sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module", params=ENGINES)
def shared_scene(request: pytest.FixtureRequest, shared_sandbox: Sandbox) -> Iterator[Scene]:
    """A gateway with each engine."""
    # Short, so that nobody waits long for what cannot take effect any more.
    settings = {"SHIP_TIMEOUT": "2", "SHIP_SETTLE_TIME": "2", "DEADLINE_MARGIN": "1", "GRPC_ENGINE": request.param}
    with running_scene(shared_sandbox, **settings) as scene:
        yield scene


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    """The same, with nothing allocated."""
    reset(shared_scene.sandbox)
    return shared_scene


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keeps the gateway's parts that run in this process from logging."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
