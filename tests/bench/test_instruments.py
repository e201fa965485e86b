"""The load, the upstream and the counters tell the truth: every number of the benchmark rests on them."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb

from bench import instructions, payloads
from bench.contenders import Contender
from bench.machine import CACHE, ROOT, Cores
from bench.measuring import load, measure, stage
from bench.processes import Program, Running, resident_kb, running
from bench.rows import Mode, Row, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.measuring import Stage

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("built")]

ROW = Row("test", "", (), warmup=0.1, seconds=0.5)
SHIPMENT = f"{payloads.REFERENCE[:-1]}7"
# Of struct perf_event_attr: a clock that the kernel itself keeps, so that no hardware is needed.
SOFTWARE, TASK_CLOCK = 1, 1


@contextmanager
def serving(
    answer: Callable[[Any, grpc.ServicerContext], Any], workers: int = 8, streams: int = 100
) -> Iterator[Running]:
    """Runs a gRPC server in this process that answers the measured rpc, so many calls of a connection at once."""
    service, _, rpc = payloads.ONE.lstrip("/").partition("/")
    method = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=pb.AllocateShipmentWithServiceGroupRequest.FromString,
        response_serializer=pb.AllocateShipmentWithServiceGroupResponse.SerializeToString,
    )
    with ThreadPoolExecutor(workers) as pool:
        server = grpc.server(pool, options=[("grpc.max_concurrent_streams", streams)])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {rpc: method}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield Running(os.getpid(), f"127.0.0.1:{port}", 0)
        finally:
            server.stop(None).wait()


def test_the_load_keeps_so_many_calls_in_flight_and_reads_every_answer(responder: Running, around: Stage) -> None:
    seen = load(dataclasses.replace(ROW, calls=50), responder, around)
    assert seen["in_flight"] == 50
    assert set(seen["statuses"]) == {"0"}
    assert seen["latency_ms"]["count"] == seen["statuses"]["0"] == seen["ended"]


def test_no_two_calls_share_a_shipment_or_a_request_id(around: Stage) -> None:
    shipments, ids = [], []

    def answer(request: Any, _: grpc.ServicerContext) -> Any:
        shipments.append(request.shipment_reference)
        ids.append(request.request_id)
        response = pb.AllocateShipmentWithServiceGroupResponse()
        response.allocation.shipment_reference = request.shipment_reference
        return response

    with serving(answer) as gateway:
        for _ in range(2):
            load(ROW, gateway, around)
    assert len(set(shipments)) == len(shipments) > 0
    assert len(set(ids)) == len(ids)
    assert {len(one) for one in shipments} == {len(payloads.REFERENCE)}


def test_an_answer_for_another_shipment_counts_as_wrong(around: Stage) -> None:
    with serving(lambda *_: payloads.response()) as gateway:
        seen = load(ROW, gateway, around)
    assert set(seen["statuses"]) == {"-2"}


def test_a_refusal_is_counted_by_its_code(around: Stage) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")

    with serving(refuse) as gateway:
        seen = load(ROW, gateway, around)
    assert set(seen["statuses"]) == {str(grpc.StatusCode.FAILED_PRECONDITION.value[0])}


def test_a_stall_is_charged_to_every_call_that_it_delays(around: Stage) -> None:
    stall, began = 0.5, []

    def answer(request: Any, _: grpc.ServicerContext) -> Any:
        began.append(time.monotonic())
        if len(began) == 60:
            time.sleep(stall)
        response = pb.AllocateShipmentWithServiceGroupResponse()
        response.allocation.shipment_reference = request.shipment_reference
        return response

    # 200 calls per second for a second. Those of half a second find the only worker asleep, and most of them not
    # even a stream to be sent on.
    row = dataclasses.replace(ROW, mode=Mode.OPEN, rate=200.0, seconds=1.0)
    with serving(answer, workers=1, streams=1) as gateway:
        latency = load(row, gateway, around)["latency_ms"]
    assert latency["max"] >= stall * 900
    assert latency["p90"] > stall * 300


def test_an_open_load_begins_as_many_calls_as_it_says(responder: Running, around: Stage) -> None:
    seen = load(dataclasses.replace(ROW, mode=Mode.OPEN, rate=2000.0, seconds=2.0), responder, around)
    # Random arrivals: 4,000 are expected, and six standard deviations allowed.
    assert abs(seen["answered"] - 4000) < 380
    assert seen["unanswered"] == 0


def test_a_burst_is_as_slow_as_the_slowest_of_its_calls(around: Stage) -> None:
    def answer(request: Any, _: grpc.ServicerContext) -> Any:
        time.sleep(0.02)
        response = pb.AllocateShipmentWithServiceGroupResponse()
        response.allocation.shipment_reference = request.shipment_reference
        return response

    # 16 calls by 4 workers take four turns.
    with serving(answer, workers=4) as gateway:
        seen = load(dataclasses.replace(ROW, mode=Mode.BURST, calls=16, seconds=1.0), gateway, around)
    assert seen["latency_ms"]["p50"] >= 79
    # Of the bursts at either end of the window, some calls end within it and others do not.
    assert abs(seen["ended"] - 16 * seen["latency_ms"]["count"]) <= 16


@pytest.mark.asyncio
async def test_upstream_answers_for_the_shipment_that_is_asked_for(around: Stage) -> None:
    async with httpx.AsyncClient(base_url=around.surroundings.upstream) as client:
        one = await client.put(f"/shipments/{SHIPMENT}/allocate/service_group/valuableGoods")
        several = await client.put("/shipments/allocate/service_group", json={"shipments": [SHIPMENT, "sp_2"]})
    assert one.json()["shipment_reference"] == SHIPMENT
    assert payloads.REFERENCE not in one.text
    assert len(one.content) == len(payloads.documented())
    assert several.json()["queued"] == [SHIPMENT, "sp_2"]


@pytest.mark.asyncio
async def test_upstream_tells_how_many_requests_wait_on_how_many_sockets() -> None:
    allowed = os.sched_getaffinity(0)
    row = dataclasses.replace(ROW, upstream=Upstream(delay=1.0))
    with stage(row, Cores(max(allowed), min(allowed)), store=False) as around:
        limits = httpx.Limits(max_connections=50)
        async with (
            httpx.AsyncClient(base_url=around.surroundings.upstream, limits=limits) as client,
            httpx.AsyncClient(base_url=f"http://{around.control}") as control,
        ):
            calls = [asyncio.ensure_future(client.put(f"/shipments/{SHIPMENT}/allocate")) for _ in range(40)]
            seen: dict[str, int] = {}
            while seen.get("in_service") != 40 and not all(call.done() for call in calls):
                seen = (await control.get("/stats")).json()
            answers = await asyncio.gather(*calls)
            after = (await control.get("/stats")).json()
    assert (seen["in_service"], seen["sockets"]) == (40, 40)
    assert {answer.status_code for answer in answers} == {200}
    assert after["in_service"] == 0
    assert after["requests"] == 40


def test_upstream_behind_tls_can_be_verified() -> None:
    allowed = os.sched_getaffinity(0)
    row = dataclasses.replace(ROW, upstream=Upstream(tls=True))
    with stage(row, Cores(max(allowed), min(allowed)), store=False) as around:
        trusting = ssl.create_default_context(cafile=around.surroundings.ca_file)
        with httpx.Client(base_url=around.surroundings.upstream, verify=trusting, trust_env=False) as client:
            assert client.put(f"/shipments/{SHIPMENT}/allocate").status_code == 200


def test_what_a_process_uses_is_seen_with_its_children(around: Stage, responder: Running) -> None:
    spin = "import os,time\nos.fork()\nwhile time.process_time() < 5: pass"
    serve = f"import socket;s=socket.create_server(('127.0.0.1',{{port}}))\n{spin}"
    with running("spinning", Program(["python3", "-c", serve], {}), sorted(os.sched_getaffinity(0))) as busy:
        seen = load(ROW, dataclasses.replace(responder, pid=busy.pid), around)["seen"]
        assert len(seen["gateway_process_cpu_seconds"]) == 2
        assert all(part > 0 for part in seen["gateway_process_cpu_seconds"])
        assert resident_kb(busy.pid) > resident_kb(os.getpid()) / 100


def test_events_of_a_process_are_counted_where_the_machine_allows_it() -> None:
    try:
        with instructions.counting(os.getpid(), SOFTWARE, TASK_CLOCK) as counter:
            counted = []
            # Measured times exceed 0.1 s now and then on a busy virtual machine, and are never below it.
            for _ in range(5):
                before, used = counter.read(), time.process_time()
                while time.process_time() - used < 0.1:
                    pass
                counted.append((counter.read() - before) / 1e9)
    except instructions.NotCountedError:
        assert not instructions.can_count()
    else:
        assert min(counted) == pytest.approx(0.1, rel=0.3)


def test_a_gateway_that_does_not_start_is_told_and_does_not_stop_the_others() -> None:
    dying = Contender("dying", "", "", lambda _: Program(["sh", "-c", "echo no such setting; exit 2"], {}))
    steady = Contender(
        "steady", "", "", lambda _: Program([str(CACHE / "responder"), "-listen", "127.0.0.1:{port}"], {})
    )
    allowed = os.sched_getaffinity(0)
    told: dict[str, str] = {}
    samples = measure(
        dataclasses.replace(ROW, rounds=2),
        [dying, steady],
        Cores(max(allowed), min(allowed)),
        lambda key, error: told.update({key: str(error)}),
    )
    assert [sample.contender for sample in samples] == ["steady", "steady"]
    assert "no such setting" in told["dying"]
    assert list(told) == ["dying"]


def test_sigterm_ends_what_was_started_too() -> None:
    program = (
        "import os\n"
        "import time\n"
        "from bench.machine import CACHE\n"
        "from bench.processes import Program, end_in_order, running\n"
        "end_in_order()\n"
        "program = Program([str(CACHE / 'responder'), '-listen', '127.0.0.1:{port}'], {})\n"
        "with running('ended', program, sorted(os.sched_getaffinity(0))) as one:\n"
        "    print(one.address, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        host, _, port = parent.stdout.readline().strip().partition(":")
        with socket.create_connection((host, int(port)), timeout=5):
            parent.terminate()
            assert parent.wait(20) == 128 + signal.SIGTERM
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
