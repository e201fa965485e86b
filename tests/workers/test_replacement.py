"""Workers that end, hang or cannot start: the others go on, and they are replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.front import KEY, LONG, running_front
from support.workers import OWN_CONNECTION, answering, children, health, is_alive, pid_of, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.front import Front

CALLERS: Final = 12
OK: Final = grpc.StatusCode.OK


def reach(front: Front, worker: int) -> None:
    """Calls until a worker has answered."""
    wait_until(lambda: answering(front.gateway) == worker, f"worker {worker} never answers")


async def load(address: str, enough: threading.Event, stop: threading.Event) -> dict[int, list[grpc.StatusCode]]:
    """Calls without a pause from several connections. Returns the status of each call by its caller."""
    settled = 0

    async def caller(number: int) -> list[grpc.StatusCode]:
        nonlocal settled
        ended: list[grpc.StatusCode] = []
        async with grpc.aio.insecure_channel(address, OWN_CONNECTION) as channel:
            stub = ShipmentAllocationServiceStub(channel)
            while not stop.is_set() and len(ended) < 20_000:
                asked = pb.GetShipmentAllocationRequest(shipment_reference=f"sp_{number}")
                call = stub.GetShipmentAllocation(asked, timeout=LONG, wait_for_ready=True)
                ended.append(await call.code())
                # By now the log has a line of its worker.
                settled += len(ended) == 5
                if settled == CALLERS:
                    enough.set()
        return ended

    return dict(enumerate(await asyncio.gather(*map(caller, range(CALLERS)))))


def test_worker_that_is_killed_under_load_is_replaced_and_others_do_not_notice() -> None:
    enough, stop = threading.Event(), threading.Event()
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front, ThreadPoolExecutor(1) as pool:
        gateway = front.gateway
        killed = pid_of(gateway, 1)
        gateway.forget()
        pending = pool.submit(lambda: asyncio.run(load(gateway.address, enough, stop)))
        try:
            assert enough.wait(LONG)
            os.kill(killed, signal.SIGKILL)
            assert gateway.wait_for("worker_ended", worker=1)["exit_code"] == -signal.SIGKILL
            assert gateway.wait_for("worker_started", worker=1)["pid"] != killed
        finally:
            stop.set()
        ended = pending.result(LONG)
        lines = list(gateway.lines)
        before = lines[: next(at for at, line in enumerate(lines) if line["event"] == "worker_ended")]
        hit = {int(line["reference"].removeprefix("sp_")) for line in before if line.get("worker") == 1}
        assert 0 < len(hit) < CALLERS, "all connections went to one worker: an accident of one in two thousand"
        for number, codes in ended.items():
            # A connection has one call under way. On a busy machine a second one has been seen to fail.
            failed = [code for code in codes if code is not OK]
            assert set(failed) <= ({grpc.StatusCode.UNAVAILABLE} if number in hit else set()), (number, hit)
            assert len(failed) <= 2
            assert codes[-1] is OK
        reach(front, 1)
        assert health(gateway.address) == "SERVING"
        assert gateway.stop() == 0


def test_worker_that_keeps_ending_is_started_more_and_more_seldom() -> None:
    """And the log counts."""
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front:
        pauses, failures = [], []
        for _ in range(4):
            killed = pid_of(front.gateway, 2)
            os.kill(killed, signal.SIGKILL)
            told = front.gateway.wait_for("worker_ended", pid=killed)
            pauses.append(told["restart_in"])
            failures.append(told["failures"])
            assert answering(front.gateway) == 1
            wait_until(lambda gone=killed: pid_of(front.gateway, 2) != gone, "it is not replaced")  # type: ignore[misc]
        assert pauses == [0, 0.5, 1, 2]
        assert failures == [1, 2, 3, 4]


def test_worker_that_is_stuck_is_replaced_and_one_that_has_nothing_to_do_is_not() -> None:
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true", WORKER_TIMEOUT="4") as front:
        stuck = pid_of(front.gateway, 1)
        os.kill(stuck, signal.SIGSTOP)
        front.gateway.wait_for("worker_stuck", worker=1, pid=stuck)
        wait_until(lambda: pid_of(front.gateway, 1) != stuck, "it is not replaced")
        assert not is_alive(stuck)
        reach(front, 1)
        assert {line["worker"] for line in front.gateway.lines if line["event"] == "worker_stuck"} == {1}


def test_worker_that_is_told_to_stop_drains_and_is_replaced() -> None:
    """Whoever wants new processes can have them one by one."""
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front:
        told = pid_of(front.gateway, 1)
        os.kill(told, signal.SIGTERM)
        assert front.gateway.wait_for("worker_ended", worker=1)["exit_code"] == 0
        wait_until(lambda: pid_of(front.gateway, 1) != told, "it is not replaced")
        reach(front, 1)


def test_configuration_that_breaks_later_stops_only_those_who_start(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    with running_front(
        WORKERS="2", ALLOW_UNSHARED_CLAIMS="true", SHIP_API_KEY="", SHIP_API_KEY_FILE=str(file)
    ) as front:
        file.rename(tmp_path / "gone")
        os.kill(pid_of(front.gateway, 1), signal.SIGKILL)
        told = front.gateway.wait_for("worker_refused", worker=1)
        assert "SHIP_API_KEY_FILE: cannot be read" in told["message"]
        assert answering(front.gateway) == 2
        assert health(front.gateway.address) == "SERVING"
        (tmp_path / "gone").rename(file)
        refused = front.gateway.wait_for("worker_ended", exit_code=2)["pid"]
        wait_until(lambda: pid_of(front.gateway, 1) > refused, "it is not replaced")
        reach(front, 1)


def test_nothing_is_left_of_a_worker_that_has_ended() -> None:
    with running_front(WORKERS="3", ALLOW_UNSHARED_CLAIMS="true") as front:
        killed = pid_of(front.gateway, 3)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: pid_of(front.gateway, 3) != killed, "it is not replaced")
        assert sorted(children(front.gateway.process.pid)) == sorted(pid_of(front.gateway, n) for n in (1, 2, 3))
