"""Two gateways whose store fails over under load: nothing is booked twice, and nobody is told what is not so.

The witness is the journal of the sandbox, which is upstream.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import grpc
import httpx
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.cache import free_port
from support.front import LONG
from support.gateway import running_gateway
from support.replication import SERVICE, client, replicated, sentinels, wait_until
from support.sandbox import Sandbox
from support.status import failure_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.cache import CacheServer
    from support.replication import Sentinels

pytestmark = pytest.mark.cache

CALLERS: Final = 6
# More than callers can book before the end of the test.
SHIPMENTS: Final = 20_000
# Two seconds after the next primary can be reached, and what a call takes on a busy machine.
SOON: Final = 3.0
EFFECTS: Final = 60.0
# Between the calls of a caller, in seconds: there is one processor for all.
_PAUSE: Final = 0.02


@contextmanager
def running_sandbox() -> Iterator[Sandbox]:
    """Runs upstream, with more shipments than anybody books."""
    port = free_port()
    command = [sys.executable, "-m", "allocation_gateway.sandbox", "--port", f"{port}", "--shipments", f"{SHIPMENTS}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    sandbox = Sandbox(f"http://127.0.0.1:{port}")
    end = time.monotonic() + LONG
    try:
        while True:
            try:
                sandbox.call("GET", "health")
                break
            except httpx.HTTPError:
                assert process.poll() is None
                assert time.monotonic() < end, "the sandbox does not come"
        yield sandbox
    finally:
        process.kill()
        process.wait()


@dataclass
class Bookings:
    """Callers that allocate one shipment after the other, each until it is allocated, at either gateway in turn.

    Attributes:
        done: The requests that were answered, by their shipments.
        reasons: Why calls were refused, and how often.
        wrong: What callers were told that was not so.
    """

    stubs: Sequence[ShipmentAllocationServiceStub]
    sandbox: Sandbox
    done: dict[str, pb.AllocateShipmentRequest] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    done_at: float = 0.0
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self) -> None:
        """Has all callers begin."""
        self._threads.extend(threading.Thread(target=self._run) for _ in range(CALLERS))
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Waits until each caller has its last answer."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            reference = f"sp_{next(self._numbers):032d}"
            request = pb.AllocateShipmentRequest(shipment_reference=reference, request_id=str(uuid.uuid4()))
            end = time.monotonic() + EFFECTS
            for stub in itertools.cycle(self.stubs):
                started = time.monotonic()
                try:
                    stub.AllocateShipment(request, timeout=LONG)
                except grpc.RpcError as error:
                    self._refused(reference, error)
                    if time.monotonic() > end:
                        self.wrong.append(f"{reference} is never allocated")
                        return
                    time.sleep(_PAUSE)
                    continue
                self.done[reference] = request
                self.done_at = max(self.done_at, started)
                time.sleep(_PAUSE)
                break

    def _refused(self, reference: str, error: grpc.RpcError) -> None:
        told = failure_of(error)
        self.reasons[told.reason] += 1
        # Nobody else books this shipment, so that nothing changes meanwhile.
        if told.metadata.get("effect") == "none" and self.sandbox.bookings(reference)[0]:
            self.wrong.append(f"{reference} is said not to be allocated: {told}")

    def go_on(self, bound: float = SOON) -> None:
        """Waits until a call that is made from now on is answered."""
        started = time.monotonic()
        while self.done_at < started:
            assert time.monotonic() < started + bound, f"writes do not go on: {self.reasons}"
            time.sleep(0.01)

    def check(self) -> None:
        """Compares what callers were told with what upstream has done."""
        assert not self.wrong
        booked = self.sandbox.all_bookings()
        assert {name: one for name, one in booked.items() if one != (1, 0)} == {}
        assert {*self.done} <= {*booked}


@contextmanager
def booking(watching: Sentinels, sandbox: Sandbox) -> Iterator[Bookings]:
    """Runs two gateways, and callers of them."""
    settings = {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_BASE_URL": f"{sandbox.url}/pro",
        "SHIP_API_KEY": "sandbox-key",
        "REPLICAS": "2",
        "STORE_URL": watching.url(),
        "STORE_CHECKS": "warn",
        "SHIP_BREAKER_MIN_CALLS": "1000000",
    }
    with (
        running_gateway(settings) as one,
        running_gateway(settings) as other,
        grpc.insecure_channel(one.address) as first,
        grpc.insecure_channel(other.address) as second,
    ):
        bookings = Bookings([ShipmentAllocationServiceStub(channel) for channel in (first, second)], sandbox)
        bookings.begin()
        try:
            bookings.go_on(LONG)
            yield bookings
        finally:
            bookings.end()


def wait_for_primary(server: CacheServer) -> None:
    with client(server) as elected:
        wait_until(lambda: elected.info("replication")["role"] == "master", "nobody is elected")


def test_nothing_is_booked_twice_and_nobody_is_denied_through_failovers(tmp_path: Path) -> None:
    with (
        running_sandbox() as sandbox,
        replicated() as pair,
        sentinels(pair, tmp_path) as watching,
        booking(watching, sandbox) as bookings,
    ):
        # Demoted, while connections to it stay open.
        watching.clients()[0].sentinel_failover(SERVICE)
        wait_for_primary(pair.replica)
        bookings.go_on()
        pair.primary, pair.replica = pair.replica, pair.primary
        pair.wait_for_copy()
        wait_until(watching.agree, "the Sentinels do not see the replica")
        # Killed, in the midst of everything.
        pair.primary.kill()
        wait_for_primary(pair.replica)
        bookings.go_on()
        pair.primary.start()
        pair.primary, pair.replica = pair.replica, pair.primary
        pair.wait_for_copy()
        # Full, and then not.
        with client(pair.primary) as primary:
            primary.config_set("maxmemory", "1")
            before = bookings.reasons[reason := "CLAIM_STORE_UNAVAILABLE"]
            wait_until(lambda: bookings.reasons[reason] > before, "nothing is refused")
            primary.config_set("maxmemory", "0")
        bookings.go_on()
        bookings.end()
        bookings.check()
    # For the store, or since an earlier call with the same id is not over.
    assert {*bookings.reasons} <= {"CLAIM_STORE_UNAVAILABLE", "WRITE_IN_PROGRESS", "OUTCOME_UNKNOWN"}
