"""A gateway of several workers, and what the system knows of its processes."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.gateway import Gateway

TIMEOUT: Final = 20.0
_names: Final = itertools.count()
# Each channel has a connection of its own, which the system gives to one of the workers.
OWN_CONNECTION: Final = [("grpc.use_local_subchannel_pool", 1)]


def wait_until(condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
    """Waits until a condition of the system holds, which tells nobody when it begins to."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, what
        threading.Event().wait(0.01)


def children(pid: int) -> dict[int, str]:
    """Returns the processes that a process has started, and their command lines. Those that have ended have none."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue
    return found


def is_alive(pid: int) -> bool:
    """Tells whether there is a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_of(gateway: Gateway, worker: int) -> int:
    """Returns the process of a worker, the one that was started last."""
    started = [line for line in list(gateway.lines) if line["event"] == "worker_started" and line["worker"] == worker]
    return int(started[-1]["pid"])


def answering(gateway: Gateway) -> int:
    """Makes a call by a connection of its own. Returns the worker that has answered."""
    asked = pb.GetShipmentAllocationRequest(shipment_reference=f"sp_{next(_names)}")
    with grpc.insecure_channel(gateway.address, OWN_CONNECTION) as channel:
        ShipmentAllocationServiceStub(channel).GetShipmentAllocation(asked, timeout=TIMEOUT)
    return int(gateway.wait_for("call", reference=asked.shipment_reference)["worker"])


def health(address: str, service: str = "") -> str:
    """Asks for the health by a connection of its own."""
    with grpc.insecure_channel(address, OWN_CONNECTION) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer: health_pb2.HealthCheckResponse = stub.Check(  # type: ignore[attr-defined] # the stubs lack it
            health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT
        )
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
