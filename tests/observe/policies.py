"""Which traces the documentation has a collector keep, and a call for each policy that is kept by it."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import yaml
from allocation.v1 import shipment_allocation_service_pb2 as pb
from observe import scenes
from observe.run import ROOT

if TYPE_CHECKING:
    from observe.scenes import Caller


def documented() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the processor that the documentation advises, and its policies by name."""
    (text,) = re.findall(
        r"```yaml\n(processors:\n  tail_sampling:.*?)```", (ROOT / "docs" / "telemetry.md").read_text(), re.DOTALL
    )
    processor = yaml.safe_load(text)["processors"]["tail_sampling"]
    return processor, {policy["name"]: policy for policy in processor["policies"]}


def failing(caller: Caller) -> str:
    """A call that fails, and not by its caller's fault."""
    shipment = caller.shipment()
    action = {"type": "status", "status": 500, "body": {"code": "internal_server_error"}}
    match = {"method": "GET", "reference": shipment}
    caller.sandbox.call("POST", "faults", {"match": match, "count": None, "action": action})
    asked = pb.GetShipmentAllocationRequest(shipment_reference=shipment)
    with caller.call("GetShipmentAllocation") as (trace_id, options), pytest.raises(grpc.RpcError):
        caller.stub.GetShipmentAllocation(asked, **options)
    return trace_id


def slow(caller: Caller) -> str:
    """A write that takes longer than callers like."""
    shipment = caller.shipment()
    caller.strike(shipment, {"type": "latency", "seconds": 2.5})
    return caller.allocate(shipment)


def left(caller: Caller) -> str:
    """A write that goes on when its caller has stopped waiting."""
    shipment = caller.shipment()
    caller.strike(shipment, {"type": "latency", "seconds": 3.0})
    asked = pb.AllocateShipmentRequest(shipment_reference=shipment, request_id=str(uuid.uuid4()))
    with caller.call("AllocateShipment") as (trace_id, options), pytest.raises(grpc.RpcError):
        caller.stub.AllocateShipment(asked, **{**options, "timeout": 1.0})
    return trace_id


SHARE: Final = "a share"
"""The policy that keeps a share of the ordinary calls."""
KEPT: Final = {"failed": failing, "slow": slow, "in doubt": scenes.read_back, "detached": left}
"""What is kept by each of the others."""
