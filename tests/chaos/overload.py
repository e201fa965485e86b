"""A step to three times the load that upstream can serve: what it can serve is served, and the rest is refused at once.

Usage: PYTHONPATH=tests python -m chaos.overload

Upstream serves N calls at once in 50 ms each. N is chosen so that the gateway needs a quarter of a core at most for
what upstream can serve: refusing what is too much has to be cheap. The medians of three runs count.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc.aio
import uvloop
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from chaos import configuration
from chaos.history import History
from chaos.plan import shipment
from chaos.processes import Gateways, gateway_command
from chaos.requests import failure
from chaos.sockets import steady_port

if TYPE_CHECKING:
    from types import TracebackType

RUNS: Final = 3
SERVICE_TIME: Final = 0.05
STEP: Final = 3.0
LEAST_GOODPUT: Final = 0.9
SLOWEST_REFUSAL: Final = 0.05
_QUARTER: Final = 0.25
_FIRST_GUESS: Final = 8
_CALIBRATION: Final = 2.0
_WARM_UP: Final = 2.0
_OVERLOAD: Final = 6.0
_TIMEOUT: Final = 1.0
_EXAMPLE: Final = Path(__file__).parent.parent / "fixtures" / "ship" / "service_group.json"


class Upstream:
    """Serves so many calls at once, in the same time each; others wait."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._example = json.loads(_EXAMPLE.read_text())
        self._server: asyncio.Server | None = None
        self.port = steady_port()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                reference = head.split(b" ", 2)[1].decode().split("/")[2]
                async with self._places:
                    await asyncio.sleep(SERVICE_TIME)
                body = json.dumps({**self._example, "shipment_reference": reference}).encode()
                start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(start.encode() + body)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


@dataclass
class Load:
    """What became of the calls of one stretch of time, in seconds."""

    seconds: float = 0.0
    served: int = 0
    refused: list[float] = field(default_factory=list)
    lost: int = 0


class Caller:
    """Makes calls at a steady rate, whatever becomes of them."""

    def __init__(self, address: str) -> None:
        # One connection for each of a few callers, as in front of a real service.
        self._channels = [
            grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) for _ in range(4)
        ]
        self._stubs: list[Any] = [ShipmentAllocationServiceStub(channel) for channel in self._channels]
        self._shipments = 0

    async def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels:
            await channel.close()

    async def load(self, rate: float, seconds: float) -> Load:
        """Makes so many calls a second for a while, and counts what is answered in that while."""
        found = Load(seconds)
        start = time.monotonic()
        tasks = []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(start + number / rate - time.monotonic())
            tasks.append(asyncio.create_task(self._call(found, start + seconds)))
        await asyncio.gather(*tasks)
        return found

    async def _call(self, found: Load, end: float) -> None:
        self._shipments += 1
        stub = self._stubs[self._shipments % len(self._stubs)]
        started = time.monotonic()
        try:
            await stub.AllocateShipment(
                pb.AllocateShipmentRequest(shipment_reference=shipment(self._shipments)), timeout=_TIMEOUT
            )
        except grpc.aio.AioRpcError as error:
            # Only what says that nothing was sent is a refusal.
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and failure(error).effect == "none":
                found.refused.append(time.monotonic() - started)
            else:
                found.lost += 1
        else:
            found.served += time.monotonic() <= end


@dataclass(frozen=True)
class Result:
    """One run: goodput as a part of what upstream can serve, the 95th percentile of refusals, and calls lost."""

    at_once: int
    core: float
    goodput: float
    refusal: float
    refused: int
    lost: int


async def _run(directory: Path, at_once: int) -> Result:
    """Measures the gateway's use of its core at what upstream can serve, and then the step."""
    capacity = at_once / SERVICE_TIME
    async with Upstream(at_once) as upstream:
        history = History(configuration.described("overload", 0, guard=True, replicas=1))
        gateways = Gateways(history, directory, [gateway_command()])
        url = f"http://127.0.0.1:{upstream.port}"
        more = {"SHIP_TIMEOUT": "5", "SHIP_SETTLE_TIME": "5", configuration.IN_FLIGHT: str(at_once)}
        await gateways.start([(url, url)], more=more)
        caller = Caller(gateways.addresses[0])
        try:
            await caller.load(0.9 * capacity, _WARM_UP)
            before, started = gateways.cpu_seconds(0), time.monotonic()
            await caller.load(0.9 * capacity, _CALIBRATION)
            core = (gateways.cpu_seconds(0) - before) / (time.monotonic() - started)
            step = await caller.load(STEP * capacity, _OVERLOAD)
        finally:
            await caller.close()
            await gateways.stop()
    slowest = statistics.quantiles(step.refused, n=20)[-1] if len(step.refused) > 1 else float("inf")
    return Result(at_once, core, step.served / step.seconds / capacity, slowest, len(step.refused), step.lost)


async def measure() -> list[Result]:
    """Chooses how much upstream serves at once, and runs three times."""
    with tempfile.TemporaryDirectory(prefix="overload-") as path:
        directory = Path(path)
        guess = await _run(directory, _FIRST_GUESS)
        at_once = max(int(_FIRST_GUESS * _QUARTER / guess.core), 1) if guess.core > _QUARTER else _FIRST_GUESS
        return [await _run(directory, at_once) for _ in range(RUNS)]


def main() -> int:
    """Runs the test and prints what it measured; 1 if the gateway did not hold."""
    results = uvloop.run(measure())
    for one in results:
        sys.stdout.write(
            f"{one.at_once} at once, {one.at_once / SERVICE_TIME:.0f} a second, {one.core:.0%} of a core; at three "
            f"times that: goodput {one.goodput:.0%}, {one.refused} refused within {one.refusal * 1000:.0f} ms (p95), "
            f"{one.lost} lost\n"
        )
    goodput = statistics.median(one.goodput for one in results)
    refusal = statistics.median(one.refusal for one in results)
    holds = goodput >= LEAST_GOODPUT and refusal < SLOWEST_REFUSAL
    sys.stdout.write(
        f"median: goodput {goodput:.0%}, refusals {refusal * 1000:.0f} ms: {'holds' if holds else 'BROKEN'}\n"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
