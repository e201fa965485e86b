"""Clients as others use them, each with ways of its own: grpcio, grpc-go and grpc-js."""

from __future__ import annotations

import asyncio
import os
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.front import LONG, READ, SERVICE
from support.http2 import Connection, message
from support.status import failure
from support.upstream import Hold, Reply, shipped
from wire.building import HERE, ROOT, node_modules, tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.front import Front
    from support.upstream import Received

LARGE: Final = 200_000
LIMIT: Final = 262_144
RUN_SECONDS: Final = 300
CROWD: Final = 1_000


def played(received: Received) -> Reply:
    """Answers by how the reference begins."""
    reference = received.line.partition("/shipments/")[2].split("/")[0].split(" ")[0]
    if reference.startswith("large_"):
        return Reply(200, {"reference": reference, "state": "x" * LARGE})
    if reference.startswith("missing_"):
        return Reply(404, {"code": "not_found", "message": "there is none"})
    reply = shipped(received)
    if reference.startswith("slow_"):
        reply.wait = Hold()
    return reply


@pytest.fixture
def varied(front: Front) -> Iterator[Front]:
    """The gateway, whose upstream plays its parts."""
    front.upstream.default, usual = played, front.upstream.default
    yield front
    front.upstream.default = usual


def weighty(reference: str, size: int) -> bytes:
    """Returns a read with a field that nobody knows, of so many bytes."""
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    read = pb.GetShipmentAllocationRequest(shipment_reference=reference).SerializeToString()
    return read + b"\xfa\x3f" + length + bytes(size)


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_python_sends_and_takes_large_messages(compression: grpc.Compression, varied: Front) -> None:
    with grpc.insecure_channel(varied.gateway.address, compression=compression) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/GetShipmentAllocation")
        for _ in range(5):
            answer = pb.GetShipmentAllocationResponse.FromString(call(weighty("large_1", LARGE), timeout=LONG))
            assert len(answer.allocation.state_text) == LARGE
        told = failure(lambda: call(weighty("sp_1", LIMIT), timeout=LONG))
        assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_python_reads_metadata_and_details(varied: Front) -> None:
    metadata = (("x-text", "a"), ("x-text", "b"), ("x-some-bin", b"\0\xff"))
    write = pb.AllocateShipmentRequest(shipment_reference="sp_told")
    call: Any = varied.stub.AllocateShipment
    _, made = call.with_call(write, timeout=LONG, metadata=metadata)
    assert [key for key, _ in made.initial_metadata()] == ["allocation-request-id"]
    missing = pb.GetShipmentAllocationRequest(shipment_reference="missing_ü")
    told = failure(lambda: varied.stub.GetShipmentAllocation(missing, timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


def test_python_gives_up_and_goes_on(varied: Front) -> None:
    """By deadline and by cancellation, from both of its interfaces."""
    slow = pb.GetShipmentAllocationRequest(shipment_reference="slow_1")

    async def from_asyncio() -> None:
        async with grpc.aio.insecure_channel(varied.gateway.address) as channel:
            stub: Any = ShipmentAllocationServiceStub(channel)
            calls = [stub.GetShipmentAllocation(slow, timeout=0.3 if number % 2 else LONG) for number in range(100)]
            await asyncio.sleep(0)
            for call in calls[::2]:
                asyncio.get_running_loop().call_later(0.1, call.cancel)
            codes = [await call.code() for call in calls]
            assert set(codes[::2]) == {grpc.StatusCode.CANCELLED}
            assert set(codes[1::2]) == {grpc.StatusCode.DEADLINE_EXCEEDED}
            await stub.GetShipmentAllocation(READ, timeout=LONG)

    asyncio.run(from_asyncio())
    told = failure(lambda: varied.stub.GetShipmentAllocation(slow, timeout=0.2))
    assert told.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_thousand_calls_at_once_over_one_connection(varied: Front) -> None:
    async def crowd() -> list[object]:
        async with grpc.aio.insecure_channel(varied.gateway.address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=LONG) for _ in range(CROWD)]
            first = [await watch.read() for watch in watches]
            for watch in watches:
                watch.cancel()
            return [answer.status for answer in first]

    assert asyncio.run(crowd()) == [health_pb2.HealthCheckResponse.SERVING] * CROWD


def test_hundreds_of_connections(varied: Front, connect: Callable[..., Connection]) -> None:
    """Each is served, and again, while all stand."""
    many = [connect() for _ in range(300)]
    for _ in range(2):
        streams = [connection.begin(message(READ.SerializeToString())) for connection in many]
        for connection, stream in zip(many, streams, strict=True):
            assert connection.answer(stream).status == 0


@pytest.mark.wire
def test_go_client(varied: Front) -> None:
    done = subprocess.run(
        [tool("go"), "-C", str(HERE / "go"), "test", "-count=1", "-v", "./..."],
        env={**os.environ, "ALLOCATION_GATEWAY_ADDRESS": varied.gateway.address},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("--- PASS") == 8, done.stdout


@pytest.fixture(scope="session")
def modules() -> Path:
    """Where the packages of Node are."""
    return node_modules("node")


@pytest.mark.wire
def test_node_client(varied: Front, modules: Path) -> None:
    folders = [str(ROOT / "protos"), str(files("google").joinpath("..")), str(files("grpc_tools").joinpath("_proto"))]
    done = subprocess.run(
        [tool("node"), str(HERE / "node" / "calls.mjs"), varied.gateway.address, str(modules), *folders],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 6, done.stdout
