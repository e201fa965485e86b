"""What an allocation costs its caller: a call of the Python stub, beside a direct request by httpx and its JSON.

Usage: python -m bench.caller stub|httpx|async-stub|async-httpx ADDRESS CALLS

Prints the CPU time per allocation in microseconds. Both read the carrier and the exact price of each answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from bench.payloads import GROUP, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_WARM_UP: Final = 200
_IN_FLIGHT: Final = 16
_TIMEOUT: Final = 20.0
_numbers: Final = itertools.count()


def _reference() -> str:
    return f"{REFERENCE[:-12]}{next(_numbers):012}"


def _request() -> pb.AllocateShipmentWithServiceGroupRequest:
    return pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=_reference(), service_group=GROUP)


def _read_message(response: pb.AllocateShipmentWithServiceGroupResponse) -> tuple[str, Decimal]:
    gross = response.allocation.price.gross
    return response.allocation.carrier.name, gross.units + Decimal(gross.nanos).scaleb(-9)


def _path() -> str:
    return f"/shipments/{_reference()}/allocate/service_group/{GROUP}"


def _read_json(answer: httpx.Response) -> tuple[str, Decimal]:
    body: dict[str, Any] = json.loads(answer.raise_for_status().content, parse_float=Decimal)
    return body["carrier"]["name"], body["price"]["gross"]


def _measured(call: Callable[[], object], calls: int) -> float:
    for _ in range(_WARM_UP):
        call()
    before = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - before) / calls * 1e6


async def _measured_async(call: Callable[[], Awaitable[object]], calls: int) -> float:
    async def worker(share: int) -> None:
        for _ in range(share):
            await call()

    async def all_of(total: int) -> None:
        await asyncio.gather(*(worker(total // _IN_FLIGHT) for _ in range(_IN_FLIGHT)))

    await all_of(_WARM_UP)
    before = time.process_time()
    await all_of(calls)
    return (time.process_time() - before) / (calls // _IN_FLIGHT * _IN_FLIGHT) * 1e6


def _stub(address: str, calls: int) -> float:
    with grpc.insecure_channel(address) as channel:
        stub = ShipmentAllocationServiceStub(channel)
        return _measured(
            lambda: _read_message(stub.AllocateShipmentWithServiceGroup(_request(), timeout=_TIMEOUT)), calls
        )


def _httpx(address: str, calls: int) -> float:
    with httpx.Client(base_url=f"http://{address}", headers={"x-api-key": "bench"}, timeout=_TIMEOUT) as client:
        return _measured(lambda: _read_json(client.put(_path())), calls)


async def _async_stub(address: str, calls: int) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = ShipmentAllocationServiceStub(channel)

        async def call() -> object:
            return _read_message(await stub.AllocateShipmentWithServiceGroup(_request(), timeout=_TIMEOUT))

        return await _measured_async(call, calls)


async def _async_httpx(address: str, calls: int) -> float:
    async with httpx.AsyncClient(
        base_url=f"http://{address}", headers={"x-api-key": "bench"}, timeout=_TIMEOUT
    ) as client:

        async def call() -> object:
            return _read_json(await client.put(_path()))

        return await _measured_async(call, calls)


WAYS: Final[dict[str, Callable[[str, int], float]]] = {
    "stub": _stub,
    "httpx": _httpx,
    "async-stub": lambda address, calls: asyncio.run(_async_stub(address, calls)),
    "async-httpx": lambda address, calls: asyncio.run(_async_httpx(address, calls)),
}


if __name__ == "__main__":
    print(WAYS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))
