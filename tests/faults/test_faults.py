"""Each fault shows itself on the dashboards as the table says, in a real Prometheus, and no two look the same."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from faults.table import SIGNS, TABLE
from support.cache import CacheServer, SlowPath, running_cache, slow_path
from support.gateway import Gateway, running_gateway
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.prometheus import running_prometheus
from support.sandbox import Sandbox
from support.workers import OWN_CONNECTION, pid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

pytestmark = pytest.mark.faults

ROOT: Final = Path(__file__).resolve().parents[2]
CATALOGUE: Final = ROOT / "server" / "allocation_gateway" / "groups" / "sandbox.toml"
RUNBOOKS: Final = ROOT / "docs" / "runbooks" / "README.md"
ISSUED: Final = Issuer(one="ES256")
SETTINGS: Final = {
    "WORKERS": "2",
    "STORE_CHECKS": "off",
    "STORE_TIMEOUT": "3",
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
# Seconds within which a fault has shown itself, and is forgotten again once it is over.
SECONDS: Final = 40.0
TURN: Final = 0.5


class Scene(NamedTuple):
    """What faults strike, and what is asked about them."""

    gateway: Gateway
    sandbox: Sandbox
    store: CacheServer
    path: SlowPath
    catalogue: Path
    client: httpx.Client
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
            stub, name = next(self._stubs), f"sp_{uuid.uuid4()}"
            write = pb.AllocateShipmentRequest(shipment_reference=name, request_id=str(uuid.uuid4()))
            read = pb.GetShipmentAllocationRequest(shipment_reference=name)
            self._calls += [
                stub.AllocateShipment.future(write, timeout=4.0, metadata=metadata),
                stub.GetShipmentAllocation.future(read, timeout=4.0, metadata=metadata),
            ]

    def close(self) -> None:
        """Gives up what is under way."""
        for channel in self._channels:
            channel.close()


@contextmanager
def at_upstream(scene: Scene, action: dict[str, Any]) -> Iterator[None]:
    scene.sandbox.call("POST", "faults", {"count": None, "action": action})
    yield
    scene.sandbox.call("DELETE", "faults")


def answered(scene: Scene, status: int, code: str) -> Any:
    return at_upstream(scene, {"type": "status", "status": status, "body": {"code": code}})


@contextmanager
def store_down(scene: Scene) -> Iterator[None]:
    scene.store.kill()
    yield
    scene.store.start()


@contextmanager
def store_slow(scene: Scene) -> Iterator[None]:
    scene.path.delay(0.3)
    yield
    scene.path.delay(0.0)


@contextmanager
def repeated(work: Any) -> Iterator[None]:
    """Does something again and again beside what else happens."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            work(is_over)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def flood(scene: Scene) -> Any:
    flooding = Load(scene.gateway.address)

    def work(is_over: threading.Event) -> None:
        flooding.turn("flood", 40)
        is_over.wait(0.2)

    return repeated(work)


def blocked(scene: Scene) -> Any:
    pid = pid_of(scene.gateway, 1)

    def work(is_over: threading.Event) -> None:
        os.kill(pid, signal.SIGSTOP)
        is_over.wait(2.0)
        # In between, it answers whoever scrapes it.
        os.kill(pid, signal.SIGCONT)
        is_over.wait(1.5)

    return repeated(work)


@contextmanager
def bad_edit(scene: Scene) -> Iterator[None]:
    good = scene.catalogue.read_bytes()
    scene.catalogue.write_text("service_groups = [\n")
    yield
    scene.catalogue.write_bytes(good)


@contextmanager
def worker_dies(scene: Scene) -> Iterator[None]:
    os.kill(pid_of(scene.gateway, 1), signal.SIGKILL)
    yield


# A worker that was replaced is told of as long as the gateway runs: it goes last.
FAULTS: Final = {
    "Sorted is slow": lambda scene: at_upstream(scene, {"type": "latency", "seconds": 1.5}),
    "Sorted answers 5xx": lambda scene: answered(scene, 500, "internal_server_error"),
    "Sorted throttles": lambda scene: answered(scene, 429, "too_many_requests"),
    "the key is rejected": lambda scene: answered(scene, 401, "unauthorized"),
    "the store is down": store_down,
    "the store is slow": store_slow,
    "one caller floods": flood,
    "a bad edit of the catalogue": bad_edit,
    "the event loop is blocked": blocked,
    "a worker dies": worker_dies,
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "jwks.json").write_bytes(ISSUED.published())
    catalogue = Path(shutil.copy(CATALOGUE, folder))
    with ExitStack() as stack:
        store = stack.enter_context(running_cache())
        path = stack.enter_context(slow_path(store.port))
        settings = {
            **SETTINGS,
            "STORE_URL": f"redis://127.0.0.1:{path.port}/0",
            "SERVICE_GROUP_CATALOGUE_FILE": str(catalogue),
            "JWKS_FILE": str(folder / "jwks.json"),
        }
        gateway = stack.enter_context(running_gateway(settings, "--sandbox"))
        target = gateway.wait_for("prometheus_listening")["address"]
        client = stack.enter_context(running_prometheus(target, folder))
        load = Load(gateway.address)
        stack.callback(load.close)
        yield Scene(gateway, Sandbox(gateway.sandbox_url), store, path, catalogue, client, load)


def seen(scene: Scene) -> frozenset[str]:
    """Returns the signs that are seen now, after some more calls."""
    scene.load.turn()
    threading.Event().wait(TURN)
    return frozenset(name for name, sign in SIGNS.items() if sign.is_seen(scene.client))


def wait_for(scene: Scene, is_right: Any) -> list[frozenset[str]]:
    """Looks until what is seen is right, twice in a row. Returns what was seen."""
    end, found = time.monotonic() + SECONDS, [seen(scene)]
    while not all(map(is_right, found[-2:])) or len(found) < 2:
        assert time.monotonic() < end, [sorted(signs) for signs in found[-8:]]
        found.append(seen(scene))
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_shows_itself_as_the_table_says_and_is_over_when_it_is_over(fault: str, scene: Scene) -> None:
    wait_for(scene, lambda signs: not signs)
    with FAULTS[fault](scene):
        wait_for(scene, TABLE[fault].fits)


def test_no_two_faults_look_the_same() -> None:
    pairs = list(itertools.combinations(TABLE, 2))
    assert len(pairs) == 45
    assert [pair for pair in pairs if not TABLE[pair[0]].is_told_from(TABLE[pair[1]])] == []


def test_every_fault_of_the_table_has_a_row_in_the_runbooks_and_is_tried() -> None:
    section = RUNBOOKS.read_text().split("## Alerts")[0]
    rows = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    assert [row for row in rows if row not in {"fault", "---"}] == list(TABLE) == list(FAULTS)
