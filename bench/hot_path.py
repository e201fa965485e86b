"""What a write costs between the gRPC server and upstream: the handler alone, in this process, with every policy on.

It answers AllocateShipmentWithServiceGroup without a gRPC server around it. Upstream is one in memory, so that nothing
but our own Python is measured, or the benchmark's upstream in a process of its own, so that the HTTP engine is, too.
With `--store` it takes turns with one whose claims are on a server, and what that adds to a call is told in the end.
The objects are those that the garbage collector looks through as long as a call waits for upstream.

Usage: python -m bench.hot_path [--upstream memory|process] [--in-flight N] [--delay S] [--calls N] [--rounds N]
                                [--store] [--unobserved] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import statistics
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop
from allocation_gateway.accounts.book import Accounts
from allocation_gateway.accounts.opening import Opener
from allocation_gateway.claims.opening import open_stores
from allocation_gateway.following import FollowedFiles
from allocation_gateway.groups.catalogue import Catalogue
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.rpc.admission import Admission
from allocation_gateway.rpc.base import Gateway
from allocation_gateway.rpc.handler import Handler
from allocation_gateway.settings import PREFIX, load
from allocation_gateway.telemetry import logs
from allocation_gateway.telemetry.histograms import HistogramAggregation
from allocation_gateway.telemetry.sampling import TraceIds
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.upstream import client
from allocation_gateway.upstream.engines.reader import AnswerReader
from allocation_gateway.writes.coordinator import Coordinator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from bench import building, machine, measuring, payloads
from bench.processes import Program, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.upstream.http import Answer, Attempt

    from bench.machine import Cores

_TRACED: Final = 0.01
_IN_FLIGHT: Final = 8192
# Seconds after which a write of a round is given up: nothing here takes that long.
_DEADLINE: Final = 60.0
_MICRO: Final = 1e6
_ENTRIES: Final = 70
_SETTINGS: Final = {
    "ALLOW_PLAINTEXT": "true",
    "SHIP_API_KEY": "benchmark-key",
    "SERVICE_GROUPS": payloads.GROUP,
    "MAX_CONCURRENT_CALLS": str(_IN_FLIGHT),
    "SHIP_MAX_CONNECTIONS": str(2 * _IN_FLIGHT),
    "SHIP_MAX_IN_FLIGHT": str(_IN_FLIGHT),
}
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class MemoryEngine:
    """Upstream without a wire: it reads the bytes of an answer as the engine of our own does."""

    def __init__(self, delay: float) -> None:
        body = payloads.documented()
        self._answer = _HEAD % len(body) + body
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self.held: asyncio.Future[None] | None = None

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """See Engine."""
        del body, headers
        attempt.begin()
        if self.held is not None:
            await asyncio.shield(self.held)
        elif self._delay:
            waiting = self._loop.create_future()
            self._loop.call_later(self._delay, waiting.set_result, None)
            await waiting
        reader = AnswerReader(method, len(self._answer))
        reader.feed(self._answer.replace(payloads.REFERENCE.encode(), path.split("/")[2].encode()))
        reader.close()
        if reader.answer is None:
            raise AssertionError("the prepared answer is a whole one")
        return reader.answer

    async def close(self) -> None:
        """See Engine."""


class CallContext:
    """What a gRPC server tells of a call: a deadline, and no metadata."""

    __slots__ = ("_trailing",)

    def __init__(self) -> None:
        self._trailing: tuple[tuple[str, str], ...] = ()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Returns no metadata."""
        return ()

    def time_remaining(self) -> float:
        """Returns the seconds that there are."""
        return _DEADLINE

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """Takes what goes with the status."""
        self._trailing = metadata

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Returns what goes with the status."""
        return self._trailing

    async def send_initial_metadata(self, _: object) -> None:
        """Takes what goes before the answer."""

    async def abort(self, code: object, message: str, _: object) -> None:
        """Ends the measurement: no call may fail in it."""
        raise SystemExit(f"a call failed: {code} {message}")


async def open_handler(base_url: str, telemetry: Telemetry, store_url: str) -> tuple[Handler, AccountApi]:
    """Returns the handler with a gateway around it, as the composition root makes it."""
    environ = {f"{PREFIX}{name}": text for name, text in _SETTINGS.items()}
    settings = load({**environ, f"{PREFIX}STORE_URL": store_url}, overrides={"ship_base_url": base_url})
    opener = Opener(await open_stores(settings, telemetry), telemetry, FollowedFiles(), (b"", Catalogue()))
    default = await opener.open(settings)
    gateway = Gateway(
        settings=settings,
        telemetry=telemetry,
        admission=Admission(settings.max_concurrent_calls),
        writes=Coordinator(settings, telemetry),
        accounts=Accounts(default),
    )
    operation = next(row for row in OPERATIONS if f"/{row.full_name}" == payloads.ONE)
    (api,) = default.apis.values()
    return Handler(gateway, operation), api


def observed() -> Telemetry:
    """Returns telemetry as it is in production, but that nobody fetches it."""
    return Telemetry(
        TracerProvider(sampler=ParentBasedTraceIdRatio(_TRACED), id_generator=TraceIds()),
        MeterProvider([InMemoryMetricReader()]),
        HistogramAggregation(),
    )


class HotPath:
    """The handler, and calls for it."""

    def __init__(self, handler: Handler, api: AccountApi) -> None:
        self._handler = handler
        self.api = api
        self._calls = 0

    def requests(self, count: int) -> list[bytes]:
        """Returns so many requests, none of which was made before."""
        template, own = payloads.one().SerializeToString(), payloads.OWN.encode()
        self._calls += count
        return [template.replace(own, b"%012d" % number) for number in range(self._calls - count, self._calls)]

    async def drive(self, requests: Iterable[bytes], in_flight: int) -> None:
        """Makes the calls, so many at a time."""
        left = iter(requests)
        await asyncio.gather(*(self._caller(left) for _ in range(in_flight)))

    async def _caller(self, left: Iterator[bytes]) -> None:
        context: Any
        for data in left:
            context = CallContext()
            await self._handler.handle(data, context)

    async def objects(self, engine: MemoryEngine, in_flight: int) -> float:
        """Returns how many objects of the garbage collector's a call keeps while it waits for upstream."""
        engine.held = asyncio.get_running_loop().create_future()
        requests = self.requests(in_flight)
        left = iter(requests)
        gc.collect()
        gc.disable()
        before = len(gc.get_objects())
        calls = [asyncio.create_task(self._caller(left)) for _ in range(in_flight)]
        await asyncio.sleep(0.5)
        after = len(gc.get_objects())
        gc.enable()
        engine.held.set_result(None)
        engine.held = None
        await asyncio.gather(*calls)
        return (after - before) / in_flight


async def measure(given: argparse.Namespace, base_url: str, store_url: str) -> None:
    """Measures and prints."""
    engine: MemoryEngine | None = None
    if not base_url:
        engine = made = MemoryEngine(given.delay)
        setattr(client, "open_engine", lambda *_: made)  # noqa: B010 - it takes the place of what is imported there
    telemetry = Telemetry() if given.unobserved else observed()
    stores = {"in memory": "", **({"on a server": store_url} if store_url else {})}
    paths = {
        name: HotPath(*await open_handler(base_url or "http://127.0.0.1", telemetry, url))
        for name, url in stores.items()
    }
    costs: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(1 + given.rounds):
        for name, path in paths.items():
            requests = path.requests(given.calls)
            gc.collect()
            before = time.process_time()
            await path.drive(requests, given.in_flight)
            if number:
                costs[name].append((time.process_time() - before) / given.calls * _MICRO)
    for name, found in costs.items():
        told = f"{statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f}), {given.in_flight} in flight"
        print(f"CPU us per call, claims {name}: {told}")
    if store_url:
        added = [there - here for here, there in zip(*costs.values(), strict=True)]
        print(f"CPU us that the store adds to a call: {statistics.median(added):.1f} (at least {min(added):.1f})")
    # What is looked at more closely is what was asked for.
    path = paths["on a server" if store_url else "in memory"]
    if engine is not None:
        print(f"objects per call in flight: {await path.objects(engine, given.in_flight):.1f}")
    if given.profile:
        await profile(path, given)
    for path in paths.values():
        await path.api.upstream.close()
        await path.api.store.close()


async def profile(path: HotPath, given: argparse.Namespace) -> None:
    """Prints what takes the time by function, and by module. A profiler makes small functions look dearer."""
    profiler = cProfile.Profile()
    requests = path.requests(given.calls)
    profiler.enable()
    await path.drive(requests, given.in_flight)
    profiler.disable()
    stats: Any = pstats.Stats(profiler)
    stats.sort_stats("tottime").print_stats(_ENTRIES)
    modules: dict[str, float] = {}
    for (file, _, _), (_, _, seconds, _, _) in stats.stats.items():
        module = file.rpartition("allocation_gateway/")[2] if "allocation_gateway/" in file else Path(file).name
        modules[module] = modules.get(module, 0.0) + seconds
    for module, seconds in sorted(modules.items(), key=lambda item: -item[1])[:_ENTRIES]:
        print(f"{seconds / given.calls * _MICRO:8.1f}  {module}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", choices=("memory", "process"), default="memory")
    parser.add_argument("--in-flight", type=int, default=400)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that each answer takes")
    parser.add_argument("--calls", type=int, default=8_000, help="calls in each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--store", action="store_true", help="also with claims on a server")
    parser.add_argument("--unobserved", action="store_true", help="without metrics, traces and log lines")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        base_url = store_url = ""
        cores = machine.take_cores()
        if given.upstream == "process":
            base_url = stack.enter_context(upstream(given.delay, cores))
        if given.store:
            server = stack.enter_context(running("hot-path-store", measuring.store_program(), [cores.gateway]))
            store_url = f"redis://{server.address}/0"
        sys.stderr = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123 - the log lines are made, not shown
        logs.configure("error" if given.unobserved else "info", "json")
        uvloop.run(measure(given, base_url, store_url))


@contextmanager
def upstream(delay: float, cores: Cores) -> Iterator[str]:
    """Runs the benchmark's upstream on a core of its own. Returns its URL."""
    building.build_instruments()
    machine.raise_limits()
    body = machine.CACHE / "hot_path.json"
    body.write_bytes(payloads.documented())
    command = (
        *(str(machine.CACHE / "upstream"), "-listen", "127.0.0.1:{port}", "-body", str(body)),
        *("-reference", payloads.REFERENCE, "-delay", f"{delay}s"),
    )
    with running("hot-path-upstream", Program(command, {}), [cores.gateway]) as found:
        yield f"http://{found.address}"


if __name__ == "__main__":
    main()
