"""The gRPC server itself: its ports, its limits, its standard services, and what it says to nonsense."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway import settings as configuration
from allocation_gateway.accounts.book import Accounts
from allocation_gateway.accounts.opening import Opener
from allocation_gateway.claims.opening import open_stores
from allocation_gateway.following import FollowedFiles
from allocation_gateway.groups.catalogue import Catalogue
from allocation_gateway.operations import table
from allocation_gateway.operations.streams import STREAMS, WATCHES, LastingRpc
from allocation_gateway.rpc.admission import Admission
from allocation_gateway.rpc.base import Gateway
from allocation_gateway.rpc.handler import Handler
from allocation_gateway.rpc.local import LOCAL_RPCS, LocalRpc
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.writes.coordinator import Coordinator
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from support.front import KEY, LONG, READ, SERVICE, SHIPMENT, running_front
from support.gateway import COMMAND, environment, running_gateway
from support.status import failure
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.operations.model import Operation
    from google.protobuf.message import Message
    from support.front import Front

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
RPCS: Final[tuple[Operation | LocalRpc | LastingRpc, ...]] = (*table.OPERATIONS, *STREAMS, *WATCHES, *LOCAL_RPCS)
SERVICES: Final = {rpc.service for rpc in RPCS}
STANDARD: Final = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    disabled = "AllocateShipmentsWithFilters, DeallocateShipment"
    with running_front(HEALTH_PORT="0", SHIP_DISABLED_OPERATIONS=disabled) as running:
        yield running


def check(channel: grpc.Channel, service: str = "") -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer: health_pb2.HealthCheckResponse = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LONG)
    return answer.status


@pytest.mark.parametrize("arguments", [[], ["--sandbox"]], ids=["alone", "with sandbox"])
def test_taken_port_is_one_line_that_names_the_setting(arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"PORT": port, "SANDBOX_PORT": "0", "ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY}
        done = subprocess.run(
            [COMMAND, "serve", *arguments],
            env=environment(settings),
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"allocation-gateway: ALLOCATION_GATEWAY_PORT: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


def test_two_gateways_never_share_a_port(front: Front) -> None:
    """Each would get a part of the calls, and neither would say so."""
    with pytest.raises(AssertionError, match="cannot listen"), running_front(PORT=front.gateway.address.split(":")[1]):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [("SANDBOX_PORT", ""), ("HEALTH_PORT", ""), ("HOST", "192.0.2.1"), ("HOST", "no-such-host.invalid")],
)
def test_address_that_cannot_be_had_names_its_setting(name: str, value: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"PORT": "0", "SANDBOX_PORT": "0", name: value or str(taken.getsockname()[1])}
        done = subprocess.run(
            [COMMAND, "serve", "--sandbox"],
            env=environment(settings),
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
    assert done.returncode == 2
    setting = "PORT" if value == "192.0.2.1" else name
    assert done.stderr.startswith(f"allocation-gateway: ALLOCATION_GATEWAY_{setting}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_address_is_accepted_with_and_without_brackets(host: str) -> None:
    with running_front(HOST=host) as front:
        assert front.gateway.address.startswith("[::1]:")
        front.stub.GetShipmentAllocation(READ, timeout=LONG)


def test_message_that_is_too_large_is_refused() -> None:
    with running_front(MAX_REQUEST_BYTES="2000") as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
        front.upstream.next_request()
        large = pb.GetShipmentAllocationRequest(shipment_reference="x" * 3000)
        told = failure(lambda: front.stub.GetShipmentAllocation(large, timeout=LONG))
        assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert front.upstream.received.empty()


def test_metadata_that_is_too_large_is_refused(front: Front) -> None:
    front.upstream.forget()
    metadata = (("x-large", "x" * 40_000),)
    told = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=metadata))
    assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert front.upstream.received.empty()
    front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=(("x-fair", "x" * 4_000),))


def raw(front: Front, method: str, data: bytes) -> Any:
    call: Any = front.channel.unary_unary(f"/{method}")
    return call(data, timeout=LONG)


@pytest.mark.parametrize("operation", table.OPERATIONS, ids=lambda operation: operation.name)
def test_bytes_that_are_no_message_are_an_invalid_request(front: Front, operation: Any) -> None:
    front.upstream.forget()
    told = failure(lambda: raw(front, operation.full_name, b"\xff\xff\xff"))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert front.upstream.received.empty()


def test_text_that_is_not_utf8_is_an_invalid_request(front: Front) -> None:
    told = failure(lambda: raw(front, f"{SERVICE}/GetShipmentAllocation", b"\x0a\x02\xc3\x28"))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.mark.parametrize("request_id", ["a\nb", "\x7f", "\x00", "é", "x" * 5000])
def test_request_id_that_no_header_can_hold_is_an_invalid_request(front: Front, request_id: str) -> None:
    asked = pb.AllocateShipmentRequest(shipment_reference=SHIPMENT, request_id=request_id)
    told = failure(lambda: front.stub.AllocateShipment(asked, timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    violations = told.detail(error_details_pb2.BadRequest)
    assert violations is not None
    assert [violation.field for violation in violations.field_violations] == ["request_id"]


@pytest.mark.parametrize("method", [f"/{SERVICE}/NoSuchMethod", "/no.such.Service/Get", "/"])
def test_unknown_method_is_unimplemented(front: Front, method: str) -> None:
    call: Any = front.channel.unary_unary(method)
    assert failure(lambda: call(b"", timeout=LONG)).code is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_lists_the_services_and_describes_them(front: Front) -> None:
    reflection = ProtoReflectionDescriptorDatabase(front.channel)
    assert set(reflection.get_services()) == {*SERVICES, *STANDARD}
    for service in SERVICES:
        described = reflection.FindFileContainingSymbol(service)
        rows = {rpc.name for rpc in RPCS if rpc.service == service}
        assert {method.name for method in described.service[0].method} == rows


def test_reflection_can_be_switched_off() -> None:
    with running_front(REFLECTION="false") as front:
        told = failure(lambda: ProtoReflectionDescriptorDatabase(front.channel).get_services())
        assert told.code is grpc.StatusCode.UNIMPLEMENTED
        front.stub.GetShipmentAllocation(READ, timeout=LONG)


@pytest.mark.parametrize("service", ["", *sorted(SERVICES)])
def test_health_is_known_for_each_service(front: Front, service: str) -> None:
    assert check(front.channel, service) == SERVING


def test_health_of_an_unknown_service_is_not_found(front: Front) -> None:
    assert failure(lambda: check(front.channel, "no.such.Service")).code is grpc.StatusCode.NOT_FOUND


def test_health_port_serves_health_and_nothing_else(front: Front) -> None:
    address = front.gateway.wait_for("listening")["health"]
    assert address != front.gateway.address
    with grpc.insecure_channel(address) as channel:
        assert check(channel) == check(channel, SERVICE) == SERVING
        call: Any = channel.unary_unary(f"/{SERVICE}/GetShipmentAllocation")
        told = failure(lambda: call(READ.SerializeToString(), timeout=LONG))
        assert told.code is grpc.StatusCode.UNIMPLEMENTED


def test_operation_that_is_switched_off_says_so_and_never_calls_upstream(front: Front) -> None:
    front.upstream.forget()
    asked = pb.DeallocateShipmentRequest(shipment_reference=SHIPMENT)
    told = failure(lambda: front.stub.DeallocateShipment(asked, timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_DISABLED")
    assert told.metadata == {"effect": "none"}
    assert front.upstream.received.empty()
    front.stub.GetShipmentAllocation(READ, timeout=LONG)


PRIVATE: Final = "a text of an exception that is private"


def defective(*_: object) -> Message:
    raise RuntimeError(PRIVATE)


def test_text_of_a_defect_reaches_the_log_and_never_a_caller(capsys: pytest.CaptureFixture[str]) -> None:
    """A row of the table that fails in an unforeseen way stands for every defect."""
    row = next(row for row in table.OPERATIONS if row.name == "GetShipmentAllocation")
    broken = dataclasses.replace(row, decode=defective)

    async def call(url: str) -> grpc.aio.AioRpcError:
        given = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": url, "SHIP_API_KEY": KEY}
        settings = configuration.load({configuration.variable(name): value for name, value in given.items()})
        stores = await open_stores(settings, Telemetry())
        account = await Opener(stores, Telemetry(), FollowedFiles(), (b"", Catalogue())).open(settings)
        gateway = Gateway(settings, Telemetry(), Admission(1), Coordinator(settings, Telemetry()), Accounts(account))
        handler = Handler(gateway, broken)
        server = grpc.aio.server()
        methods: dict[str, Any] = {row.name: grpc.unary_unary_rpc_method_handler(handler.handle)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                method: Any = channel.unary_unary(f"/{row.full_name}")
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await method(READ.SerializeToString(), timeout=LONG)
                assert gateway.admission.in_hand == 0
                return caught.value
        finally:
            await server.stop(None)
            await account.closing.aclose()

    with running_upstream() as scripted:
        scripted.default = shipped
        error = asyncio.run(call(scripted.url))
    assert error.code() is grpc.StatusCode.INTERNAL
    trailers = repr(error.trailing_metadata())
    assert "GATEWAY_DEFECT" in trailers
    for shown in (error.details() or "", trailers, error.debug_error_string() or ""):
        assert "private" not in shown
        assert "RuntimeError" not in shown
    logged = capsys.readouterr()
    assert PRIVATE in logged.out + logged.err


def test_serve_with_sandbox_needs_no_configuration() -> None:
    """And what answers is the real thing, end to end."""
    with running_gateway({}, "--sandbox") as gateway, grpc.insecure_channel(gateway.address) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/GetShipmentAllocation")
        assert SHIPMENT.encode() in call(READ.SerializeToString(), timeout=LONG)
        assert gateway.sandbox_url.startswith("http://127.0.0.1:")
        assert gateway.stop() == 0
