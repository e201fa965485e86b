"""What faults strike: a gateway of two workers with all that it needs, and what watches it."""

from __future__ import annotations

import itertools
import shutil
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.cache import CacheServer, SlowPath, running_cache, slow_path
from support.gateway import Gateway, running_gateway
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.prometheus import alerting, running_alertmanager, running_prometheus
from support.sandbox import Sandbox
from support.workers import OWN_CONNECTION

from helm.rules import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

ROOT: Final = Path(__file__).resolve().parents[2]
CATALOGUE: Final = ROOT / "server" / "allocation_gateway" / "groups" / "sandbox.toml"
ISSUED: Final = Issuer(one="ES256")
SHIPMENTS: Final = 10_000
SETTINGS: Final = {
    "WORKERS": "2",
    "STORE_CHECKS": "off",
    "STORE_TIMEOUT": "3",
    "SANDBOX_SHIPMENTS": str(SHIPMENTS),
    "OTEL_METRICS_EXPORTER": "prometheus",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
    "MAX_CONCURRENT_CALLS": "60",
    # It would soon keep everything from Sorted, so that the look of a fault changed while it lasts.
    "SHIP_BREAKER_MIN_CALLS": "1000000",
    "SHIP_MAX_ATTEMPTS": "1",
    "JWT_ISSUER": ISSUER,
    "JWT_AUDIENCE": AUDIENCE,
    "SERVICE_GROUP_REFRESH": "true",
}
# Five minutes are three seconds, in which a page is scraped six times.
PACE: Final = Pace(times=100, slow=1)


class Scene(NamedTuple):
    """What faults strike, and what is asked about them."""

    gateway: Gateway
    sandbox: Sandbox
    store: CacheServer
    path: SlowPath
    catalogue: Path
    prometheus: httpx.Client
    alertmanager: httpx.Client
    load: Load


class Load:
    """Callers. One of them makes a few calls of each kind every turn."""

    def __init__(self, address: str) -> None:
        channels = [grpc.insecure_channel(address, OWN_CONNECTION) for _ in range(4)]
        self._channels = channels
        self._stubs = itertools.cycle([ShipmentAllocationServiceStub(channel) for channel in channels])
        self._calls: list[Any] = []

    def turn(self, caller: str = "shop", calls: int = 4) -> None:
        """Begins some calls of a caller, unless very many are under way."""
        self._calls = [call for call in self._calls if not call.done()]
        if len(self._calls) > 10 * calls:
            return
        metadata = bearing(ISSUED.token(caller))
        for _ in range(calls):
            name = f"sp_{uuid.uuid4()}"
            read = pb.GetShipmentAllocationRequest(shipment_reference=name)
            self._calls.append(next(self._stubs).GetShipmentAllocation.future(read, timeout=4.0, metadata=metadata))
            self._write(name, metadata)

    def allocate(self, shipment: str) -> None:
        """Begins to allocate a shipment."""
        self._write(shipment, bearing(ISSUED.token("shop")))

    def _write(self, shipment: str, metadata: Any) -> None:
        write = pb.AllocateShipmentRequest(shipment_reference=shipment, request_id=str(uuid.uuid4()))
        self._calls.append(next(self._stubs).AllocateShipment.future(write, timeout=4.0, metadata=metadata))

    def close(self) -> None:
        """Gives up what is under way."""
        for channel in self._channels:
            channel.close()


@contextmanager
def running_scene(folder: Path, settings: Mapping[str, str], pace: Pace) -> Iterator[Scene]:
    """Runs everything, which keeps what it has in a folder, with further settings and the alerts at a pace."""
    (folder / "jwks.json").write_bytes(ISSUED.published())
    catalogue = Path(shutil.copy(CATALOGUE, folder))
    with ExitStack() as stack:
        store = stack.enter_context(running_cache())
        path = stack.enter_context(slow_path(store.port))
        followed = {
            "STORE_URL": f"redis://127.0.0.1:{path.port}/0",
            "SERVICE_GROUP_CATALOGUE_FILE": str(catalogue),
            "JWKS_FILE": str(folder / "jwks.json"),
        }
        gateway = stack.enter_context(running_gateway({**SETTINGS, **followed, **settings}, "--sandbox"))
        target = gateway.wait_for("prometheus_listening")["address"]
        alertmanager = stack.enter_context(running_alertmanager(folder))
        watching = alerting(folder, pace, alertmanager, "docs/runbooks")
        prometheus = stack.enter_context(running_prometheus(target, folder, more=watching))
        load = Load(gateway.address)
        stack.callback(load.close)
        yield Scene(gateway, Sandbox(gateway.sandbox_url), store, path, catalogue, prometheus, alertmanager, load)
