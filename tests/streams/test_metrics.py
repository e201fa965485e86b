"""What metrics tell of streams while they last, and of their items when they have ended."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING, Final

from allocation.v1 import shipment_allocation_service_pb2 as pb
from streams.conftest import reset, running_scene, shipment
from streams.waves import LONG, messages, new_job
from support.workers import wait_until

if TYPE_CHECKING:
    from streams.conftest import Scene
    from support.sandbox import Sandbox

WAVE: Final = [shipment(number) for number in range(1, 13)]
STRANGER: Final = "sp_" + "9" * 32


def scraped(scene: Scene) -> dict[str, float]:
    """Returns what is told of streams: by the end of a metric's name and the values of its attributes."""
    address = scene.gateway.wait_for("prometheus_listening")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=LONG) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        told = re.fullmatch(r"allocation_gateway_(streams|stream_\w+)\{(.*)\} (\S+)", line)
        if told:
            values = re.findall(r'(?:api|state|outcome|rpc_method)="([^"]+)"', told[2])
            found[" ".join((told[1], *values))] = float(told[3])
    return found


def test_the_items_of_a_stream_are_told_by_their_states(shared_sandbox: Sandbox) -> None:
    reset(shared_sandbox)
    for match, count, seconds in (({"path": "/shipments/allocate"}, 1, 6), ({"method": "GET"}, None, 2)):
        held = {"type": "latency", "seconds": seconds, "when": "before"}
        shared_sandbox.call("POST", "faults", {"match": match, "count": count, "action": held})
    settings = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
    with running_scene(shared_sandbox, **settings) as scene:
        before = scraped(scene)
        assert before["streams allocation.v1.ShipmentAllocationService/AllocateShipmentStream"] == 0
        assert (before["stream_items ship waiting"], before["stream_lag_seconds ship"]) == (0, 0)
        call = scene.shipments.AllocateShipmentStream(messages([*WAVE, STRANGER], new_job()), timeout=LONG)
        watched = scene.shipments.WatchShipmentAllocations(
            pb.WatchShipmentAllocationsRequest(shipment_references=[shipment(40)]), timeout=LONG
        )
        wait_until(lambda: scraped(scene)["stream_items ship sending"] == len(WAVE) + 1, "nothing is being sent")
        watch = "streams allocation.v1.ShipmentAllocationService/WatchShipmentAllocations"
        wait_until(lambda: scraped(scene)[watch] == 1, "nothing is watched")
        meanwhile = scraped(scene)
        assert meanwhile["streams allocation.v1.ShipmentAllocationService/AllocateShipmentStream"] == 1
        assert meanwhile["stream_lag_seconds ship"] > 0
        assert meanwhile["stream_items consignments sending"] == 0
        wait_until(lambda: scraped(scene)["stream_items ship followed"] == len(WAVE), "nothing is followed")
        assert scraped(scene)["stream_items ship sending"] == 0
        for _ in call:
            pass
        watched.cancel()
        after = scraped(scene)
        outcomes = {name: count for name, count in after.items() if name.startswith("stream_outcomes")}
        assert outcomes == {
            "stream_outcomes_total ship allocated": len(WAVE),
            "stream_outcomes_total ship refused": 1,
        }
        assert all(count == 0 for name, count in after.items() if name.startswith(("stream_items", "stream_lag")))
