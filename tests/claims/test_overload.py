"""A gateway that has more to do than its core can, with a store that is healthy, and an upstream that is no limit.

Whatever waits then waits for the gateway itself. What is too much is refused as too much: no call fails otherwise, and
the store is never blamed, at its default time-out.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc.aio
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.settings import Settings
from chaos import configuration
from chaos.plan import shipment
from chaos.processes import broken_command, gateway_command
from prometheus_client.parser import text_string_to_metric_families as families
from support.cache import running_cache
from support.gateway import running_gateway
from support.replication import client
from support.sandbox import running_sandbox
from support.status import failure_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from support.cache import CacheServer
    from support.gateway import Gateway
    from support.sandbox import Sandbox

pytestmark = pytest.mark.cache

# What is offered, as a multiple of what the gateway can do.
STEP: Final = 3.0
# Calls without pause by which it is found out how much that is. They are the first ones of that gateway.
TRIAL: Final = 800
# Calls of one stretch of overload: several times as many as a gateway takes in hand.
CALLS: Final = 2_400
# So often what is offered is tripled until something is refused. What the gateway can do is measured too low if the
# machine has other work just then.
STRETCHES: Final = 2
# Calls in flight if they are made without pause: there is a place at upstream for each, so that none is too much.
IN_FLIGHT: Final = 400
# The gateway's core, and how many other processes have work for it.
CORE: Final = max(os.sched_getaffinity(0))
RIVALS: Final = 8
# So often the gateway is given no time at all, and so many calls are answered in between.
STOPS: Final = 4
BETWEEN_STOPS: Final = 200
# Seconds. Nobody waits so long for anything, however slow the machine is.
PATIENCE: Final = 280.0
SERVED: Final = "OK"
OVERLOADED: Final = "RESOURCE_EXHAUSTED GATEWAY_OVERLOADED"
NO_STORE: Final = "UNAVAILABLE CLAIM_STORE_UNAVAILABLE"
STORE_TIMEOUT: Final = Settings().store_timeout
STEPS: Final = "allocation_gateway_claim_store_duration_seconds"
FAILED_STEPS: Final = "allocation_gateway_claim_store_failures_total"
_BETWEEN_SIGNS: Final = 0.01
TESTS: Final = Path(__file__).resolve().parents[1]
_WORK: Final = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"


class Callers:
    """Callers of a gateway, each of a shipment that nobody else asks for.

    Attributes:
        answers: What they were told, by shipment: that it is allocated, or the status and the reason.
    """

    def __init__(self, address: str) -> None:
        # One connection for each of a few callers, as in front of a real service.
        self._channels = [
            grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) for _ in range(4)
        ]
        self._stubs: list[Any] = [ShipmentAllocationServiceStub(channel) for channel in self._channels]
        self._made = 0
        self._news = asyncio.Event()
        self.answers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close()

    async def without_pause(self, calls: int) -> None:
        """Makes calls, each as soon as one of those before it is answered."""

        async def go_on() -> None:
            for _ in range(calls // IN_FLIGHT):
                await self._call()

        await asyncio.gather(*(go_on() for _ in range(IN_FLIGHT)))

    async def at_rate(self, rate: float, calls: int) -> None:
        """Makes calls, so many in a second, whatever becomes of them, and waits for all."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(calls):
                await asyncio.sleep(started + number / rate - time.monotonic())
                tasks.create_task(self._call())

    async def answered(self, count: int) -> None:
        """Waits until so many calls were answered."""
        while len(self.answers) < count:
            self._news.clear()
            await self._news.wait()

    async def _call(self) -> None:
        self._made += 1
        reference, stub = shipment(self._made), self._stubs[self._made % len(self._stubs)]
        request = pb.AllocateShipmentRequest(shipment_reference=reference, request_id=str(uuid.uuid4()))
        try:
            await stub.AllocateShipment(request, timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            self.answers[reference] = f"{error.code().name} {failure_of(error).reason}"
        else:
            self.answers[reference] = SERVED
        self._news.set()


class Witness:
    """Asks the store for a sign all the time, beside the gateway.

    On a machine that has far too much to do, it may be the store itself that gets no time. Then it is not healthy, and
    may be called that.

    Attributes:
        longest: For how many seconds it was silent at most.
    """

    def __init__(self, store: CacheServer) -> None:
        self._store = store
        self._ended = threading.Event()
        self._asking = threading.Thread(target=self._ask)
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._asking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._asking.join()

    @property
    def is_healthy(self) -> bool:
        """Whether the store was never silent for nearly as long as it may be."""
        return self.longest < STORE_TIMEOUT / 2

    def _ask(self) -> None:
        with client(self._store) as asked:
            while not self._ended.wait(_BETWEEN_SIGNS):
                started = time.monotonic()
                asked.ping()
                self.longest = max(self.longest, time.monotonic() - started)


@pytest.fixture
def store() -> Iterator[CacheServer]:
    """A store that waits for no disk, and comes first if this process may say so, as one with a machine of its own."""
    with running_cache() as server:
        with client(server) as asked, suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, asked.info("server")["process_id"], -20)
        yield server


@pytest.fixture
def witness(store: CacheServer) -> Iterator[Witness]:
    """Looks at the store for as long as a test lasts."""
    with Witness(store) as looking:
        yield looking


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Upstream, with a journal of what was done."""
    with running_sandbox("--shipments", str(TRIAL + STRETCHES * CALLS)) as running:
        yield running


@contextmanager
def pinned(command: Sequence[str], store: CacheServer, sandbox: Sandbox) -> Iterator[Gateway]:
    """Runs a gateway, on one core once it has started."""
    settings = {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_BASE_URL": f"{sandbox.url}/pro",
        "SHIP_API_KEY": configuration.KEY,
        "STORE_URL": f"redis://127.0.0.1:{store.port}/0",
        "STORE_CHECKS": "off",  # nothing is left of this server after the test
        # Upstream waits for the gateway as well, which is not what is tried.
        "SHIP_CONNECT_TIMEOUT": str(PATIENCE),
        "SHIP_TIMEOUT": str(PATIENCE),
        "SHIP_SETTLE_TIME": str(PATIENCE),
        "CLAIM_LEASE": str(PATIENCE),
        "MAX_CONNECTION_AGE": "3600",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    # Where the broken ones are.
    extra = {"PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))}
    with running_gateway(settings, command=command, extra=extra) as gateway:
        for thread in Path(f"/proc/{gateway.process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {CORE})
        yield gateway


@contextmanager
def rivals() -> Iterator[None]:
    """Has other processes work on the gateway's core all the time. They end with this one, too."""
    with ExitStack() as stack:
        for _ in range(RIVALS):
            rival = stack.enter_context(subprocess.Popen([sys.executable, "-c", _WORK, str(os.getpid())]))
            stack.callback(rival.kill)
            os.sched_setaffinity(rival.pid, {CORE})
        yield


def samples(gateway: Gateway, name: str) -> list[Any]:
    """Returns the samples of a metric, as the gateway tells them now."""
    address = gateway.wait_for("prometheus_listening")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
        page = answer.read().decode()
    return [sample for family in families(page) for sample in family.samples if sample.name == name]


def slow_steps(gateway: Gateway) -> float:
    """Returns how many steps of the store took longer than a healthy one may be silent, and were carried out."""
    within = [one for one in samples(gateway, f"{STEPS}_bucket") if float(one.labels["le"]) == STORE_TIMEOUT]
    return total(samples(gateway, f"{STEPS}_count")) - total(within)


def total(found: Iterable[Any]) -> float:
    return sum((float(one.value) for one in found), 0.0)


def assert_only_overload_is_told(gateway: Gateway, callers: Callers, sandbox: Sandbox, witness: Witness) -> None:
    served = [reference for reference, answer in callers.answers.items() if answer == SERVED]
    assert sandbox.all_bookings() == dict.fromkeys(served, (1, 0))
    told = {*callers.answers.values()}
    if not witness.is_healthy:
        assert told <= {SERVED, OVERLOADED, NO_STORE}
        return
    assert told <= {SERVED, OVERLOADED}
    assert samples(gateway, FAILED_STEPS) == []
    assert [line for line in gateway.lines if line["event"] == "claim_store_not_usable"] == []


@pytest.mark.asyncio
async def test_three_times_what_the_core_can_do_is_served_or_refused_as_too_much(
    store: CacheServer, sandbox: Sandbox, witness: Witness
) -> None:
    with pinned(gateway_command(), store, sandbox) as gateway, rivals():
        async with Callers(gateway.address) as callers:
            started = time.monotonic()
            await callers.without_pause(TRIAL)
            rate = TRIAL / (time.monotonic() - started)
            for _ in range(STRETCHES):
                rate *= STEP
                await callers.at_rate(rate, CALLS)
                if OVERLOADED in callers.answers.values():
                    break
            # Where the machine has no time to offer so much, nothing is refused either.
            assert_only_overload_is_told(gateway, callers, sandbox, witness)
            assert SERVED in callers.answers.values()


async def stop_and_go(gateway: Gateway, callers: Callers) -> None:
    """Has calls made without pause, and takes the gateway off its core again and again while they are under way.

    Each time that is for longer than the store may be silent, as where its share of the processor is used up.
    """
    load = asyncio.create_task(callers.without_pause(CALLS))
    for number in range(1, STOPS + 1):
        await callers.answered(number * BETWEEN_STOPS)
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(2 * STORE_TIMEOUT)
        finally:
            gateway.process.send_signal(signal.SIGCONT)
    await load


@pytest.mark.asyncio
async def test_store_is_not_blamed_for_what_the_gateway_had_no_time_to_read(
    store: CacheServer, sandbox: Sandbox, witness: Witness
) -> None:
    with pinned(gateway_command(), store, sandbox) as gateway:
        async with Callers(gateway.address) as callers:
            await stop_and_go(gateway, callers)
            assert_only_overload_is_told(gateway, callers, sandbox, witness)
            assert SERVED in callers.answers.values()
            assert slow_steps(gateway) > 0, "nothing waited for the gateway"


@pytest.mark.asyncio
async def test_that_would_be_noticed(store: CacheServer, sandbox: Sandbox) -> None:
    """If the time counted for which a step has waited, whoever it has waited for."""
    with pinned(broken_command("impatient"), store, sandbox) as gateway:
        async with Callers(gateway.address) as callers:
            await stop_and_go(gateway, callers)
            assert "timeout" in {sample.labels["error_type"] for sample in samples(gateway, FAILED_STEPS)}
            gateway.wait_for("claim_store_not_usable", reason="timeout")
