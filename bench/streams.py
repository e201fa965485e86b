"""What streams do to upstream, to single calls beside them, and to memory: `make bench-streams`.

Upstream is the sandbox, on the core of the load. What it gives is measured first, by bulk calls made by hand, without a
claim or anything else that the promise needs. Then a stream allocates as many, with its claims on a server; another
one waits until its items are allocated. Single calls are offered at one rate beside nothing and beside the streams, and
count from when they should have begun.

Environment:
    BENCH_STREAM_ITEMS: How many items a stream has: 100000.
    BENCH_STREAM_RATE: How many single calls there are in a second: 20.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.request
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import grpc.aio
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from bench import machine
from bench.measuring import store_program
from bench.processes import Program, cpu_seconds, end_in_order, resident_kb, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from bench.processes import Running

_ITEMS: Final = int(os.environ.get("BENCH_STREAM_ITEMS", "100000"))
_RATE: Final = float(os.environ.get("BENCH_STREAM_RATE", "20"))
_CHUNK: Final = 500
_BULK: Final = 100
# As many bulk calls as a stream has under way.
_AT_ONCE: Final = 8
# Seconds for which single calls are measured without a stream.
_ALONE: Final = 20.0
_LOOK: Final = 0.1
# Shipments that single calls read, which no stream has.
_READ: Final = "sp_00794403010635468411384028069888"
_COMMAND: Final = str(Path(sys.executable).parent / "allocation-gateway")


@dataclass
class Stream:
    """What a stream has come to.

    Attributes:
        seconds: How long it took.
        summary: What it was told at the end.
        cpu: The CPU time of the gateway, in seconds.
        most_kb: The most memory that the gateway had.
        singles: How long single calls took meanwhile, in seconds.
    """

    seconds: float = 0.0
    summary: Any = None
    cpu: float = 0.0
    most_kb: int = 0
    singles: list[float] = field(default_factory=list)


def main() -> int:
    """Measures, and prints a table. Returns the exit code."""
    end_in_order()
    cores = machine.take_cores()
    machine.CACHE.mkdir(parents=True, exist_ok=True)
    sandbox = [sys.executable, "-m", "allocation_gateway.sandbox", "--port", "{port}", "--shipments", str(_ITEMS)]
    with ExitStack() as stack:
        upstream = stack.enter_context(running("stream-upstream", Program(sandbox, {}), [cores.rest]))
        store = stack.enter_context(running("stream-store", store_program(), [cores.rest]))
        settings = {
            "PORT": "{port}",
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": f"http://{upstream.address}/pro",
            "SHIP_API_KEY": "sandbox-key",
            "STORE_URL": f"redis://{store.address}/0",
            "SERVICE_GROUP_LISTING": "false",
        }
        named = {f"ALLOCATION_GATEWAY_{name}": value for name, value in settings.items()}
        gateway = stack.enter_context(running("stream-gateway", Program([_COMMAND, "serve"], named), [cores.gateway]))
        asyncio.run(_measure(upstream.address, gateway))
    print(", ".join(f"{name} {what}" for name, what in machine.describe().items()))
    return 0


async def _measure(upstream: str, gateway: Running) -> None:
    references = [f"sp_{number:032d}" for number in range(1, _ITEMS + 1)]
    by_hand = await _by_hand(upstream, references)
    _reset(upstream)
    async with (
        grpc.aio.insecure_channel(gateway.address) as channel,
        grpc.aio.insecure_channel(gateway.address, options=[("grpc.use_local_subchannel_pool", 1)]) as beside,
    ):
        alone = await _singles(beside, asyncio.sleep(_ALONE))
        queued = await _stream(channel, beside, gateway, references, job_pb2.WAIT_FOR_QUEUED)
        _reset(upstream)
        allocated = await _stream(channel, beside, gateway, references, job_pb2.WAIT_FOR_ALLOCATED)
    print(f"{_ITEMS} shipments; {_RATE:g} single calls in a second beside; the gateway began at {gateway.start_kb} kB")
    print(f"bulk calls by hand        {_ITEMS / by_hand:8.0f}/s")
    for name, made in (("a stream until queued", queued), ("a stream until allocated", allocated)):
        progress = made.summary.progress
        done = progress.queued + progress.allocated
        print(
            f"{name:25} {done / made.seconds:8.0f}/s, {by_hand / made.seconds:.0%} of that; {done} done, "
            f"{progress.refused} refused, {progress.unknown} unknown; {made.cpu / _ITEMS * 1e6:.0f} us of CPU each; "
            f"{made.summary.bulk_calls} bulk calls; {made.summary.readings / _ITEMS:.2f} readings each; "
            f"{made.most_kb} kB at most; p99 of single calls {_p99(made.singles) * 1e3:.1f} ms, "
            f"{_p99(made.singles) / _p99(alone):.2f} times that of {_p99(alone) * 1e3:.1f} ms beside nothing"
        )


def _reset(upstream: str) -> None:
    asked = urllib.request.Request(f"http://{upstream}/_sandbox/reset", method="POST")
    with urllib.request.urlopen(asked):  # noqa: S310 # it is http
        pass


async def _by_hand(upstream: str, references: Sequence[str]) -> float:
    """Has upstream queue shipments by bulk calls. Returns the seconds that it took."""
    headers = {"x-api-key": "sandbox-key", "x-api-version": "1.1"}
    starts = iter(range(0, len(references), _BULK))
    async with aiohttp.ClientSession(f"http://{upstream}", headers=headers) as session:

        async def work() -> None:
            for start in starts:
                body = {"shipments": references[start : start + _BULK]}
                async with session.put("/pro/shipments/allocate", json=body) as answer:
                    told = json.loads(await answer.read())
                    if len(told["queued"]) != len(body["shipments"]):
                        raise RuntimeError(f"upstream has not queued all of them: {answer.status}")

        begun = time.monotonic()
        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        return time.monotonic() - begun


async def _stream(
    channel: grpc.aio.Channel, beside: grpc.aio.Channel, gateway: Running, references: Sequence[str], wait_for: Any
) -> Stream:
    """Allocates shipments by one stream, with single calls beside it."""
    made = Stream()

    async def messages() -> AsyncIterator[Any]:
        yield pb.AllocateShipmentStreamRequest(job=job_pb2.AllocationJob(job_id=str(uuid.uuid4()), wait_for=wait_for))
        for start in range(0, len(references), _CHUNK):
            items = [pb.ShipmentItem(shipment_reference=name) for name in references[start : start + _CHUNK]]
            yield pb.AllocateShipmentStreamRequest(items=items)

    async def consume() -> None:
        begun, cpu = time.monotonic(), cpu_seconds(gateway.pid)
        stub: Any = ShipmentAllocationServiceStub(channel)
        async for response in stub.AllocateShipmentStream(messages()):
            if response.WhichOneof("content") == "summary":
                made.summary = response.summary
        made.seconds, made.cpu = time.monotonic() - begun, cpu_seconds(gateway.pid) - cpu

    async def look() -> None:
        while True:
            made.most_kb = max(made.most_kb, resident_kb(gateway.pid))
            await asyncio.sleep(_LOOK)

    looking = asyncio.create_task(look())
    try:
        made.singles = await _singles(beside, consume())
    finally:
        looking.cancel()
    return made


async def _singles(channel: grpc.aio.Channel, meanwhile: Awaitable[None]) -> list[float]:
    """Makes single calls at the rate until something has ended. Returns how long each took from when it was due."""
    stub: Any = ShipmentAllocationServiceStub(channel)
    taken: list[float] = []
    calls: set[asyncio.Task[None]] = set()

    async def call(due: float) -> None:
        await stub.GetShipmentAllocation(pb.GetShipmentAllocationRequest(shipment_reference=_READ))
        taken.append(time.monotonic() - due)

    async def offer() -> None:
        begun = time.monotonic()
        for number in count():
            due = begun + number / _RATE
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            task = asyncio.create_task(call(due))
            calls.add(task)
            task.add_done_callback(calls.discard)

    offering = asyncio.create_task(offer())
    try:
        await meanwhile
    finally:
        offering.cancel()
        with suppress(asyncio.CancelledError):
            await offering
        await asyncio.gather(*calls)
    return taken


def _p99(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100)[98]


if __name__ == "__main__":
    sys.exit(main())
