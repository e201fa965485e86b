"""Makes single calls at one rate, in a process of its own: whoever drives a stream beside them holds up nothing here.

Usage: python -m bench.single_calls ADDRESS REFERENCE RATE

It says when it is ready, and calls until its input ends. Then it prints how long each call took in seconds, from when
it should have begun, as JSON.

Args:
    ADDRESS: The gateway.
    REFERENCE: The shipment whose allocation is read.
    RATE: How many calls there are in a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from itertools import count
from typing import Any

import grpc.aio
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub


async def main() -> None:
    """Calls, and prints how long it took."""
    address, reference, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
    taken: list[float] = []
    calls: set[asyncio.Task[None]] = set()
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = ShipmentAllocationServiceStub(channel)
        asked = pb.GetShipmentAllocationRequest(shipment_reference=reference)

        async def call(due: float) -> None:
            await stub.GetShipmentAllocation(asked)
            taken.append(time.monotonic() - due)

        async def offer() -> None:
            begun = time.monotonic()
            for number in count():
                due = begun + number / rate
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
                task = asyncio.create_task(call(due))
                calls.add(task)
                task.add_done_callback(calls.discard)

        await stub.GetShipmentAllocation(asked)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        offering = asyncio.create_task(offer())
        await asyncio.to_thread(sys.stdin.read)
        offering.cancel()
        with suppress(asyncio.CancelledError):
            await offering
        await asyncio.gather(*calls)
    sys.stdout.write(json.dumps(taken))


if __name__ == "__main__":
    asyncio.run(main())
