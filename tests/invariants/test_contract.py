"""The contract, the operation table, the error table and the documents agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from allocation.v1 import (
    consignment_allocation_service_pb2,
    service_group_service_pb2,
    shipment_allocation_service_pb2,
)
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.operations.validation import RULES, rules_of
from allocation_gateway.rpc.local import LOCAL_RPCS
from allocation_gateway.settings import markdown
from allocation_gateway.upstream.error_table import BY_STATUS
from allocation_gateway.upstream.failures import DIALECTS
from allocation_gateway.version import __version__
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc import StatusCode

if TYPE_CHECKING:
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.operations.streams import LastingRpc
    from allocation_gateway.rpc.local import LocalRpc
    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "server" / "allocation_gateway"
SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for file in (shipment_allocation_service_pb2, consignment_allocation_service_pb2, service_group_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
METHODS: tuple[MethodDescriptor, ...] = tuple(method for service in SERVICES for method in service.methods)
RPCS: tuple[Operation | LocalRpc | LastingRpc, ...] = (*OPERATIONS, *LOCAL_RPCS, *STREAMS, *WATCHES)
REASONS = {name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number}
_REASON_ROW = re.compile(r"^\| ([A-Z_]+) \| `([A-Z_]+)` \|", re.MULTILINE)
_JSON_ROW = re.compile(r"^\| (`[A-Za-z_`, ]+) \| ([A-Z_]+) \| `([A-Z_]+)` \|$", re.MULTILINE)
_STATUS_ROW = re.compile(r"^\| (\d{3}[^|]*) \| ([A-Z_]+) \| `([A-Z_]+)` \|$", re.MULTILINE)
_METHOD_FIELD, _SERVICE_FIELD = 2, 6


def errors_document() -> str:
    return (ROOT / "docs" / "errors.md").read_text()


def documented_reasons() -> dict[str, str]:
    """Returns the gRPC code of each reason, as docs/errors.md has it."""
    return {reason: code for code, reason in _REASON_ROW.findall(errors_document())}


@pytest.fixture(scope="module")
def comments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The comment of each rpc in the .proto files, by its full name."""
    target = tmp_path_factory.mktemp("descriptors") / "all.binpb"
    protos = ROOT / "protos"
    includes = [protos, files("google").joinpath(".."), files("grpc_tools").joinpath("_proto")]
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{path}" for path in includes)]
    names = [str(path.relative_to(protos)) for path in (protos / "allocation").rglob("*_service.proto")]
    subprocess.run([*command, "--include_source_info", f"--descriptor_set_out={target}", *names], check=True)
    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(target.read_bytes()).file:
        found.update(_comments_of(file))
    return found


def _comments_of(file: FileDescriptorProto) -> dict[str, str]:
    found = {}
    for location in file.source_code_info.location:
        path = list(location.path)
        if len(path) == 4 and (path[0], path[2]) == (_SERVICE_FIELD, _METHOD_FIELD):
            service = file.service[path[1]]
            found[f"{file.package}.{service.name}.{service.method[path[3]].name}"] = location.leading_comments
    return found


def test_every_rpc_has_exactly_one_row_or_is_answered_from_what_the_gateway_knows() -> None:
    rows = [(rpc.service, rpc.name) for rpc in RPCS]
    rpcs = [(method.containing_service.full_name, method.name) for method in METHODS]
    assert sorted(rows) == sorted(rpcs)


def test_every_row_takes_the_request_and_gives_the_response_of_its_rpc() -> None:
    for rpc in RPCS:
        assert rpc.request.DESCRIPTOR.name == f"{rpc.name}Request"
        method = next(method for method in METHODS if method.full_name == rpc.full_name.replace("/", "."))
        assert method.input_type is rpc.request.DESCRIPTOR
        assert method.output_type.name == f"{rpc.name}Response"


def test_every_field_of_every_request_has_a_rule_and_every_rule_a_field() -> None:
    used = {rule.field for rpc in RPCS for rule in rules_of(rpc.request)}
    assert used == set(RULES)


def test_every_write_takes_a_request_id_and_no_read_does() -> None:
    for operation in OPERATIONS:
        assert ("request_id" in operation.request.DESCRIPTOR.fields_by_name) == operation.action.writes


def test_nothing_but_its_row_and_its_codec_mentions_an_rpc() -> None:
    # The demo is a caller like any other.
    elsewhere = [
        path
        for path in SERVER.rglob("*.py")
        if path.relative_to(SERVER).parts[0] not in {"operations", "codecs", "sandbox", "demo.py"}
    ]
    assert elsewhere
    for path in elsewhere:
        text = path.read_text()
        assert [method.name for method in METHODS if re.search(rf"\b{method.name}\b", text)] == [], path


def test_every_rpc_lists_its_errors_with_the_codes_that_the_error_table_gives(comments: dict[str, str]) -> None:
    codes = documented_reasons()
    for method in METHODS:
        listed = comments[method.full_name].partition("Errors:")[2]
        rows = re.findall(r"- ([A-Z_]+) \(([A-Z_,\s]+)\)", listed)
        assert rows, method.full_name
        for code, reasons in rows:
            for reason in re.split(r",\s+", reasons.strip()):
                assert codes[reason] == code, (method.full_name, reason)


def test_every_reason_is_documented_once_and_no_other() -> None:
    rows = [reason for _, reason in _REASON_ROW.findall(errors_document())]
    assert sorted(rows) == sorted(REASONS)


def test_every_documented_code_is_a_grpc_code() -> None:
    assert set(documented_reasons().values()) <= {code.name for code in StatusCode}


def test_the_error_document_has_the_row_of_every_json_code() -> None:
    rows: dict[str, tuple[str, str]] = {}
    for codes, status, reason in _JSON_ROW.findall(errors_document()):
        rows.update(dict.fromkeys(re.findall(r"`([A-Za-z_]+)`", codes), (status, reason)))
    table = {
        code: (entry.code.name, ErrorReason.Name(entry.reason).removeprefix("ERROR_REASON_"))
        for dialect in DIALECTS.values()
        for code, entry in dialect.by_code.items()
    }
    assert rows == table


def test_the_error_document_has_the_row_of_every_http_status() -> None:
    rows: dict[int, tuple[str, str]] = {}
    for cell, code, reason in _STATUS_ROW.findall(errors_document()):
        for status in re.findall(r"\d{3}", cell.partition(", and ")[0]):
            rows[int(status)] = (code, reason)
    for status, entry in BY_STATUS.items():
        assert rows[status] == (entry.code.name, ErrorReason.Name(entry.reason).removeprefix("ERROR_REASON_"))


def test_the_documents_have_the_table_of_settings() -> None:
    document = (ROOT / "docs/settings.md").read_text()
    table = document.partition("kept equal by a test -->\n")[2].partition("<!-- /settings -->")[0]
    assert table == f"{markdown()}\n", "put the output of `allocation-gateway settings` into docs/settings.md"


def test_the_changelog_and_the_client_have_the_gateways_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert f'version = "{__version__}"' in (ROOT / "clients" / "python" / "pyproject.toml").read_text()
