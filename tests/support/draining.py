"""Ends a gateway while callers keep it busy, and holds it to losing none of their calls."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from support.front import LONG, running_front
from support.upstream import running_upstream, shipped
from support.workers import OWN_CONNECTION

if TYPE_CHECKING:
    from support.upstream import Received, Reply

CALLERS: Final = 8
CALLS_EACH: Final = 400
# So many calls have reached upstream when the gateway is told to end.
ENOUGH: Final = 200


def drained_under_load(**settings: str) -> list[dict[str, Any]]:
    """Each call either ends well, or was refused before it was accepted: upstream saw just those that ended well.

    Returns:
        The gateway's log.
    """
    seen: list[str] = []
    enough = threading.Event()

    def answer(received: Received) -> Reply:
        seen.append(received.line.split("/shipments/")[1].split("/")[0])
        if len(seen) == ENOUGH:
            enough.set()
        return shipped(received)

    async def call(address: str) -> list[tuple[str, grpc.StatusCode]]:
        async def caller(number: int) -> list[tuple[str, grpc.StatusCode]]:
            ended = []
            async with grpc.aio.insecure_channel(address, OWN_CONNECTION) as channel:
                stub = ShipmentAllocationServiceStub(channel)
                for index in range(CALLS_EACH):
                    name = f"sp_{number}_{index}"
                    call = stub.AllocateShipment(pb.AllocateShipmentRequest(shipment_reference=name), timeout=LONG)
                    ended.append((name, await call.code()))
                    if ended[-1][1] is not grpc.StatusCode.OK:
                        break
            return ended

        return [end for ends in await asyncio.gather(*map(caller, range(CALLERS))) for end in ends]

    with running_upstream() as upstream:
        upstream.default = answer
        with (
            running_front(upstream, settings={"SHUTDOWN_DELAY": "0.3", **settings}) as front,
            ThreadPoolExecutor(1) as pool,
        ):
            load = pool.submit(lambda: asyncio.run(call(front.gateway.address)))
            assert enough.wait(LONG)
            assert front.gateway.stop() == 0
            ended = load.result(LONG)
    ok = grpc.StatusCode.OK
    # gRPC itself says CANCELLED to a call that arrives in the moment in which the server stops (grpc issue 41785).
    assert {code for _, code in ended} - {grpc.StatusCode.CANCELLED} == {ok, grpc.StatusCode.UNAVAILABLE}
    assert sorted(name for name, code in ended if code is ok) == sorted(seen)
    return front.gateway.lines
