"""Calls gateways for some time over many routes, and has each call that finds none tried again.

Usage: python -m soak.client SECONDS PAUSE ATTEMPTS AUTHORITY ROUTE...

A route is its name, = and its addresses, of which the next one is tried after a failure; TLS is used if the name begins
with tls. Prints a line for each: the name, and how many calls were made, tried again, and lost; then what the lost ones
were told.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Final

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

_DEADLINE: Final = 10.0
# Of each route by itself: else all of them share connections.
_OPTIONS: Final = [("grpc.use_local_subchannel_pool", 1)]


async def follow(route: str, end: float, pause: float, attempts: int, authority: bytes) -> str:
    """Calls over one route. Returns its line."""
    name, _, addresses = route.partition("=")
    channels = [
        grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(authority), _OPTIONS)
        if name.startswith("tls")
        else grpc.aio.insecure_channel(address, _OPTIONS)
        for address in addresses.split(",")
    ]
    stubs: list[Any] = [ShipmentAllocationServiceStub(channel) for channel in channels]
    calls, again, lost = 0, 0, []
    while time.monotonic() < end:
        for attempt in range(1, attempts + 1):
            stub = stubs[(calls + attempt) % len(stubs)]
            request = pb.GetShipmentAllocationRequest(shipment_reference=f"sp_{calls}")
            try:
                await stub.GetShipmentAllocation(request, timeout=_DEADLINE)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or attempt == attempts:
                    lost.append(f"{error.code().name}: {error.details()}")
                    break
                again += 1
                await asyncio.sleep(pause * 2**attempt)
            else:
                break
        calls += 1
        await asyncio.sleep(pause)
    for channel in channels:
        await channel.close()
    return f"python {name} {calls} {again} {len(lost)} {' '.join(lost)}"


async def main() -> None:
    """Follows all routes at once."""
    seconds, pause, attempts, authority, *routes = sys.argv[1:]
    end = time.monotonic() + float(seconds)
    trusted = Path(authority).read_bytes()  # noqa: ASYNC240 - before there is anything else to do
    ways = [follow(route, end, int(pause) / 1000, int(attempts), trusted) for route in routes]
    for line in asyncio.as_completed(ways):
        print(await line)


if __name__ == "__main__":
    asyncio.run(main())
