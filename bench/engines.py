"""What an HTTP exchange costs with each engine: CPU time of this process, beside httpx in alternating rounds of a run.

The upstream is a process of its own on another core. It answers with a prepared text of 2.2 kB, at once or after a
pause, so that this process is the limit; the last column tells how busy the upstream was.

Usage: PYTHONPATH=tests python bench/engines.py [--rounds N] [--seconds S] [--only engine,engine] [--rows text]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import resource
import ssl
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import uvloop
from allocation_gateway.upstream.engines.direct import DirectHttpEngine
from allocation_gateway.upstream.engines.httpx import HttpxEngine
from allocation_gateway.upstream.http import Attempt, Target
from support.certificates import Authority
from support.other_engines import AiohttpEngine, Httpx2Engine, PyreqwestEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from allocation_gateway.upstream.http import HttpEngine

ENGINES: Final[Mapping[str, Callable[[Target], HttpEngine]]] = {
    "httpx": HttpxEngine,
    "direct": DirectHttpEngine,
    "pyreqwest": PyreqwestEngine,
    "aiohttp": AiohttpEngine,
    "httpx2": Httpx2Engine,
}
OK: Final = 200
# Seconds after which a round ends, however little was done in it.
LONGEST: Final = 30.0
# Seconds that exchanges have to end after it.
PATIENCE: Final = 5.0
ANSWER: Final = b'{"state": "allocated", "carrier": "%s"}' % (b"x" * 2160)
BODY: Final = b'{"capabilities": [{"name": "signature", "value": true}]}'
HEADERS: Final = [
    ("x-api-version", "1.1"),
    ("ocp-apim-subscription-key", "0123456789abcdef0123456789abcdef"),
    ("content-type", "application/json"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip"),
    ("user-agent", "allocation-gateway/0.1.0"),
]


class Row(NamedTuple):
    """A way to load an engine.

    Attributes:
        in_flight: How many exchanges are under way at once.
        pause: Seconds that upstream takes for each.
        encrypted: Whether over TLS.
    """

    in_flight: int
    pause: float
    encrypted: bool = False


ROWS: Final[Mapping[str, Row]] = {
    "64 in flight, fast": Row(64, 0.0),
    "400 in flight, 50 ms": Row(400, 0.05),
    "4,000 in flight, 1 s": Row(4_000, 1.0),
    "400 in flight, 50 ms, TLS": Row(400, 0.05, encrypted=True),
}


class Answering(asyncio.Protocol):
    """Upstream. A request is over when the end of its body has come, which some engines send on its own."""

    ANSWER: Final = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ndate: Sun, 22 Nov 2026 11:00:00 GMT\r\n"
        b"x-request-id: 0123456789\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    )
    pause = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not data.endswith(BODY[-8:]):
            return
        if self.pause:
            self._loop.call_later(self.pause, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self.ANSWER)


def upstream(pipe: Connection, pause: float, certificate: tuple[str, str] | None) -> None:
    """Is upstream, until it is told to end. Tells its port."""
    pin(-1)
    allow_many_sockets()
    Answering.pause = pause

    async def serve() -> None:
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, ssl=context, backlog=8192)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        server.close()

    uvloop.run(serve())


def pin(core: int) -> None:
    """Keeps this process on one core."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core]})


class Measured(NamedTuple):
    """What one round showed.

    Attributes:
        cpu: Microseconds of CPU time for each exchange.
        busy: The part of its core that upstream used.
        rate: Exchanges a second.
        peak_mb: The most memory that was resident, in MB.
    """

    cpu: float
    busy: float
    rate: float
    peak_mb: float


async def load(engine: HttpEngine, row: Row, seconds: float, upstream_pid: int) -> tuple[float, float, int, float]:
    """Loads an engine until it has used so much CPU time, whoever else uses this machine meanwhile.

    Returns that CPU time, the time, the number of exchanges, and upstream's CPU time, all of it after a warm-up.
    """
    done = 0
    is_over = False

    async def one() -> None:
        nonlocal done
        while not is_over:
            answer = await engine.exchange(
                "PUT", "/shipments/sp_1/allocate/service_group/NEXT", body=BODY, headers=[], attempt=Attempt()
            )
            if answer.status != OK or answer.problem or len(answer.body) != len(ANSWER):
                raise SystemExit(f"an exchange has failed: {answer}")
            done += 1

    async def spend(cpu: float, exchanges: int) -> None:
        start, first, latest = time.process_time(), done, time.monotonic() + LONGEST
        while (time.process_time() - start < cpu or done - first < exchanges) and time.monotonic() < latest:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(one()) for _ in range(row.in_flight)]
    await spend(seconds / 3, row.in_flight)
    first, cpu, theirs, start = done, time.process_time(), cpu_of(upstream_pid), time.monotonic()
    await spend(seconds, row.in_flight)
    spent, cpu, theirs = time.monotonic() - start, time.process_time() - cpu, cpu_of(upstream_pid) - theirs
    count = done - first
    is_over = True
    over, slow = await asyncio.wait(tasks, timeout=PATIENCE)
    for task in slow:
        task.cancel()
    await asyncio.gather(*over)
    return cpu, spent, count, theirs


def cpu_of(pid: int) -> float:
    """Returns the CPU time of another process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def client(pipe: Connection, name: str, row: Row, seconds: float, where: tuple[int, int], authorities: str) -> None:
    """Is a process that loads one engine, once. Sends what load() returns, and its peak of memory in MB."""
    pin(0)
    allow_many_sockets()
    os.environ["SSL_CERT_FILE"] = authorities
    port, upstream_pid = where

    async def run() -> tuple[float, float, int, float]:
        url = f"{'https' if row.encrypted else 'http'}://127.0.0.1:{port}/pro"
        engine = ENGINES[name](Target(url, HEADERS, 30.0, row.in_flight, 1_000_000))
        try:
            return await load(engine, row, seconds, upstream_pid)
        finally:
            await engine.close()

    outcome = uvloop.run(run())
    pipe.send((*outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def allow_many_sockets() -> None:
    """Raises the limit of open files as far as it goes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure(name: str, row: Row, seconds: float, authority: Authority) -> Measured:
    """Runs one round with processes of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    certificate = tuple(str(file) for file in authority.issue("upstream")) if row.encrypted else None
    serving = context.Process(target=upstream, args=(theirs, row.pause, certificate))
    serving.start()
    try:
        port: int = _received(ours, serving)
        end, other = context.Pipe()
        asking = context.Process(
            target=client, args=(other, name, row, seconds, (port, serving.pid), str(authority.file))
        )
        asking.start()
        cpu, spent, count, upstream_cpu, peak = _received(end, asking)
        asking.join()
        ours.send(False)
        serving.join(10)
    finally:
        serving.kill()
    # An engine that completed nothing in its time has cost at least as much as that.
    return Measured(cpu / max(count, 1) * 1e6, upstream_cpu / spent, count / spent, peak)


def _received(pipe: Connection, process: SpawnProcess) -> Any:
    """Waits for what a process says, and notices if it ends instead."""
    while not pipe.poll(0.5):
        if not process.is_alive():
            raise SystemExit("a process of the measurement has failed")
    return pipe.recv()


def table(results: Mapping[str, Mapping[str, list[Measured]]]) -> str:
    """Returns the medians as a table, with the range of the CPU times."""
    lines = [
        "| row | engine | us of CPU per exchange (range) | of httpx | exchanges/s | peak MB | upstream busy |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, engines in results.items():
        for name, rounds in engines.items():
            ratios = [here.cpu / there.cpu for here, there in zip(rounds, engines["httpx"], strict=True)]
            cpus = [one.cpu for one in rounds]
            lines.append(
                f"| {row} | {name} | {statistics.median(cpus):.0f} ({min(cpus):.0f}-{max(cpus):.0f}) "
                f"| {statistics.median(ratios):.3f} | {statistics.median(one.rate for one in rounds):.0f} "
                f"| {statistics.median(one.peak_mb for one in rounds):.0f} "
                f"| {statistics.median(one.busy for one in rounds):.0%} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds in each round")
    parser.add_argument("--only", default=",".join(ENGINES), help="engines, separated by commas; httpx always is one")
    parser.add_argument("--rows", default="", help="only rows whose names hold this text")
    given = parser.parse_args()
    rows = {name: row for name, row in ROWS.items() if given.rows in name}
    names = [name for name in ENGINES if name == "httpx" or name in given.only.split(",")]
    results: dict[str, dict[str, list[Measured]]] = {row: {name: [] for name in names} for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        for number in range(given.rounds):
            for row, load in rows.items():
                for name in names if number % 2 == 0 else reversed(names):
                    results[row][name].append(measure(name, load, given.seconds, authority))
                    sys.stderr.write(f"round {number + 1}: {row}: {name}: {results[row][name][-1].cpu:.0f} us\n")
    versions = ", ".join(f"{name} {version(name)}" for name in ("httptools", "uvloop", *names) if name != "direct")
    sys.stdout.write(f"CPython {platform.python_version()}, {versions}\n\n{table(results)}\n")


if __name__ == "__main__":
    main()
