"""A real Prometheus that scrapes two workers under load and faults: every query of every panel has an answer."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.cache import running_cache
from support.front import READ, SHIPMENT
from support.gateway import running_gateway
from support.prometheus import running_prometheus, selected
from support.sandbox import Sandbox
from support.workers import pid_of, wait_until

from helm import panels

if TYPE_CHECKING:
    import httpx
    from support.cache import CacheServer
    from support.gateway import Gateway

pytestmark = pytest.mark.alerts

ROOT: Final = Path(__file__).resolve().parents[2]
CATALOGUE: Final = ROOT / "server" / "allocation_gateway" / "groups" / "sandbox.toml"
# It takes certificates or tokens of callers to have any. What it counts is tested where they are.
ASKED_OF_CALLERS: Final = "allocation_gateway_caller_"
# A carrier takes the one, and of the other the sandbox says of each service why it does not.
WANTED: Final = "sp_90000000000000000000000000000003"
UNWANTED: Final = "sp_90000000000000000000000000000005"
# Nobody allocates it, so that who watches it does so until the deadline.
WATCHED: Final = "sp_90000000000000000000000000000006"
SECONDS: Final = 120.0
SETTINGS: Final = {
    "WORKERS": "2",
    "STORE_CHECKS": "off",
    "OTEL_METRICS_EXPORTER": "prometheus",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
    "MAX_CONCURRENT_CALLS": "6",
    "SHIP_MAX_IN_FLIGHT": "1",
    "SHIP_TIMEOUT": "1",
    "SHIP_SETTLE_TIME": "1",
    "SHIP_BREAKER_MIN_CALLS": "8",
    "SHIP_BREAKER_OPEN_TIME": "1",
    "SHIP_RETRY_BUDGET_BURST": "0",
    "SHIP_RETRY_BUDGET_RATIO": "0.01",
    "SHIP_DISABLED_OPERATIONS": "CreateShipmentQuotes",
    "SERVICE_GROUP_LISTING": "true",
}
WRITE: Final = {"method": "PUT", "path": "/shipments/{reference}/allocate"}
UNDOCUMENTED: Final = {"reference": SHIPMENT, "state": 7}
# What strikes requests in turn, each for some of them.
FAULTS: Final[list[dict[str, Any]]] = [
    {"match": WRITE, "count": 2, "action": {"type": "drop", "when": "before"}},
    {"match": {"method": "GET"}, "count": 6, "action": {"type": "status", "status": 200, "body": UNDOCUMENTED}},
    {"match": WRITE, "count": 6, "action": {"type": "status", "status": 429, "body": {"code": "too_many_requests"}}},
    {"count": 4, "action": {"type": "latency", "seconds": 0.3, "when": "before"}},
    {"count": 2, "action": {"type": "hang"}},
    {"count": 24, "action": {"type": "status", "status": 500, "body": {"code": "internal_server_error"}}},
]


def unanswered(client: httpx.Client, expressions: set[str]) -> set[str]:
    """Returns the queries that have no data yet."""
    left = set()
    for expression in expressions:
        answer = client.get("/api/v1/query", params={"query": selected(expression)}).json()
        assert answer["status"] == "success", answer
        if not answer["data"]["result"]:
            left.add(expression)
    return left


class Load:
    """Calls of every kind, again and again."""

    def __init__(self, address: str, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._stack = ExitStack()
        options = [("grpc.use_local_subchannel_pool", 1)]
        # Several connections, so that both workers get some.
        self._stubs = itertools.cycle(
            [
                ShipmentAllocationServiceStub(self._stack.enter_context(grpc.insecure_channel(address, options)))
                for _ in range(4)
            ]
        )
        self._faults = itertools.cycle(FAULTS)

    def round(self) -> None:
        """Makes some calls of each kind at once, under the next fault."""
        self._sandbox.call("POST", "faults", next(self._faults))
        calls: list[Any] = []
        for _ in range(6):
            stub, name = next(self._stubs), f"sp_{uuid.uuid4()}"
            write = pb.AllocateShipmentRequest(shipment_reference=name, request_id=str(uuid.uuid4()))
            group = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=name, service_group="fast")
            calls += [
                stub.AllocateShipment.future(write, timeout=2.0),
                stub.AllocateShipment.future(write, timeout=2.0),
                stub.AllocateShipmentWithServiceGroup.future(group, timeout=0.3),
                stub.GetShipmentAllocation.future(READ, timeout=2.0),
                stub.CreateShipmentQuotes.future(pb.CreateShipmentQuotesRequest(shipment_reference=name), timeout=2.0),
                stub.AllocateShipment.future(pb.AllocateShipmentRequest(), timeout=2.0),
                stub.AllocateShipment.future(pb.AllocateShipmentRequest(shipment_reference=WANTED), timeout=2.0),
                stub.AllocateShipment.future(pb.AllocateShipmentRequest(shipment_reference=UNWANTED), timeout=2.0),
            ]
        watched = pb.WatchShipmentAllocationsRequest(shipment_references=[WATCHED])
        watch = next(self._stubs).WatchShipmentAllocations(watched, timeout=1.0)
        item = pb.ShipmentItem(shipment_reference=f"sp_{uuid.uuid4()}")
        stream = next(self._stubs).AllocateShipmentStream(
            iter([pb.AllocateShipmentStreamRequest(items=[item])]), timeout=2.0
        )
        for lasting in (stream, watch):
            with suppress(grpc.RpcError):
                for _ in lasting:
                    pass
        for call in calls:
            call.exception()

    def close(self) -> None:
        """Closes the connections."""
        self._stack.close()


def test_every_query_of_a_panel_is_answered_with_data_also_after_a_restart(tmp_path: Path) -> None:
    shown = [panel for board in panels.BOARDS for _, row in board.rows for panel in row]
    left = {query.expression for panel in shown for query in panel.queries if ASKED_OF_CALLERS not in query.expression}
    with running_cache() as store:
        catalogue = str(shutil.copy(CATALOGUE, tmp_path))
        followed = {"SERVICE_GROUP_CATALOGUE_FILE": catalogue, "STORE_URL": f"redis://127.0.0.1:{store.port}/0"}
        settings = {**SETTINGS, **followed}
        with running_gateway(settings, "--sandbox") as gateway:
            target = gateway.wait_for("prometheus_listening")["address"]
            load = Load(gateway.address, Sandbox(gateway.sandbox_url))
            with running_prometheus(target, tmp_path) as client:
                unseen = answered(client, left, load, store)
                assert unseen == set()
                assert after_a_restart(client, left, load, gateway) == set()
            load.close()
            assert gateway.stop() == 0


def answered(client: httpx.Client, left: set[str], load: Load, store: CacheServer) -> set[str]:
    """Makes calls until every query is answered, or the time is up. The store goes away when all else is."""
    end = time.monotonic() + SECONDS
    while left and time.monotonic() < end:
        load.round()
        left = unanswered(client, left)
        if all("CLAIM_STORE" in each or "claim_store_failures" in each for each in left):
            store.kill()
    return left


def after_a_restart(client: httpx.Client, asked: set[str], load: Load, gateway: Gateway) -> set[str]:
    """Returns the queries that have no data when a worker has been replaced, and Prometheus has seen the next one."""
    killed = pid_of(gateway, 1)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: pid_of(gateway, 1) != killed, "it is not replaced", 60.0)
    replaced = 'allocation_gateway_worker_restarts{allocation_gateway_worker="1"} >= 1'
    wait_until(lambda: not unanswered(client, {replaced}), "it is not scraped", 60.0)
    load.round()
    return unanswered(client, asked)
