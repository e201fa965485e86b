"""Allocates shipments by one stream, as a caller with all of them at hand does.

Usage: python -m bench.stream_calls ADDRESS ITEMS

It has so many shipments queued, and prints in how many seconds, as JSON. Its priority is the lowest: what is measured
beside it, on the same core, is to wait for the gateway and not for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from bench.processes import FailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_CHUNK: Final = 500
_LOWEST_PRIORITY: Final = 19


async def allocate(channel: grpc.aio.Channel, references: Sequence[str], wait_for: Any) -> Any:
    """Returns the summary of the stream.

    Args:
        channel: The gateway.
        references: The shipments.
        wait_for: A `job_pb2.WaitFor`: until when the stream waits for each.

    Raises:
        FailedError: The stream has ended without a summary.
    """

    async def messages() -> AsyncIterator[Any]:
        yield pb.AllocateShipmentStreamRequest(job=job_pb2.AllocationJob(job_id=str(uuid.uuid4()), wait_for=wait_for))
        for start in range(0, len(references), _CHUNK):
            items = [pb.ShipmentItem(shipment_reference=name) for name in references[start : start + _CHUNK]]
            yield pb.AllocateShipmentStreamRequest(items=items)

    stub: Any = ShipmentAllocationServiceStub(channel)
    call = stub.AllocateShipmentStream(messages())
    summaries = [one.summary async for one in call if one.WhichOneof("content") == "summary"]
    if len(summaries) != 1:
        raise FailedError(f"a stream has ended with {len(summaries)} summaries")
    return summaries[0]


async def _main(address: str, items: int) -> None:
    references = [f"sp_{number:032d}" for number in range(1, items + 1)]
    begun = time.monotonic()
    async with grpc.aio.insecure_channel(address) as channel:
        summary = await allocate(channel, references, job_pb2.WAIT_FOR_QUEUED)
    if summary.progress.queued != items:
        raise FailedError(f"{summary.progress.queued} of {items} items were queued")
    sys.stdout.write(json.dumps(time.monotonic() - begun))


if __name__ == "__main__":
    os.nice(_LOWEST_PRIORITY)
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
