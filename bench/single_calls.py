"""Allocates single shipments at one rate, in a process that whoever drives a stream beside them does not hold up.

Usage: python -m bench.single_calls ADDRESS RATE FIRST

It says when it is ready, and calls until its input ends. Then it prints how long each call took in seconds, from when
it should have begun, as JSON.

Args:
    ADDRESS: The gateway.
    RATE: How many calls there are in a second.
    FIRST: The number of the first shipment: each call has one of its own, and a request id of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
import uuid
from contextlib import suppress
from itertools import count
from typing import Any

import grpc.aio
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub


async def main() -> None:
    """Calls, and prints how long it took."""
    address, rate, numbers = sys.argv[1], float(sys.argv[2]), count(int(sys.argv[3]))
    taken: list[float] = []
    calls: set[asyncio.Task[None]] = set()
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = ShipmentAllocationServiceStub(channel)

        async def call(due: float) -> None:
            asked = pb.AllocateShipmentRequest(
                shipment_reference=f"sp_{next(numbers):032d}", request_id=str(uuid.uuid4())
            )
            await stub.AllocateShipment(asked)
            taken.append(time.monotonic() - due)

        async def offer() -> None:
            begun = time.monotonic()
            for number in count():
                due = begun + number / rate
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
                task = asyncio.create_task(call(due))
                calls.add(task)
                task.add_done_callback(calls.discard)

        await call(time.monotonic())
        taken.clear()
        # What it measures is the gateway: it must not hold itself up.
        gc.disable()
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
