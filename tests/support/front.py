"""A gateway in front of a scripted upstream, with a stub to call it."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from support.gateway import running_gateway
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.gateway import Gateway
    from support.upstream import Upstream

KEY = "a-key-that-nobody-may-see"
SHIPMENT = "sp_00794403010635468411384028069888"
# Longer than anything takes here: whoever waits so long is stuck.
LONG = 20.0
# A gateway that forgets at once which request has allocated a shipment: tests that allocate the same one again have
# their answers scripted, and none for the reading that would come before.
FORGETTING = {"CLAIM_RETENTION_IN_MEMORY": "0.000001"}
SERVICE = "allocation.v1.ShipmentAllocationService"

READ = pb.GetShipmentAllocationRequest(shipment_reference=SHIPMENT)
WRITE = pb.AllocateShipmentRequest(shipment_reference=SHIPMENT)


def another_write() -> pb.AllocateShipmentRequest:
    """Returns a write of a shipment that no other test has to do with: one in doubt keeps its shipment for a while."""
    return pb.AllocateShipmentRequest(shipment_reference=f"sp_{uuid.uuid4()}")


@dataclass(frozen=True)
class Front:
    """What a test of the running gateway needs."""

    gateway: Gateway
    upstream: Upstream
    channel: grpc.Channel
    stub: ShipmentAllocationServiceStub


@contextmanager
def running_front(
    upstream: Upstream | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
    **more: str,
) -> Iterator[Front]:
    """Runs a gateway in front of a scripted upstream: the given one, or one of its own.

    Args:
        upstream: The upstream.
        settings: Settings of the gateway, and variables of OpenTelemetry.
        extra: Environment variables that are neither.
        more: Further settings.
    """
    if upstream is None:
        with running_upstream() as own:
            own.default = shipped
            with running_front(own, settings=settings, extra=extra, **more) as front:
                yield front
        return
    given = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": upstream.url, "SHIP_API_KEY": KEY, **(settings or {}), **more}
    with running_gateway(given, extra=extra) as gateway, grpc.insecure_channel(gateway.address) as channel:
        yield Front(gateway, upstream, channel, ShipmentAllocationServiceStub(channel))
