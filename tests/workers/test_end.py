"""The end of several workers: all drain at the same time, and none outlives its supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.draining import drained_under_load
from support.front import KEY, LONG, READ, SHIPMENT, WRITE, running_front
from support.gateway import COMMAND, environment
from support.status import failure
from support.workers import OWN_CONNECTION, children, health, is_alive, pid_of, wait_until

READ_ANSWER: Final = {"reference": SHIPMENT, "state": "unallocated"}
ALLOCATED: Final = {"shipment_reference": SHIPMENT, "state": "allocated"}
BRISK: Final = 4.0


def test_drain_under_load_loses_no_call() -> None:
    lines = drained_under_load(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true")
    assert [line["event"] for line in lines if line["event"] != "call"][-1] == "stopped"
    assert {line["worker"] for line in lines if line["event"] == "draining"} == {1, 2}


def test_health_of_all_turns_at_once_and_calls_are_still_accepted_for_a_while() -> None:
    with running_front(WORKERS="3", ALLOW_UNSHARED_CLAIMS="true", HEALTH_PORT="0", SHUTDOWN_DELAY="3") as front:
        address, probes = front.gateway.address, front.gateway.wait_for("listening")["health"]
        begun = time.monotonic()
        front.gateway.process.send_signal(signal.SIGTERM)
        for worker in (1, 2, 3):
            front.gateway.wait_for("draining", worker=worker)
        assert {health(place) for place in (address, probes) for _ in range(12)} == {"NOT_SERVING"}
        with grpc.insecure_channel(address, OWN_CONNECTION) as newcomer:
            ShipmentAllocationServiceStub(newcomer).GetShipmentAllocation(READ, timeout=LONG)
        assert time.monotonic() - begun < 3, "too slow to show anything"
        assert front.gateway.process.wait(LONG) == 0
        assert 3 < time.monotonic() - begun < 3 + BRISK, "they have drained one after the other"


def test_interrupt_by_hand_drains_without_the_delay() -> None:
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true", SHUTDOWN_DELAY="60") as front:
        release = front.upstream.hold(body=READ_ANSWER)
        call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
        front.upstream.next_request()
        begun = time.monotonic()
        front.gateway.process.send_signal(signal.SIGINT)
        front.gateway.wait_for("draining")
        release.set()
        call.result(LONG)
        assert front.gateway.process.wait(LONG) == 0
        assert time.monotonic() - begun < BRISK


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_all_at_once(second: signal.Signals) -> None:
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front:
        front.upstream.hold()
        call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
        front.upstream.next_request()
        workers = [pid_of(front.gateway, number) for number in (1, 2)]
        front.gateway.process.send_signal(signal.SIGTERM)
        front.gateway.wait_for("draining")
        begun = time.monotonic()
        assert front.gateway.stop(second) == 128 + second
        assert time.monotonic() - begun < BRISK
        wait_until(lambda: not any(map(is_alive, workers)), "workers are left")
        assert failure(lambda: call.result(LONG)).code is grpc.StatusCode.UNAVAILABLE


def test_end_is_bounded_when_a_worker_hangs() -> None:
    with running_front(
        WORKERS="2", ALLOW_UNSHARED_CLAIMS="true", SHUTDOWN_GRACE="1", TELEMETRY_FLUSH_TIMEOUT="0"
    ) as front:
        stuck = pid_of(front.gateway, 1)
        os.kill(stuck, signal.SIGSTOP)
        begun = time.monotonic()
        assert front.gateway.stop() == 1
        assert 1 <= time.monotonic() - begun < 3 + BRISK
        front.gateway.wait_for("worker_killed", worker=1, pid=stuck)
        assert not is_alive(stuck)


def test_workers_whose_supervisor_is_killed_finish_their_calls_and_end() -> None:
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front:
        workers = [pid_of(front.gateway, number) for number in (1, 2)]
        release = front.upstream.hold(body=ALLOCATED)
        call = front.stub.AllocateShipment.future(WRITE, timeout=LONG)
        front.upstream.next_request()
        front.gateway.process.kill()
        try:
            wait_until(lambda: sum(map(is_alive, workers)) == 1, "the worker that has nothing in hand goes on")
            release.set()
            assert call.result(LONG).allocation.shipment_reference == SHIPMENT
            wait_until(lambda: not any(map(is_alive, workers)), "workers are left")
        finally:
            for left in filter(is_alive, workers):
                os.kill(left, signal.SIGKILL)


def started(pid: int) -> int:
    """Counts the workers that a supervisor has started, as far as they may be."""
    return sum("workers.worker" in line for line in children(pid).values())


def test_signal_that_comes_while_workers_start_ends_them() -> None:
    given = environment(
        {"PORT": "0", "ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY, "WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}
    )
    process = subprocess.Popen([COMMAND, "serve"], env=given, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: started(process.pid) == 2, "no workers")
        workers = list(children(process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
        assert not any(map(is_alive, workers))
    finally:
        process.kill()
        process.wait(LONG)


def test_other_processes_that_become_its_children_are_reaped() -> None:
    """As process 1 of a container it gets whatever others leave behind."""
    given = environment(
        {"PORT": "0", "ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY, "WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}
    )
    script = 'sleep 2 & exec "$0" serve'
    process = subprocess.Popen(["sh", "-c", script, COMMAND], env=given, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: started(process.pid) == 2, "no workers")
        # A process that has ended and is not reaped is still somebody's child.
        wait_until(lambda: len(children(process.pid)) == 2, "it is left as a zombie")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
    finally:
        process.kill()
        process.wait(LONG)
