"""Measures the rows: starts what a row needs, and lets the contenders take turns, round by round."""

from __future__ import annotations

import base64
import itertools
import json
import math
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.contenders import Surroundings
from bench.machine import CACHE
from bench.payloads import REFERENCE
from bench.processes import FailedError, Program, cpu_seconds, free_port, running
from bench.rows import Mode, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from bench.contenders import Contender
    from bench.machine import Cores
    from bench.processes import Running
    from bench.rows import Row

# More calls than a run makes: no two runs of a benchmark may share a request id.
_NUMBERS_PER_RUN: Final = 5_000_000
_runs: Final = itertools.count(1)
# Seconds beyond its own that a run may take before it is given up.
_PATIENCE: Final = 60.0
# Seconds after its load in which a gateway must have become idle, seconds between two looks at it, and the part of a
# core that an idle one may use.
_SETTLED_WITHIN: Final = 20.0
_LOOK: Final = 0.1
_IDLE: Final = 0.15
_MICRO: Final = 1e6
# The servers that may keep the claims: the first one that is installed does.
_STORES: Final = ("redis-server", "valkey-server")


@dataclass(frozen=True)
class Sample:
    """What one round of one contender in one row gave.

    Attributes:
        cpu_us: CPU time of the gateway per call, in microseconds; None if no call ended.
        calls_per_second: Calls that ended.
        latency_ms: Of calls, or of bursts: `p50`, `p99` and others.
        start_kb: Resident memory before the first call.
        peak_kb: The highest resident memory meanwhile.
        wrong: The part of the calls that did not end as they must.
        load_cpu_us: CPU time of the load per call.
        upstream_cpu_us: CPU time of upstream per call.
        load_busy: The part of their core that load and upstream used.
        detail: All that was seen.
    """

    row: str
    contender: str
    round: int
    cpu_us: float | None
    calls_per_second: float
    latency_ms: Mapping[str, float]
    start_kb: int
    peak_kb: int
    wrong: float
    load_cpu_us: float
    upstream_cpu_us: float
    load_busy: float
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """What runs around the gateways of a row.

    Attributes:
        surroundings: As the gateways are told.
        control: Where upstream tells its counts, as host:port.
        watched: Processes whose CPU time is noted, by name.
    """

    surroundings: Surroundings
    control: str
    watched: Mapping[str, int]


@contextmanager
def stage(row: Row, cores: Cores, *, store: bool) -> Iterator[Stage]:
    """Runs upstream, and an empty store of claims if somebody needs one."""
    body, certificate = CACHE / "answer.json", CACHE / "upstream.pem"
    body.write_bytes(row.upstream.body)
    control = f"127.0.0.1:{free_port()}"
    command = [
        *(str(CACHE / "upstream"), "-listen", "127.0.0.1:{port}", "-control", control),
        *("-body", str(body), "-reference", REFERENCE, "-status", str(row.upstream.status)),
        *("-delay", f"{row.upstream.delay}s"),
        *(("-certificate", str(certificate)) if row.upstream.tls else ()),
    ]
    with ExitStack() as stack:
        upstream = stack.enter_context(running("upstream", Program(command, {}), [cores.rest]))
        watched, url = {"upstream": upstream.pid}, ""
        if store:
            server = stack.enter_context(running("store", store_program(), [cores.rest]))
            watched["store"], url = server.pid, f"redis://{server.address}/0"
        around = Surroundings(
            upstream=f"{'https' if row.upstream.tls else 'http'}://{upstream.address}",
            ca_file=certificate if row.upstream.tls else None,
            telemetry=f"http://{control}",
            store=url,
            raised=row.raised,
        )
        yield Stage(around, control, watched)


def store_program() -> Program:
    """Returns a server as claims need it: one that keeps everything, also over a restart."""
    folder = CACHE / "store"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kept = ("--appendonly", "yes", "--save", "", "--dir", str(folder), "--maxmemory-policy", "noeviction")
    return Program([_store() or _STORES[0], "--port", "{port}", "--bind", "127.0.0.1", *kept], {})


def has_store() -> bool:
    """Tells whether a server for claims is installed here."""
    return _store() is not None


def _store() -> str | None:
    return next((name for name in _STORES if shutil.which(name)), None)


def measure(
    row: Row, contenders: Sequence[Contender], cores: Cores, on_failure: Callable[[str, FailedError], None]
) -> Iterator[Sample]:
    """Measures a row. Contenders take turns, so that whatever else the machine does meets all of them alike.

    Args:
        row: The row.
        contenders: Who takes turns.
        cores: Which core does what.
        on_failure: Is told who is left out from then on, and why.
    """
    store = any("{store}" in contender.settings.values() for contender in contenders)
    with stage(row, cores, store=store) as around, ExitStack() as stack:
        turns = _Turns(row, around, [cores.gateway] if row.pinned else [cores.rest, cores.gateway], stack)
        left = list(contenders)
        for number in range(1, row.rounds + 1):
            # There and back: nobody always comes after the same one.
            for contender in tuple(left) if number % 2 else tuple(reversed(left)):
                try:
                    yield turns.take(contender, number)
                    turns.settle(contender)
                except FailedError as error:
                    left.remove(contender)
                    on_failure(contender.key, error)


class _Turns:
    """The gateways of a row: started when it is their turn first, or each time where the row wants them alone."""

    def __init__(self, row: Row, around: Stage, cores: Sequence[int], stack: ExitStack) -> None:
        self._row = row
        self._around = around
        self._cores = cores
        self._stack = stack
        self._started: dict[str, Running] = {}

    def take(self, contender: Contender, number: int) -> Sample:
        """Measures one round of one contender."""
        key = contender.key
        if self._row.alone:
            with self._running(contender) as alone:
                return _sample(self._row, contender, number, alone, self._around)
        if key not in self._started:
            self._started[key] = self._stack.enter_context(self._running(contender))
        return _sample(self._row, contender, number, self._started[key], self._around)

    def settle(self, contender: Contender) -> None:
        """Waits until a gateway works no more on what its load has left behind: the next one has the same core."""
        gateway = self._started.get(contender.key)
        if gateway is None:
            return
        end = time.monotonic() + _SETTLED_WITHIN
        before, now = -math.inf, cpu_seconds(gateway.pid)
        while now - before > _IDLE * _LOOK and time.monotonic() < end:
            time.sleep(_LOOK)
            before, now = now, cpu_seconds(gateway.pid)

    def _running(self, contender: Contender) -> AbstractContextManager[Running]:
        return running(contender.key, contender.program(self._around.surroundings), self._cores)


def _sample(row: Row, contender: Contender, number: int, gateway: Running, around: Stage) -> Sample:
    seen = load(row, gateway, around, contender.credentials())
    cpu, ended, seconds = seen["seen"]["cpu_seconds"], seen["ended"], seen["seconds"]
    right = sum(count for status, count in seen["statuses"].items() if is_right(row.outcome, int(status)))
    total = seen["answered"] + seen["unanswered"]

    def per_call(used: float) -> float:
        return used / ended * _MICRO if ended else 0.0

    return Sample(
        row=row.key,
        contender=contender.key,
        round=number,
        cpu_us=per_call(cpu["gateway"]) if ended else None,
        calls_per_second=ended / seconds,
        latency_ms=seen["latency_ms"],
        start_kb=gateway.start_kb,
        peak_kb=seen["seen"]["rss_kb"]["gateway"],
        wrong=1 - right / total if total else 1.0,
        load_cpu_us=per_call(cpu["load"]),
        upstream_cpu_us=per_call(cpu["upstream"]),
        load_busy=(cpu["load"] + cpu["upstream"] + cpu.get("store", 0.0)) / seconds,
        detail=seen,
    )


def is_right(outcome: Outcome, status: int) -> bool:
    """Tells whether a call ended as it must, by its gRPC status; below zero the load itself found fault."""
    return status == 0 if outcome is Outcome.OK else status > 0


def load(row: Row, gateway: Running, around: Stage, credentials: Sequence[str] = ()) -> dict[str, Any]:
    """Calls a gateway, with credentials as options of the load, and returns what the load saw.

    Raises:
        FailedError: The load failed, or lost its connections.
    """
    watched = {"gateway": gateway.pid, **around.watched}
    command = [
        *(str(CACHE / "load"), "-address", gateway.address, "-method", row.method),
        *("-message", base64.b64encode(row.request.SerializeToString()).decode()),
        *("-mode", row.mode.value, "-calls", str(row.calls), "-connections", str(row.connections)),
        *("-ramp", f"{row.ramp}s", "-warmup", f"{row.warmup}s", "-duration", f"{row.seconds}s"),
        *("-first", str(next(_runs) * _NUMBERS_PER_RUN), "-stats", f"http://{around.control}/stats"),
        *("-pids", ",".join(f"{name}={pid}" for name, pid in watched.items())),
        *(("-rate", str(row.rate)) if row.mode is Mode.OPEN else ()),
        *credentials,
    ]
    patience = row.ramp + row.warmup + row.seconds + _PATIENCE
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    if done.returncode:
        raise FailedError(f"the load failed: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
