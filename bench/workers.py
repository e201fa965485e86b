"""What several workers cost, and how evenly the system deals connections out to them.

Usage: python bench/workers.py

Starts the sandbox and gateways of its own. Each channel has one connection; calls are offered at one rate to one worker
and to two, in alternating rounds. All workers are kept on one core and everything else on another: what is compared is
their work, and not where the system places it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COMMAND = str(Path(sys.executable).parent / "allocation-gateway")
READ = pb.GetShipmentAllocationRequest(shipment_reference="sp_00794403010635468411384028069888")
CONNECTIONS = (1, 2, 4, 16, 64, 256)
TRIALS = 30
ROUNDS = 5
RATE = 60
SECONDS = 6.0
UNEVEN = 0.6
GATEWAY_CORE, OTHER_CORE = {0}, {1}
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Gateway:
    """A running gateway: its address, the processes that answer calls, and how many calls each has answered."""

    address: str = ""
    pids: list[int] = field(default_factory=list)
    calls: Counter[int] = field(default_factory=Counter)
    ready: threading.Event = field(default_factory=threading.Event)

    def follow(self, log: Iterable[str]) -> None:
        """Takes note of log lines until there are no more."""
        for text in log:
            self._take(json.loads(text))

    def _take(self, line: dict[str, Any]) -> None:
        if line["event"] == "call":
            self.calls[line.get("worker", 1)] += 1
        elif line["event"] == "worker_started":
            self.pids.append(line["pid"])
        elif line["event"] == "listening":
            self.address = line["address"]
            self.ready.set()

    def share(self) -> float:
        """Returns the share of the busiest worker."""
        return max(self.calls.values()) / self.calls.total()

    def cpu(self) -> float:
        """Returns the CPU time of all processes so far, in seconds."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICK

    def memory(self) -> list[float]:
        """Returns the resident memory of each process, in MB."""
        return [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6 for pid in self.pids]


@contextmanager
def running(*arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a command of the gateway, and ends it."""
    named = {f"ALLOCATION_GATEWAY_{name}": text for name, text in settings.items()}
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, GATEWAY_CORE if arguments[0] == "serve" else OTHER_CORE)
    process = subprocess.Popen(
        [COMMAND, *arguments], env={**os.environ, **named}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.sched_setaffinity(0, here)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def serving(workers: int, upstream: str, **settings: str) -> Iterator[tuple[Gateway, float]]:
    """Runs a gateway. Returns it with the seconds that it took to start."""
    given = {"PORT": "0", "ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": "sandbox-key", "SHIP_BASE_URL": upstream}
    begun = time.monotonic()
    with running("serve", "--workers", str(workers), SHUTDOWN_DELAY="0", **given, **settings) as process:
        gateway = Gateway()
        if workers == 1:
            gateway.pids.append(process.pid)
        assert process.stderr is not None  # noqa: S101
        reader = threading.Thread(target=gateway.follow, args=(process.stderr,), daemon=True)
        reader.start()
        if not gateway.ready.wait(60):
            raise SystemExit("the gateway does not start")
        yield gateway, time.monotonic() - begun
    reader.join()


async def offer(address: str, connections: int, rate: float, seconds: float) -> int:
    """Makes calls at a rate over so many connections, one after the other. Returns how many."""
    channels = [grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(connections)]
    stubs = [ShipmentAllocationServiceStub(channel) for channel in channels]
    loop = asyncio.get_running_loop()
    begun, pending = loop.time(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(begun + number / rate - loop.time())
        pending.append(stubs[number % connections].GetShipmentAllocation(READ, timeout=20, wait_for_ready=True))
    await asyncio.gather(*pending)
    await asyncio.gather(*(channel.close() for channel in channels))
    return len(pending)


def wait_for_log(gateway: Gateway, calls: int) -> None:
    """Waits until so many calls are in the log."""
    end = time.monotonic() + 20
    while gateway.calls.total() < calls:
        if time.monotonic() > end:
            raise SystemExit("calls are missing in the log")
        time.sleep(0.005)


def dealt(gateway: Gateway, connections: int) -> float:
    """Returns the busiest worker's share of calls over so many new connections."""
    gateway.calls.clear()
    made = asyncio.run(offer(gateway.address, connections, rate=connections * 20, seconds=0.05))
    wait_for_log(gateway, made)
    return gateway.share()


def split(upstream: str) -> None:
    """Prints how calls split between two workers, by the number of connections."""
    sys.stdout.write(f"share of the busier of two workers, {TRIALS} trials\n")
    with serving(2, upstream) as (gateway, _):
        for connections in CONNECTIONS:
            shares = sorted(dealt(gateway, connections) for _ in range(TRIALS))
            even = sum(share <= UNEVEN for share in shares) / TRIALS
            sys.stdout.write(
                f"{connections:4} connections: median {median(shares):.2f}, worst {shares[-1]:.2f}, "
                f"{even:4.0%} no worse than 60:40\n"
            )
    for connections in (4, 16):
        with serving(2, upstream, MAX_CONNECTION_AGE="1") as (gateway, _):
            wait_for_log(gateway, asyncio.run(offer(gateway.address, connections, RATE, 20.0)))
            sys.stdout.write(f"{connections:4} connections, dealt anew some 20 times: {gateway.share():.2f}\n")


def cost(upstream: str) -> None:
    """Prints CPU time per call, memory and start-up time of one worker and of two."""
    spent: dict[int, list[float]] = {1: [], 2: []}
    started: dict[int, list[float]] = {1: [], 2: []}
    memory: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(ROUNDS):
        for workers in (1, 2) if turn % 2 else (2, 1):
            with serving(workers, upstream) as (gateway, seconds):
                started[workers].append(seconds)
                memory[workers] += gateway.memory()
                asyncio.run(offer(gateway.address, 64, RATE, 1.0))
                before = gateway.cpu()
                calls = asyncio.run(offer(gateway.address, 64, RATE, SECONDS))
                spent[workers].append((gateway.cpu() - before) / calls * 1e6)
    for workers in (1, 2):
        sys.stdout.write(
            f"{workers} worker(s): {median(spent[workers]):.0f} us of CPU per call at {RATE} calls/s "
            f"({min(spent[workers]):.0f} to {max(spent[workers]):.0f}), {max(memory[workers]):.0f} MB each at start, "
            f"ready after {median(started[workers]):.2f} s\n"
        )
    ratios = sorted(two / one for one, two in zip(spent[1], spent[2], strict=True))
    sys.stdout.write(f"two against one, by round: median {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})\n")


def main() -> None:
    """Measures, and prints."""
    os.sched_setaffinity(0, OTHER_CORE)
    with running("sandbox", "--port", "0") as sandbox:
        assert sandbox.stdout is not None  # noqa: S101
        upstream = sandbox.stdout.readline().split("Ship at ")[1].split(",")[0]
        for measure in (cost, split):
            measure(upstream)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
