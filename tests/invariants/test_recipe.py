"""Adding an rpc is one row and one codec, also for writes: the recipe of CONTRIBUTING.md, followed for made-up rpcs.

It is followed in a copy of the sources. The real server runs from that copy, and is called as any client calls it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from support.front import LONG, SERVICE, running_front
from support.status import failure
from support.upstream import running_upstream
from support.world import LOST, World
from writes.conftest import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = Path("server/allocation_gateway")
PROTO: Final = Path("protos/allocation/v1/shipment_allocation_service.proto")
ROWS: Final = PACKAGE / "operations/ship.py"
RULES: Final = PACKAGE / "operations/validation.py"
CODEC: Final = PACKAGE / "codecs/ship_zones.py"

RPCS: Final = """service ShipmentAllocationService {
  rpc AllocateShipmentWithZone(AllocateShipmentWithZoneRequest) returns (AllocateShipmentWithZoneResponse);
  rpc AllocateShipmentsWithZone(AllocateShipmentsWithZoneRequest) returns (AllocateShipmentsWithZoneResponse);
"""
MESSAGES: Final = """
message AllocateShipmentWithZoneRequest {
  string shipment_reference = 1;
  string zone_reference = 2;
  string request_id = 3;
}
message AllocateShipmentWithZoneResponse {
  Allocation allocation = 1;
}
message AllocateShipmentsWithZoneRequest {
  repeated string shipments = 1;
  string zone_reference = 2;
  string request_id = 3;
  repeated ServiceCapability capabilities = 4;
}
message AllocateShipmentsWithZoneResponse {
  repeated string queued = 1;
  repeated AllocationRejection rejected = 2;
  string message = 3;
  repeated Link links = 4;
  repeated Allocation allocations = 5;
  repeated string unaccounted = 6;
  repeated string unreadable = 7;
}
"""
ZONES: Final = '''"""Shipments that are allocated within a zone: the answer names the state and the carrier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import ship_common as common
from allocation_gateway.codecs.schema import REQUIRED, Document, Schema, decisive, spelled
from allocation_gateway.codecs.states import SHIP, Stage

if TYPE_CHECKING:
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object

ZONED: Final = Document.of(
    Schema(
        state_text=decisive(REQUIRED).at("state"),
        shipment_reference=decisive(REQUIRED),
        state=spelled(common.STATES),
        carrier=common.BOOKED_CARRIER,
    )
)


def zoned(_: object, fields: Object, findings: Findings) -> pb.AllocateShipmentWithZoneResponse:
    """Reads an AllocateResult."""
    findings.made = SHIP.stage(fields.get("state", 0)) is Stage.ALLOCATED
    return pb.AllocateShipmentWithZoneResponse(allocation=fields)
'''
IMPORT: Final = "from allocation_gateway.codecs.ship_zones import ZONED, zoned\n"
NEW_ROWS: Final = """
    _row(
        pb.AllocateShipmentWithZoneRequest,
        Action.ALLOCATE,
        ZONED,
        zoned,
        default="PUT /shipments/{shipment_reference}/allocate/zone/{zone_reference}",
    ),
    _row(
        pb.AllocateShipmentsWithZoneRequest,
        Action.ALLOCATE_BULK,
        BULK,
        bulk(pb.AllocateShipmentsWithZoneResponse),
        ship_requests.shipments("zone_reference"),
        LISTING,
        _BULK_STATUSES,
        default="PUT /shipments/allocate/zone",
    ),
"""
# Of the stubs: make installs them.
COMPILERS: Final = Path(".cache/stubs")
RULE: Final = '    "zone_reference": _reference,\n'


def insert(root: Path, file: Path, before: str, text: str) -> None:
    """Puts a text before the one place where another one stands."""
    source = (root / file).read_text()
    assert source.count(before) == 1, f"{file} has {before!r} {source.count(before)} times"
    (root / file).write_text(source.replace(before, text + before))


class Contract:
    """The messages of a copy, apart from those that this process knows."""

    def __init__(self, descriptors: Path) -> None:
        self._pool = DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            self._pool.Add(file)

    def request(self, rpc: str, **fields: Any) -> Any:
        """Returns the request of an rpc."""
        return GetMessageClass(self._pool.FindMessageTypeByName(f"allocation.v1.{rpc}Request"))(**fields)

    def call(self, channel: grpc.Channel, request: Any) -> Any:
        """Makes a call, and returns its response."""
        rpc = request.DESCRIPTOR.name.removesuffix("Request")
        response: Any = GetMessageClass(self._pool.FindMessageTypeByName(f"allocation.v1.{rpc}Response"))
        method = channel.unary_unary(f"/{SERVICE}/{rpc}", type(request).SerializeToString, response.FromString)
        return method(request, timeout=LONG)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources in which the recipe was followed."""
    root = tmp_path_factory.mktemp("recipe")
    for part in (Path("protos"), PACKAGE):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns(".deps", "__pycache__"))
    # The contract, and what is generated from it.
    source = (root / PROTO).read_text()
    source = source.replace("service ShipmentAllocationService {\n", RPCS)
    (root / PROTO).write_text(source + MESSAGES)
    (root / COMPILERS).parent.mkdir()
    (root / COMPILERS).symlink_to(ROOT / COMPILERS)
    command = [sys.executable, str(root / "protos/generate.py"), "python", "descriptors"]
    subprocess.run(command, check=True, cwd=root)
    # The codec, the rows, and the rule of the new field.
    (root / CODEC).write_text(ZONES)
    insert(root, ROWS, "from allocation_gateway.operations.allocations import", IMPORT)
    insert(root, ROWS, "\n    _row(\n        pb.GetShipmentAllocationRequest,", NEW_ROWS.rstrip())
    insert(root, RULES, '    "page_token": _page_token,\n', RULE)
    return root


@dataclass
class Copy:
    """The gateway of a copy, in front of an upstream that remembers what was done."""

    contract: Contract
    world: World
    channel: grpc.Channel

    def call(self, request: Any) -> Any:
        """Makes a call, and returns its response."""
        return self.contract.call(self.channel, request)


@pytest.fixture(scope="module")
def running(sources: Path) -> Iterator[Copy]:
    """Runs the gateway of the copy."""
    contract = Contract(sources / "build/api-reference/descriptor.pb")
    world = World()
    path = f"{sources / 'server'}:{sources / 'clients/python/src'}"
    with running_upstream() as upstream:
        upstream.default = world.answer
        with running_front(upstream, settings=SETTINGS, extra={"PYTHONPATH": path}) as front:
            yield Copy(contract, world, front.channel)


@pytest.fixture
def copy(running: Copy) -> Copy:
    """The same, with nothing written."""
    running.world.written.clear()
    return running


def test_a_write_that_is_added_by_the_recipe_has_every_promise(copy: Copy) -> None:
    """It is validated, sent once, remembered, told from another request with its id, and read back."""
    call, world, contract = copy.call, copy.world, copy.contract

    def request(**fields: Any) -> Any:
        given = {"shipment_reference": f"sp_{uuid.uuid4()}", "zone_reference": "north/1", **fields}
        return contract.request("AllocateShipmentWithZone", **{"request_id": str(uuid.uuid4()), **given})

    first = request()
    response = call(first)
    sent = f"PUT /pro/shipments/{first.shipment_reference}/allocate/zone/north%2F1 HTTP/1.1"
    assert world.written == [sent]
    assert response.allocation.carrier.service_reference == "FF_1"
    assert not response.allocation.reconciled
    assert call(first) == response
    assert world.written == [sent], "it was made once"

    other = request(shipment_reference=first.shipment_reference, request_id=first.request_id, zone_reference="south")
    assert failure(lambda: call(other)).reason == "REQUEST_ID_REUSED"
    refused = failure(lambda: call(request(zone_reference="")))
    violations = refused.detail(error_details_pb2.BadRequest)
    assert violations is not None
    assert [violation.field for violation in violations.field_violations] == ["zone_reference"]
    again = failure(lambda: call(request(shipment_reference=first.shipment_reference)))
    assert (again.reason, again.metadata["effect"]) == ("INVALID_STATE", "none")

    world.fates.put(LOST)
    assert call(request()).allocation.reconciled


def test_a_bulk_write_that_is_added_by_the_recipe_has_every_promise(copy: Copy) -> None:
    """What a lost answer had to say is read, and what had no effect is told as such, or sent again by a repeat."""
    call, world, contract = copy.call, copy.world, copy.contract
    names = [f"sp_{uuid.uuid4()}" for _ in range(3)]
    request = contract.request(
        "AllocateShipmentsWithZone", shipments=names, zone_reference="north", request_id=str(uuid.uuid4())
    )
    world.fates.put(LOST)
    doubtful = failure(lambda: call(request))
    assert (doubtful.code, doubtful.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    response = call(request)
    assert sorted(response.queued) == sorted(names)
    assert [item.shipment_reference for item in response.allocations] == names[:1]
    assert all(item.reconciled for item in response.allocations)
    assert world.written == ["PUT /pro/shipments/allocate/zone HTTP/1.1"] * 2
    assert all(world.bookings[name] == 1 for name in names)


def test_the_recipe_names_every_file_that_it_takes() -> None:
    """Whoever adds an rpc is told of all of them, and of no other file of the gateway."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    recipe = text[text.index("## Adding an rpc") : text.index("Nothing else mentions an rpc")]
    for named in ("protos/", "make generate", "server/allocation_gateway/codecs/", ROWS, RULES, "test_recipe.py"):
        assert str(named) in recipe
    named_files = set(re.findall(r"server/allocation_gateway/\w+/\w+\.py", recipe))
    assert named_files == {str(ROWS), str(PACKAGE / "operations/consignments.py"), str(RULES), *NOT_ROWS}


# Of rpcs without a row.
NOT_ROWS: Final = {"server/allocation_gateway/rpc/service_groups.py"}
