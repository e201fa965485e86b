"""Server reflection over the wire, as the tools ask for it: both versions of the protocol, and every kind of symbol."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import (
    consignment_allocation_service_pb2,
    core_pb2,
    error_reason_pb2,
    service_group_service_pb2,
    shipment_allocation_service_pb2,
)
from allocation_gateway.rpc.reflection import Reflection
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2 as pb
from support.front import LONG, SERVICE, SHIPMENT, running_front
from support.status import failure
from wire.building import tool
from wire.conftest import chosen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
    from support.front import Front

ROOT: Final = Path(__file__).resolve().parents[2]
GRPCURL_VERSION: Final = "v1.9.3"
GRPCURL: Final = ROOT / ".cache" / "grpcurl" / GRPCURL_VERSION
INSTALL_SECONDS: Final = 600
VERSIONS: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
NOT_FOUND: Final = grpc.StatusCode.NOT_FOUND.value[0]
INVALID_ARGUMENT: Final = grpc.StatusCode.INVALID_ARGUMENT.value[0]
CONTRACT: Final = (
    consignment_allocation_service_pb2,
    core_pb2,
    error_reason_pb2,
    service_group_service_pb2,
    shipment_allocation_service_pb2,
)
MODULES: Final = (*CONTRACT, error_details_pb2, health_pb2, pb)

version = pytest.mark.parametrize("version", VERSIONS)


def as_proto(module: Any) -> FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


def symbols(file: FileDescriptorProto) -> Iterator[str]:
    """Yields the full name of everything in a file that has one."""
    package = file.package
    for service in file.service:
        yield f"{package}.{service.name}"
        yield from (f"{package}.{service.name}.{method.name}" for method in service.method)
    for message in file.message_type:
        yield from symbols_of_message(message, package)
    for enum in file.enum_type:
        yield from symbols_of_enum(enum, package)
    yield from (f"{package}.{extension.name}" for extension in file.extension)


def symbols_of_message(message: DescriptorProto, scope: str) -> Iterator[str]:
    name = f"{scope}.{message.name}"
    yield name
    for part in (message.field, message.oneof_decl, message.extension):
        yield from (f"{name}.{member.name}" for member in part)
    for nested in message.nested_type:
        yield from symbols_of_message(nested, name)
    for enum in message.enum_type:
        yield from symbols_of_enum(enum, name)


def symbols_of_enum(enum: EnumDescriptorProto, scope: str) -> Iterator[str]:
    """Yields an enum and its values, which stand beside it; some tools look for them within it."""
    yield f"{scope}.{enum.name}"
    for value in enum.value:
        yield f"{scope}.{value.name}"
        yield f"{scope}.{enum.name}.{value.name}"


def ask(channel: grpc.Channel, version: str, questions: Iterable[object]) -> list[pb.ServerReflectionResponse]:
    """Asks questions over one stream."""
    call: Any = channel.stream_stream(
        f"/{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )
    return list(call(iter(questions), timeout=LONG))


def files(answer: pb.ServerReflectionResponse) -> list[FileDescriptorProto]:
    found = answer.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(data) for data in found]


@version
def test_every_symbol_of_every_file_is_described(front: Front, version: str) -> None:
    for module in MODULES:
        declared = as_proto(module)
        names = list(symbols(declared))
        questions = [pb.ServerReflectionRequest(host="here", file_containing_symbol=name) for name in names]
        for question, answer in zip(questions, ask(front.channel, version, questions), strict=True):
            assert (answer.original_request, answer.valid_host) == (question, "here")
            assert files(answer)[:1] == [declared], question.file_containing_symbol


@version
def test_a_file_comes_with_all_that_it_needs(front: Front, version: str) -> None:
    questions = [pb.ServerReflectionRequest(file_by_filename=module.DESCRIPTOR.name) for module in MODULES]
    for module, answer in zip(MODULES, ask(front.channel, version, questions), strict=True):
        found = {file.name: file for file in files(answer)}
        assert len(found) == len(files(answer)), "a file is sent twice"
        assert next(iter(found)) == module.DESCRIPTOR.name
        assert {name for file in found.values() for name in file.dependency} <= found.keys()


@version
def test_every_listed_service_is_described(front: Front, version: str) -> None:
    (listed,) = ask(front.channel, version, [pb.ServerReflectionRequest(list_services="*")])
    names = [service.name for service in listed.list_services_response.service]
    assert {*(f"{each}.ServerReflection" for each in VERSIONS), "grpc.health.v1.Health", SERVICE} <= set(names)
    answers = ask(front.channel, version, [pb.ServerReflectionRequest(file_containing_symbol=name) for name in names])
    for name, answer in zip(names, answers, strict=True):
        file = files(answer)[0]
        assert name in {f"{file.package}.{service.name}" for service in file.service}


@version
def test_both_versions_are_declared_alike(front: Front, version: str) -> None:
    answers = ask(
        front.channel,
        version,
        [pb.ServerReflectionRequest(file_containing_symbol=f"{each}.ServerReflection") for each in VERSIONS],
    )
    stable, alpha = (files(answer)[0] for answer in answers)
    assert stable.name == "grpc/reflection/v1/reflection.proto"
    alpha.name, alpha.package = stable.name, stable.package
    for file in (stable, alpha):
        file.ClearField("options")
        for service in file.service:
            service.ClearField("options")
    assert str(alpha).replace("v1alpha", "v1") == str(stable)


@version
@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"file_containing_symbol": "allocation.v1.NoSuchThing"}, NOT_FOUND),
        ({"file_containing_symbol": f"{SERVICE}.NoSuchMethod"}, NOT_FOUND),
        ({"file_containing_symbol": f"{SERVICE}.AllocateShipment.deeper"}, NOT_FOUND),
        ({"file_containing_symbol": "allocation.v1.ErrorReason.NO_SUCH_VALUE"}, NOT_FOUND),
        ({"file_containing_symbol": "allocation.v1"}, NOT_FOUND),
        ({"file_containing_symbol": ""}, NOT_FOUND),
        ({"file_by_filename": "no/such/file.proto"}, NOT_FOUND),
        ({"all_extension_numbers_of_type": "allocation.v1.NoSuchThing"}, NOT_FOUND),
        ({"file_containing_extension": {"containing_type": "allocation.v1.Price", "extension_number": 1}}, NOT_FOUND),
        ({"file_containing_extension": {"containing_type": "no.such.Thing", "extension_number": 1}}, NOT_FOUND),
        ({}, INVALID_ARGUMENT),
    ],
    ids=str,
)
def test_what_is_not_there_is_an_answer_and_does_not_end_the_stream(
    front: Front, version: str, question: dict[str, Any], code: int
) -> None:
    questions = [pb.ServerReflectionRequest(**question), pb.ServerReflectionRequest(list_services="")]
    wrong, right = ask(front.channel, version, questions)
    assert wrong.error_response.error_code == code
    assert wrong.error_response.error_message
    assert wrong.original_request == questions[0]
    assert right.list_services_response.service


@version
def test_a_message_without_extensions_has_none(front: Front, version: str) -> None:
    question = pb.ServerReflectionRequest(all_extension_numbers_of_type="allocation.v1.GetShipmentAllocationRequest")
    (answer,) = ask(front.channel, version, [question])
    assert answer.WhichOneof("message_response") == "all_extension_numbers_response"
    assert answer.all_extension_numbers_response.base_type_name == "allocation.v1.GetShipmentAllocationRequest"
    assert list(answer.all_extension_numbers_response.extension_number) == []


@version
def test_reflection_is_switched_off_in_both_versions(engine: str, version: str) -> None:
    with running_front(settings=chosen(engine), REFLECTION="false") as front:
        told = failure(lambda: ask(front.channel, version, [pb.ServerReflectionRequest(list_services="")]))
        assert told.code is grpc.StatusCode.UNIMPLEMENTED


def test_extensions_are_found_by_their_number() -> None:
    """The contract has none: a pool of its own has."""
    base = descriptor_pb2.FileDescriptorProto(name="base.proto", package="x", syntax="proto2")
    base.message_type.add(name="Base").extension_range.add(start=100, end=200)
    more = descriptor_pb2.FileDescriptorProto(name="more.proto", package="x", syntax="proto2", dependency=[base.name])
    for number in (150, 120):
        more.extension.add(name=f"of_{number}", number=number, type=5, label=1, extendee=".x.Base")
    pool = descriptor_pool.DescriptorPool()
    for file in (base, more):
        pool.AddSerializedFile(file.SerializeToString())
    reflection = Reflection((), pool)
    numbers = reflection.answer(pb.ServerReflectionRequest(all_extension_numbers_of_type="x.Base"))
    assert list(numbers.all_extension_numbers_response.extension_number) == [120, 150]
    asked: dict[str, Any] = {"containing_type": "x.Base", "extension_number": 150}
    found = reflection.answer(pb.ServerReflectionRequest(file_containing_extension=asked))
    assert [file.name for file in files(found)] == ["more.proto", "base.proto"]
    named = reflection.answer(pb.ServerReflectionRequest(file_containing_symbol="x.of_150"))
    assert files(named)[0].name == "more.proto"
    missing: dict[str, Any] = {"containing_type": "x.Base", "extension_number": 199}
    answer = reflection.answer(pb.ServerReflectionRequest(file_containing_extension=missing))
    assert answer.error_response.error_code == NOT_FOUND
    assert "x.Base, 199" in answer.error_response.error_message


@pytest.fixture(scope="session")
def grpcurl() -> str:
    """The pinned grpcurl, built from source where it is missing."""
    command = GRPCURL / "grpcurl"
    if not command.exists():
        subprocess.run(
            [tool("go"), "install", f"github.com/fullstorydev/grpcurl/cmd/grpcurl@{GRPCURL_VERSION}"],
            env={**os.environ, "GOBIN": str(GRPCURL)},
            check=True,
            timeout=INSTALL_SECONDS,
        )
    return str(command)


@pytest.mark.wire
def test_grpcurl_lists_describes_and_calls(front: Front, grpcurl: str) -> None:
    def run(*arguments: str, data: str = "") -> str:
        flags = ["-plaintext", *(["-d", data] if data else [])]
        done = subprocess.run(
            [grpcurl, *flags, front.gateway.address, *arguments],
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert {SERVICE, *(f"{each}.ServerReflection" for each in VERSIONS)} <= set(run("list").split())
    methods = [f"{SERVICE}.{method.name}" for method in as_proto(shipment_allocation_service_pb2).service[0].method]
    assert set(run("list", SERVICE).split()) == set(methods)
    assert f"{SERVICE} is a service" in run("describe", SERVICE)
    for method in methods:
        assert f"{method} is a method" in run("describe", method)
    for name, kind in (
        ("allocation.v1.GetShipmentAllocationRequest", "message"),
        ("allocation.v1.GetShipmentAllocationRequest.shipment_reference", "field"),
        ("allocation.v1.ErrorReason", "enum"),
        ("google.rpc.ErrorInfo", "message"),
    ):
        assert f"{name} is a" in run("describe", name), kind
    assert run("describe").count("is a service") >= len(VERSIONS)
    answer = run(f"{SERVICE}/GetShipmentAllocation", data=json.dumps({"shipment_reference": SHIPMENT}))
    assert json.loads(answer)["allocation"]["state"] == "SHIPMENT_STATE_UNALLOCATED"
