"""What streams and watches do to upstream, to single calls beside them, and to memory: `make bench-streams`.

Upstream is the sandbox, on the core of the load. The same work is done twice: by a program in Go that has none of what
the promise needs (`bench/rivals/wave`), and by a gateway whose claims are on a server; each has a core to itself. Both
allocate so many shipments until they are queued, then until they are allocated, and watch a thousand that somebody else
allocates. How long single calls take beside a stream is measured after that, with another upstream: see bench.beside.

Environment:
    BENCH_STREAM_ITEMS: How many items a stream has: 100000. With any other number nothing is written to docs/.
    BENCH_STREAM_RATE: How many single calls there are in a second: 50.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import grpc.aio
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from bench import beside, building, machine
from bench.documents import put_between_marks
from bench.measuring import store_program
from bench.processes import FailedError, Program, cpu_seconds, end_in_order, free_port, piped, resident_kb, running
from bench.stream_calls import allocate
from bench.stream_report import Pair, Work, report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bench.processes import Running

_WHOLE: Final = 100_000
_ITEMS: Final = int(os.environ.get("BENCH_STREAM_ITEMS", _WHOLE))
_RATE: Final = float(os.environ.get("BENCH_STREAM_RATE", "50"))
_BULK: Final = 100
# As many as a watch may have.
_WATCHED: Final = 1_000
_LOOK: Final = 0.1
_KEY: Final = "sandbox-key"
_COMMAND: Final = str(Path(sys.executable).parent / "allocation-gateway")
_GO: Final = str(machine.CACHE / "wave")
# The sandbox without a garbage collector: it would look through 200,000 shipments for a quarter of a second, now while
# it works for the one and now for the other.
_UNINTERRUPTED: Final = (
    "import gc, runpy\n"
    "gc.disable()\n"
    "runpy.run_module('allocation_gateway.sandbox', run_name='__main__', alter_sys=True)"
)
_DOCUMENT: Final = machine.ROOT / "docs" / "performance.md"
_BEGIN: Final = "<!-- streams: written by `make bench-streams` -->"
_END: Final = "<!-- /streams -->"
_WATCHES: Final = re.compile(
    r'^http_client_request_duration_seconds_count\{.*attempt_kind="watch".*\} (\S+)$', re.MULTILINE
)


def main() -> int:
    """Measures, and writes a table. Returns the exit code."""
    end_in_order()
    building.build_wave()
    building.build_instruments()
    machine.raise_limits()
    cores = machine.take_cores()
    shipments = str(2 * _ITEMS + _WATCHED)
    sandbox = [sys.executable, "-c", _UNINTERRUPTED, "--port", "{port}", "--shipments", shipments]
    with ExitStack() as stack:
        upstream = stack.enter_context(running("stream-upstream", Program(sandbox, {}), [cores.rest]))
        store = stack.enter_context(running("stream-store", store_program(), [cores.rest]))
        settings = {
            "PORT": "{port}",
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": f"http://{upstream.address}/pro",
            "SHIP_API_KEY": _KEY,
            "STORE_URL": f"redis://{store.address}/0",
            "SERVICE_GROUP_LISTING": "false",
        }
        named = {f"ALLOCATION_GATEWAY_{name}": value for name, value in settings.items()}
        metrics = free_port()
        named |= {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics)}
        gateway = stack.enter_context(running("stream-gateway", Program([_COMMAND, "serve"], named), [cores.gateway]))
        pairs = asyncio.run(Bench(upstream.address, gateway, metrics, cores.gateway).measure())
    text = report(pairs, beside.measure(cores, _ITEMS, _RATE), machine.describe())
    print(text)
    if _ITEMS == _WHOLE:
        put_between_marks(_DOCUMENT, _BEGIN, _END, text)
    return 0


class Bench:
    """Upstream, the gateway before it, and the program in Go, which take turns."""

    def __init__(self, upstream: str, gateway: Running, metrics: int, core: int) -> None:
        """Has measured nothing yet.

        Args:
            upstream: Where upstream listens.
            gateway: The gateway.
            metrics: The port of its metrics.
            core: The core of the program in Go, which is the gateway's.
        """
        self._upstream = upstream
        self._gateway = gateway
        self._metrics = metrics
        self._core = core

    async def measure(self) -> list[Pair]:
        """Measures all of them."""
        # What the gateway has allocated once it reads before it sends it again, so each piece of work has its own.
        references = [f"sp_{number:032d}" for number in range(1, 2 * _ITEMS + _WATCHED + 1)]
        pieces = {"queued": references[:_ITEMS], "allocated": references[_ITEMS : 2 * _ITEMS]}
        watched = references[2 * _ITEMS :]
        pairs = []
        for until, wait_for in (("queued", job_pb2.WAIT_FOR_QUEUED), ("allocated", job_pb2.WAIT_FOR_ALLOCATED)):
            items = pieces[until]
            by_hand = await self._in_go(f"Go by hand, until {until}", until, items)
            self._reset()
            ours = await self._stream(f"a stream, until {until}", items, wait_for)
            self._reset()
            pairs.append(Pair(by_hand, ours))
        by_hand = await self._in_go("Go by hand, reading what others allocate", "watched", watched)
        self._reset()
        pairs.append(Pair(by_hand, await self._watch("a watch of what others allocate", watched)))
        return pairs

    def _reset(self) -> None:
        asked = urllib.request.Request(f"http://{self._upstream}/_sandbox/reset", method="POST")
        with urllib.request.urlopen(asked):  # noqa: S310 # it is http
            pass

    # Go by hand.

    async def _in_go(self, title: str, until: str, references: Sequence[str]) -> Work:
        """Has the program in Go do the work. What it watches is queued meanwhile."""
        command = ("taskset", "-c", str(self._core), _GO, "-upstream", f"http://{self._upstream}/pro", "-key", _KEY)
        async with piped(*command, "-until", until) as process:
            working = asyncio.create_task(process.communicate("\n".join(references).encode()))
            if until == "watched":
                await self._queue(references)
            text, _ = await working
        told = json.loads(text)
        return Work(
            title, told["done"], told["seconds"], told["cpu"], told["most_kb"], told["bulk_calls"], told["readings"]
        )

    async def _queue(self, references: Sequence[str]) -> None:
        """Has upstream queue shipments, as somebody else would."""
        headers = {"x-api-key": _KEY, "x-api-version": "1.1"}
        async with aiohttp.ClientSession(f"http://{self._upstream}", headers=headers) as session:
            for start in range(0, len(references), _BULK):
                body = {"shipments": references[start : start + _BULK]}
                async with session.put("/pro/shipments/allocate", json=body) as answer:
                    answer.raise_for_status()

    # The gateway.

    async def _stream(self, title: str, references: Sequence[str], wait_for: Any) -> Work:
        """Allocates shipments by one stream."""
        summaries: list[Any] = []

        async def consume() -> None:
            # Each has a connection of its own: calls on one that has become too old are ended.
            async with grpc.aio.insecure_channel(self._gateway.address) as channel:
                summaries.append(await allocate(channel, references, wait_for))

        usage = _Usage(self._gateway)
        await usage.of(consume())
        (summary,) = summaries
        progress = summary.progress
        lost = progress.refused + progress.unknown
        remark = f"{progress.refused} refused, {progress.unknown} unknown" if lost else ""
        done = progress.queued + progress.allocated
        spent = (usage.seconds, usage.cpu, usage.most_kb)
        return Work(title, done, *spent, summary.bulk_calls, summary.readings, remark)

    async def _watch(self, title: str, references: Sequence[str]) -> Work:
        """Watches shipments that somebody else has queued meanwhile, until all are allocated."""
        final: set[str] = set()

        async def consume() -> None:
            async with grpc.aio.insecure_channel(self._gateway.address) as channel:
                stub: Any = ShipmentAllocationServiceStub(channel)
                call = stub.WatchShipmentAllocations(pb.WatchShipmentAllocationsRequest(shipment_references=references))
                queueing = asyncio.create_task(self._queue(references))
                async for response in call:
                    final.update(one.shipment_reference for one in response.shipments if one.final)
                await queueing

        before = self._readings()
        usage = _Usage(self._gateway)
        await usage.of(consume())
        return Work(title, len(final), usage.seconds, usage.cpu, usage.most_kb, 0, round(self._readings() - before))

    def _readings(self) -> float:
        """Returns how often the gateway has read something for streams and watches."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics") as answer:
            return sum(map(float, _WATCHES.findall(answer.read().decode())))


class _Usage:
    """What the gateway used while something was done.

    Attributes:
        seconds: How long it took.
        cpu: The CPU time, in seconds.
        most_kb: The most memory.
    """

    def __init__(self, gateway: Running) -> None:
        self.seconds = 0.0
        self.cpu = 0.0
        self.most_kb = 0
        self._pid = gateway.pid

    async def of(self, work: Awaitable[None]) -> None:
        """Does something, and looks at what is used."""
        looking = asyncio.create_task(self._look())
        begun, cpu = time.monotonic(), cpu_seconds(self._pid)
        try:
            await work
        finally:
            self.seconds, self.cpu = time.monotonic() - begun, cpu_seconds(self._pid) - cpu
            looking.cancel()

    async def _look(self) -> None:
        while True:
            self.most_kb = max(self.most_kb, resident_kb(self._pid))
            await asyncio.sleep(_LOOK)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (machine.NotPossibleError, FailedError) as error:
        sys.exit(f"bench-streams: {error}")
