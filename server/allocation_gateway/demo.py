"""The documented allocation, made with the stub that callers install, against a sandbox.

It is what allocctl does for people, for where that cannot be: an image has none of the packages that allocctl needs.
And it may be made any number of times, as `helm test` may be run: the shipment is put back first.
"""

from __future__ import annotations

import sys
import urllib.request
import uuid
from typing import TYPE_CHECKING, Final

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from google.protobuf import text_format

from allocation_gateway import stand_in

if TYPE_CHECKING:
    from allocation.v1.core_pb2 import Allocation
    from google.type.money_pb2 import Money

SHIPMENT: Final = stand_in.SHIPMENT
GROUP: Final = "valuableGoods"
_TIMEOUT: Final = 10.0


def run(channel: grpc.Channel, sandbox_url: str) -> int:
    """Puts the shipment back as it was seeded, allocates it, and prints the typed result. Returns an exit code."""
    reset = urllib.request.Request(f"{sandbox_url}/_sandbox/reset?reference={SHIPMENT}", method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(reset, timeout=_TIMEOUT):  # noqa: S310
            pass
    except OSError as error:
        print(f"No sandbox answers at {sandbox_url}: {error}. Is `make run` running?", file=sys.stderr)
        return 1
    request = pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=SHIPMENT, service_group=GROUP, request_id=str(uuid.uuid4())
    )
    try:
        response = ShipmentAllocationServiceStub(channel).AllocateShipmentWithServiceGroup(request, timeout=_TIMEOUT)
    except grpc.RpcError as error:
        print(f"The call failed: {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    print(text_format.MessageToString(response))
    print(summary(response.allocation))
    return 0


def summary(allocation: Allocation) -> str:
    """Returns the gist of an allocation as one line."""
    tracking = ", ".join(allocation.tracking_details.shipment.tracking_references)
    return (
        f"{allocation.carrier.name}, {amount(allocation.price.gross)}, tracking {tracking}, "
        f"{len(allocation.excluded_services)} excluded services"
    )


def amount(money: Money) -> str:
    """Returns an amount with at least two decimals, exactly: `2.00 GBP`."""
    sign = "-" if money.units < 0 or money.nanos < 0 else ""
    decimals = f"{abs(money.nanos):09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{abs(money.units)}.{decimals} {money.currency_code}"
