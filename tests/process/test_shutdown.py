"""The end of the process: first nobody new is sent here, then nobody new is let in, then everyone is seen off."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.draining import drained_under_load
from support.front import LONG, READ, SERVICE, SHIPMENT, WRITE, another_write, running_front
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.front import Front

NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
ALLOCATED: Final = {"shipment_reference": SHIPMENT, "state": "allocated"}
READ_ANSWER: Final = {"reference": SHIPMENT, "state": "unallocated"}
# What a stop takes at most on a busy machine, beside what it waits for: less than anything else that it could wait for.
BRISK: Final = 8.0


def health(front: Front) -> Any:
    return health_pb2_grpc.HealthStub(front.channel)


def test_health_turns_first_and_calls_are_still_accepted_for_a_while() -> None:
    # On a busy machine the first delay may be over before all is asked.
    assert any(turns_first(delay) for delay in (1.5, 6.0, LONG)), "too slow to show anything"


def turns_first(delay: float) -> bool:
    """Checks that health turns and calls are accepted for a while. Returns False if that was too short for it."""
    with running_front(SHUTDOWN_DELAY=str(delay)) as front:
        watch = health(front).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=LONG)
        assert next(watch).status == SERVING
        begun = time.monotonic()
        front.gateway.process.send_signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        accepted = time.monotonic() - begun < delay and accepts(front)
        if time.monotonic() - begun >= delay:
            return False
        assert accepted
        assert front.gateway.process.wait(delay + LONG) == 0
        assert time.monotonic() - begun > delay
        told = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
        assert told.code is grpc.StatusCode.UNAVAILABLE
    assert [line["event"] for line in front.gateway.lines if line["event"] != "call"] == [
        "listening",
        "draining",
        "stopped",
    ]
    return True


def accepts(front: Front) -> bool:
    """Tells whether health says that no calls should come here, and those that do are answered, also newcomers'."""
    try:
        for service in ("", SERVICE):
            asked = health_pb2.HealthCheckRequest(service=service)
            if health(front).Check(asked, timeout=LONG).status != NOT_SERVING:
                return False
        with grpc.insecure_channel(front.gateway.address) as newcomer:
            ShipmentAllocationServiceStub(newcomer).GetShipmentAllocation(READ, timeout=LONG)
    except grpc.RpcError:
        return False
    return True


def test_calls_in_flight_and_running_writes_finish() -> None:
    """Nobody new is let in meanwhile."""
    with running_front() as front:
        holds = [front.upstream.hold(body=READ_ANSWER), front.upstream.hold(body=ALLOCATED)]
        read = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
        front.upstream.next_request()
        write = front.stub.AllocateShipment.future(WRITE, timeout=LONG)
        front.upstream.next_request()
        another = another_write()
        left_alone = front.upstream.hold(body={**ALLOCATED, "shipment_reference": another.shipment_reference})
        cancelled = front.stub.AllocateShipment.future(another, timeout=LONG)
        front.upstream.next_request()
        cancelled.cancel()
        front.gateway.wait_for("write_detached")
        front.gateway.process.send_signal(signal.SIGTERM)
        assert front.gateway.wait_for("draining")["in_hand"] == 2
        wait_until_refused(front.gateway.address)
        for hold in holds:
            hold.set()
        assert read.result(LONG).allocation.shipment_reference == SHIPMENT
        assert write.result(LONG).allocation.shipment_reference == SHIPMENT
        assert front.gateway.process.poll() is None, "it did not wait for the write that nobody waits for"
        left_alone.set()
        assert front.gateway.process.wait(LONG) == 0
        front.upstream.wait_for_connections(0)
    events = [line["event"] for line in front.gateway.lines]
    assert "detached_write_done" in events
    assert events[-1] == "stopped"


def wait_until_refused(address: str) -> None:
    """Waits until nobody listens any more."""
    host, port = address.split(":")
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            return
        except OSError:
            continue
        threading.Event().wait(0.01)
    raise AssertionError("connections are still accepted")


def test_end_is_bounded_when_upstream_never_answers() -> None:
    """What had to be given up is said, and the callers are told what they can be told."""
    with running_front(SHUTDOWN_GRACE="1") as front:
        front.upstream.hold()
        front.upstream.hold()
        read = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
        write = front.stub.AllocateShipment.future(WRITE, timeout=LONG)
        front.upstream.next_request()
        front.upstream.next_request()
        begun = time.monotonic()
        assert front.gateway.stop() == 0
        assert 1 <= time.monotonic() - begun < 1 + BRISK
        for call in (read, write):
            assert call.exception(LONG) is not None
        front.gateway.wait_for("detached_write_given_up")
        assert front.gateway.wait_for("writes_given_up")["count"] == 1


def test_nobody_in_hand_means_nothing_to_wait_for() -> None:
    with running_front() as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
        begun = time.monotonic()
        assert front.gateway.stop() == 0
        assert time.monotonic() - begun < BRISK


def test_health_watcher_does_not_hold_up_the_end() -> None:
    with running_front() as front:
        watch = health(front).Watch(health_pb2.HealthCheckRequest(), timeout=LONG)
        assert next(watch).status == SERVING
        begun = time.monotonic()
        assert front.gateway.stop() == 0
        assert time.monotonic() - begun < BRISK
        assert failure(lambda: list(watch)).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(second: signal.Signals) -> None:
    with running_front() as front:
        front.upstream.hold()
        call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
        front.upstream.next_request()
        front.gateway.process.send_signal(signal.SIGTERM)
        front.gateway.wait_for("draining")
        begun = time.monotonic()
        assert front.gateway.stop(second) == 128 + second
        assert time.monotonic() - begun < BRISK
        assert failure(lambda: call.result(LONG)).code is grpc.StatusCode.UNAVAILABLE


def test_interrupt_by_hand_drains_without_the_delay() -> None:
    """Whoever presses Ctrl-C has nobody routing calls here."""
    with running_front(SHUTDOWN_DELAY="60") as front:
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


@pytest.fixture(params=["refusing", "silent"])
def no_collector(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a collector that is not there, or takes connections and says nothing."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        if request.param == "silent":
            place.listen()
        yield f"http://127.0.0.1:{place.getsockname()[1]}"


def test_unreachable_collector_holds_up_the_end_no_longer_than_allowed(no_collector: str) -> None:
    with running_front(OTEL_EXPORTER_OTLP_ENDPOINT=no_collector, TELEMETRY_FLUSH_TIMEOUT="1") as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
        begun = time.monotonic()
        assert front.gateway.stop() == 0
        assert time.monotonic() - begun < 1 + BRISK
    assert not [line for line in front.gateway.lines if line["event"] == "text"], "not every log line is JSON"


def test_second_signal_is_heard_while_telemetry_is_sent_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with running_front(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, TELEMETRY_FLUSH_TIMEOUT="60") as front:
            front.stub.GetShipmentAllocation(READ, timeout=LONG)
            front.gateway.process.send_signal(signal.SIGTERM)
            front.gateway.wait_for("draining")
            with pytest.raises(subprocess.TimeoutExpired):  # it is well into the last step
                front.gateway.process.wait(1.0)
            assert front.gateway.stop(signal.SIGTERM) == 128 + signal.SIGTERM


def test_drain_under_load_loses_no_call() -> None:
    drained_under_load()


def test_process_that_is_told_to_stop_while_it_starts_stops() -> None:
    """A signal that comes as soon as calls are accepted is not lost."""
    with running_front() as front:
        assert front.gateway.stop() == 0
