"""How each fault is struck, and which ones are struck at the same time, each at a gateway of its own."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import deque
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
from faults.scene import PACE, SHIPMENTS, Load
from support.sandbox import TIMEOUT
from support.workers import pid_of, wait_until

from helm.rules import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from faults.scene import Scene
    from support.gateway import Gateway

# Of an allocation that is so many seconds older than a write, nobody can tell whose it is: it is too old to be that
# write's for certain, and not old enough to be certainly another's.
_TOO_OLD: Final = 5.0
_NUMBERS: Final = itertools.count(1)


@contextmanager
def at_upstream(scene: Scene, action: dict[str, Any], match: Mapping[str, str] | None = None) -> Iterator[None]:
    scene.sandbox.call("POST", "faults", {"match": match or {}, "count": None, "action": action})
    yield
    scene.sandbox.call("DELETE", "faults")


def answered(scene: Scene, status: int, code: str) -> AbstractContextManager[None]:
    return at_upstream(scene, {"type": "status", "status": status, "body": {"code": code}})


def undocumented(scene: Scene) -> AbstractContextManager[None]:
    action = {"type": "status", "status": 200, "body": {"reference": "sp_1", "state": 7}}
    return at_upstream(scene, action, {"method": "GET"})


@contextmanager
def store_down(scene: Scene) -> Iterator[None]:
    scene.store.kill()
    yield
    scene.store.start()


@contextmanager
def store_slow(scene: Scene) -> Iterator[None]:
    scene.path.delay(0.3)
    yield
    scene.path.delay(0.0)


@contextmanager
def repeated(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Does something again and again beside what else happens."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            work(is_over)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextmanager
def flood(scene: Scene) -> Iterator[None]:
    flooding = Load(scene.gateway.address)

    def work(is_over: threading.Event) -> None:
        flooding.turn("flood", 40)
        is_over.wait(0.2)

    # Answers take a while, so that calls pile up however quickly this process makes them.
    with at_upstream(scene, {"type": "latency", "seconds": 0.3}), repeated(work):
        yield
    flooding.close()


def blocked(scene: Scene) -> AbstractContextManager[None]:
    pid = pid_of(scene.gateway, 1)

    def work(is_over: threading.Event) -> None:
        os.kill(pid, signal.SIGSTOP)
        is_over.wait(0.8)
        # In between, it answers whoever scrapes it: twice, so that rates are known of the shortest windows.
        os.kill(pid, signal.SIGCONT)
        is_over.wait(1.0)

    return repeated(work)


@contextmanager
def bad_edit(scene: Scene) -> Iterator[None]:
    good = scene.catalogue.read_bytes()
    scene.catalogue.write_text("service_groups = [\n")
    yield
    scene.catalogue.write_bytes(good)


@contextmanager
def worker_dies(scene: Scene) -> Iterator[None]:
    """Twice: once may be bad luck."""
    # What it is counted from.
    asked = {"query": 'allocation_gateway_worker_restarts{allocation_gateway_worker="1"}'}
    wait_until(lambda: bool(_results(scene, asked)), "it is not counted", 60.0)
    for _ in range(2):
        _kill_worker(scene.gateway)
    yield


@contextmanager
def worker_cannot_start(scene: Scene) -> Iterator[None]:
    """It dies while a file that it starts with cannot be used: the others go on without it."""
    killed = pid_of(scene.gateway, 1)
    with bad_edit(scene):
        os.kill(killed, signal.SIGKILL)
        yield
    wait_until(lambda: pid_of(scene.gateway, 1) != killed, "it is not replaced", 60.0)


def _results(scene: Scene, asked: Mapping[str, str]) -> list[Any]:
    found: list[Any] = scene.prometheus.get("/api/v1/query", params=asked).raise_for_status().json()["data"]["result"]
    return found


def _kill_worker(gateway: Gateway) -> None:
    killed = pid_of(gateway, 1)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: pid_of(gateway, 1) != killed, "it is not replaced", 60.0)


def somebody_else_allocates(scene: Scene) -> AbstractContextManager[None]:
    """Around the gateway, what it is asked to allocate some seconds later, while connections are cut now and then."""
    allocated: deque[tuple[float, str]] = deque()
    ship = f"{scene.sandbox.url}/pro/shipments"
    headers = {"x-api-key": "sandbox-key", "x-api-version": "1.1"}

    def work(is_over: threading.Event) -> None:
        shipment = f"sp_{next(_NUMBERS) % SHIPMENTS + 1:032d}"
        httpx.put(f"{ship}/{shipment}/allocate", headers=headers, timeout=TIMEOUT, trust_env=False).raise_for_status()
        allocated.append((time.monotonic(), shipment))
        while allocated and time.monotonic() - allocated[0][0] > _TOO_OLD:
            _, shipment = allocated.popleft()
            cut = {"match": {"method": "PUT", "reference": shipment}, "action": {"type": "drop", "when": "before"}}
            scene.sandbox.call("POST", "faults", cut)
            scene.load.allocate(shipment)
        is_over.wait(0.5)

    return repeated(work)


class Lane(NamedTuple):
    """Faults that are struck one after the other at a gateway of their own.

    Attributes:
        strikes: What strikes each, by the name of the fault.
        settings: What is different of the gateway.
        pace: That of the alerts.
    """

    strikes: Mapping[str, Callable[[Scene], AbstractContextManager[None]]]
    settings: Mapping[str, str]
    pace: Pace = PACE


LANES: Final = {
    "upstream": Lane(
        {
            "Sorted is slow": lambda scene: at_upstream(scene, {"type": "latency", "seconds": 1.5}),
            "Sorted throttles": lambda scene: answered(scene, 429, "too_many_requests"),
            "the key is rejected": lambda scene: answered(scene, 401, "unauthorized"),
        },
        {},
    ),
    "store": Lane(
        {
            "Sorted answers 5xx": lambda scene: answered(scene, 500, "internal_server_error"),
            "the store is down": store_down,
            "the store is slow": store_slow,
            "a bad edit of the catalogue": bad_edit,
        },
        {},
    ),
    # A worker that was replaced is told of as long as the gateway runs: it goes last.
    "processes": Lane(
        {"one caller floods": flood, "the event loop is blocked": blocked, "a worker dies": worker_dies},
        {},
        # So that a worker has time to be replaced twice within a quarter of an hour, which is 25 seconds then.
        Pace(times=36, slow=1),
    ),
    "writes": Lane(
        {
            "Sorted answers what is not documented": undocumented,
            "nothing comes back from Sorted": lambda scene: at_upstream(scene, {"type": "drop", "when": "before"}),
            "somebody else allocates": somebody_else_allocates,
            # Last, since it leaves the sign of a worker that was replaced.
            "a worker cannot be replaced": worker_cannot_start,
        },
        {
            "SHIP_BREAKER_WINDOW": "2",
            "SHIP_BREAKER_MIN_CALLS": "8",
            "SHIP_BREAKER_OPEN_TIME": "2",
            "SHIP_TIMEOUT": "3",
            "SHIP_SETTLE_TIME": "3",
        },
    ),
}
