"""What is sent and answered: the vendor's documented allocation, and requests for it by the thousand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import service_group_service_pb2 as groups
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.protobuf import text_format

from bench.machine import ROOT

if TYPE_CHECKING:
    from google.protobuf.message import Message

_FIXTURES: Final = ROOT / "tests" / "fixtures" / "ship"
SHIP: Final = f"/{pb.DESCRIPTOR.services_by_name['ShipmentAllocationService'].full_name}"
_GROUPS: Final = f"/{groups.DESCRIPTOR.services_by_name['ServiceGroupService'].full_name}"

REFERENCE: Final = "sp_00794403010635468411384028069888"
GROUP: Final = "valuableGoods"
# What the load fills with digits of each call's own: a claim is one per request id, and locks its shipment.
OWN: Final = "#" * 12
_SHIPMENT: Final = REFERENCE[: -len(OWN)] + OWN
_REQUEST_ID: Final = f"7c1a6f0e-5b1d-4c2a-9d3e-{OWN}"

ONE: Final = f"{SHIP}/AllocateShipmentWithServiceGroup"
BULK: Final = f"{SHIP}/AllocateShipmentsWithServiceGroup"
LOOKUP: Final = f"{_GROUPS}/GetServiceGroup"


def one() -> Message:
    """Returns the request for one shipment."""
    return pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=_SHIPMENT, request_id=_REQUEST_ID, service_group=GROUP
    )


def bulk(shipments: int) -> Message:
    """Returns the request for several shipments."""
    return pb.AllocateShipmentsWithServiceGroupRequest(
        shipments=[_SHIPMENT] * shipments, request_id=_REQUEST_ID, service_group=GROUP
    )


def invalid() -> Message:
    """Returns a request that names no shipment."""
    return pb.AllocateShipmentWithServiceGroupRequest(request_id=_REQUEST_ID, service_group=GROUP)


def lookup() -> Message:
    """Returns the question for a service group that is known."""
    return groups.GetServiceGroupRequest(service_group=GROUP, api=groups.API_SHIP)


def documented() -> bytes:
    """Returns the body that the vendor's page shows, without the spaces that are there for the reader."""
    text = re.sub(r"\n\s*", "", (_FIXTURES / "service_group.json").read_text())
    return text.replace('": ', '":').encode()


def large(excluded: int) -> bytes:
    """Returns the same body with so many excluded services."""
    text = documented().decode()
    before, key, services = text.partition('"excluded_services":')
    found: list[dict[str, Any]] = json.loads(services[: services.rindex("]") + 1])
    made = [
        {**service, "carrier": {**service["carrier"], "reference": f"{service['carrier']['reference']}_{number}"}}
        for number, service in enumerate(found * (excluded // len(found)))
    ]
    return f"{before}{key}{json.dumps(made, separators=(',', ':'))}}}".encode()


def refusal() -> bytes:
    """Returns the body of an upstream that refuses to allocate what is manifested already.

    It says so itself. After a refusal for the state of a shipment, our gateway reads it, which others do not.
    """
    error = {
        "correlation_id": "7a53f7c4-836f-4a46-9d67-be1cadaaf7c2",
        "code": "conflict",
        "message": f"Shipment {REFERENCE} cannot be allocated.",
        "details": [{"code": "shipment_manifested", "message": f"Shipment {REFERENCE} has been manifested."}],
        "_links": [],
    }
    return json.dumps(error, separators=(",", ":")).encode()


def response() -> pb.AllocateShipmentWithServiceGroupResponse:
    """Returns the documented allocation as callers get it."""
    text = Path(_FIXTURES / "service_group.txtpb").read_text()
    return text_format.Parse(text, pb.AllocateShipmentWithServiceGroupResponse())
