"""Runs a gateway with traffic, faults, and everything that watches it, for a person to look at.

Usage: PYTHONPATH=tests python -m observe.run
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from observe.faults import FAULTS, Surroundings
from observe.pages import running_pages
from observe.reading import is_whole
from observe.scenes import SCENES, SHIPMENTS, Caller
from observe.traces import running_traces, told
from support.cache import running_cache
from support.gateway import running_gateway
from support.jaeger import PROGRAM, Options, running_jaeger
from support.prometheus import running_prometheus
from support.sandbox import running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from observe.traces import Traces

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "helm" / "allocation-gateway" / "rules" / "allocation-gateway.yaml"
FOLDER: Final = ROOT / ".cache" / "observe"
SETTINGS: Final = {
    "WORKERS": "2",
    "STORE_CHECKS": "off",
    "ALLOW_PLAINTEXT": "true",
    "SHIP_API_KEY": "sandbox-key",
    "CONSIGNMENTS_API_KEY": "sandbox-key",
    # Short, so that what takes long in production can be watched.
    "SHIP_TIMEOUT": "5",
    "SHIP_SETTLE_TIME": "5",
    "SHIP_BREAKER_OPEN_TIME": "5",
    "SERVICE_GROUP_LISTING": "true",
    "OTEL_METRICS_EXPORTER": "prometheus",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
}
# Seconds in which all is well, and in which a fault lasts.
_WELL: Final = 30.0
_FAULT: Final = 20.0
_TURN: Final = 0.5


class Watched(NamedTuple):
    """What runs, and where to look at it."""

    around: Surroundings
    spans: Traces
    endpoint: str
    pages: str
    prometheus: str
    jaeger: str


@contextmanager
def running_surroundings(folder: Path, endpoint: str, more: Mapping[str, str] | None = None) -> Iterator[Surroundings]:
    """Runs a gateway, a store, and the sandbox as upstream, which send their spans to a collector.

    Args:
        folder: Where the gateway's catalogue is.
        endpoint: Where the collector takes OTLP over gRPC.
        more: Further settings of the gateway.
    """
    with ExitStack() as stack:
        store = stack.enter_context(running_cache())
        sending = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        sandbox = stack.enter_context(running_sandbox("--shipments", str(SHIPMENTS), extra=sending))
        catalogue = ROOT / "server" / "allocation_gateway" / "groups" / "sandbox.toml"
        settings = {
            **SETTINGS,
            "SHIP_BASE_URL": f"{sandbox.url}/pro",
            "CONSIGNMENTS_BASE_URL": sandbox.url,
            "STORE_URL": f"redis://127.0.0.1:{store.port}/0",
            "SERVICE_GROUP_CATALOGUE_FILE": str(shutil.copy(catalogue, folder)),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
            **(more or {}),
        }
        gateway = stack.enter_context(running_gateway(settings))
        yield Surroundings(gateway, sandbox, store)


@contextmanager
def running(folder: Path) -> Iterator[Watched]:
    """Runs everything, which keeps what it has in a folder, and ends all of it with the block.

    A real collector with Jaeger is part of it where one has been built. It passes on what it gets.
    """
    with ExitStack() as stack:
        spans = stack.enter_context(running_traces())
        endpoint, jaeger = spans.endpoint, ""
        if PROGRAM.exists():
            collector = stack.enter_context(running_jaeger(folder, Options(forward_to=spans.endpoint)))
            endpoint, jaeger = collector.endpoint(), collector.url
        around = stack.enter_context(running_surroundings(folder, endpoint))
        target = around.gateway.wait_for("prometheus_listening")["address"]
        prometheus = stack.enter_context(
            running_prometheus(target, folder, job="allocation-gateway", more=_alerting(folder))
        )
        pages = stack.enter_context(running_pages(prometheus, spans))
        yield Watched(around, spans, endpoint, pages, str(prometheus.base_url), jaeger)


def _alerting(folder: Path) -> dict[str, Any]:
    """Returns what Prometheus is configured with to have the chart's alerts, with the runbooks of this repository."""
    rules = folder / "rules.yaml"
    rules.write_text(RULES.read_text().replace("RUNBOOKS_URL", str(ROOT / "docs" / "runbooks")))
    return {"rule_files": [str(rules)], "global": {"evaluation_interval": "1s"}}


class Traffic:
    """Calls of both workers, a few each turn."""

    def __init__(self, address: str, caller: Caller) -> None:
        self._caller = caller
        self._channels = [grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
        self._stubs = itertools.cycle([ShipmentAllocationServiceStub(channel) for channel in self._channels])
        self._calls: list[Any] = []

    def turn(self) -> None:
        """Begins some calls, without waiting for them."""
        self._calls = [call for call in self._calls if not call.done()]
        for _ in range(2):
            stub, shipment = next(self._stubs), self._caller.shipment()
            write = pb.AllocateShipmentRequest(shipment_reference=shipment, request_id=str(uuid.uuid4()))
            group = pb.AllocateShipmentWithServiceGroupRequest(
                shipment_reference=self._caller.shipment(), service_group="fast"
            )
            read = pb.GetShipmentAllocationRequest(shipment_reference=shipment)
            self._calls += [
                stub.AllocateShipment.future(write, timeout=5.0),
                stub.AllocateShipmentWithServiceGroup.future(group, timeout=5.0),
                stub.GetShipmentAllocation.future(read, timeout=5.0),
            ]

    def close(self) -> None:
        """Gives up what is under way."""
        for channel in self._channels:
            channel.close()


def _print(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _introduce(watched: Watched, seconds: float) -> None:
    gateway, sandbox, _ = watched.around
    jaeger = "(where `make jaeger` has been run, a Jaeger is a part of it too)"
    if watched.jaeger:
        jaeger = f"{watched.jaeger}/api/traces?service=allocation-gateway  traces by the API of Jaeger, as JSON"
    _print(f"""
The gateway listens on {gateway.address}, with two workers, a store, and the sandbox at {sandbox.url} as upstream.
Open in a browser:

  {watched.pages}  the panels of the dashboards, drawn without Grafana, and traces as text
  {watched.prometheus}/alerts  the chart's alerts; beside it the page on which Prometheus is asked anything
  {jaeger}

Grafana is not a part of this. Where you have one, add {watched.prometheus} as a data source,
and import the files in helm/allocation-gateway/dashboards.

Ctrl-C ends it all, as does the end of {seconds:.0f} seconds (OBSERVE_SECONDS).
""")


def _show_traces(caller: Caller, spans: Traces) -> None:
    for name, scene in SCENES.items():
        _print(f"{name}: {scene.__doc__}\n{told(spans.of(scene(caller), is_whole))}\n")


def _watch(watched: Watched, caller: Caller, stopped: threading.Event, end: float) -> None:
    """Makes calls, with a fault now and then, until it is stopped or the time is up."""
    traffic = Traffic(watched.around.gateway.address, caller)
    for fault in itertools.cycle(FAULTS):
        for text, seconds, change in (
            (f"From now on {fault.name}: docs/runbooks/{fault.runbook}.md", _FAULT, fault.begin),
            ("All is well.", _WELL, fault.end),
        ):
            change(watched.around)
            _print(f"{time.strftime('%H:%M:%S')}  {text}")
            until = min(time.monotonic() + seconds, end)
            while time.monotonic() < until:
                traffic.turn()
                if stopped.wait(_TURN):
                    break
            if stopped.is_set() or time.monotonic() >= end:
                traffic.close()
                return


def main() -> int:
    """Runs everything. Returns the exit code."""
    seconds = float(os.environ.get("OBSERVE_SECONDS", "900"))
    end = time.monotonic() + seconds
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    _print("Starting ...")
    with running(FOLDER) as watched:
        caller = Caller(watched.around.gateway.address, watched.endpoint, watched.around.sandbox)
        _introduce(watched, seconds)
        _show_traces(caller, watched.spans)
        _watch(watched, caller, stopped, end)
        _print("Stopping ...")
        caller.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
