"""References in paths: whatever a reference is, it is one segment, and decodes to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import httpx
import msgspec
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.operations.validation import MAX_REFERENCE, rules_of, violations
from allocation_gateway.settings import Settings
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mapping import consignments
from mapping.table import REQUESTS, changed

if TYPE_CHECKING:
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from google.protobuf.message import Message
    from support.upstream import Upstream

SETTINGS: Final = Settings()
LABELS: Final = next(item for item in OPERATIONS if item.name == "AllocateConsignmentWithLabels")
TRICKY: Final = [
    "/",
    "%",
    "%2F",
    "..",
    ".",
    "?",
    "#",
    "+",
    " ",
    "\\",
    ";",
    "\0",
    "\r\n",
    "é",
    "🚚",
    "%c0%af",
    "//",
    "{}",
]
REFERENCES: Final = st.one_of(
    st.text(min_size=1, max_size=MAX_REFERENCE),
    st.lists(st.sampled_from([*TRICKY, "a"]), min_size=1, max_size=8).map("".join),
)
EVERY: Final = {**REQUESTS, **consignments.REQUESTS}
SELECTORS: Final = ("carrier_service_reference", "service_group", "quote_reference")
# Each route with a request that takes it; what a oneof chooses is another route.
ROUTES: Final = [
    *((route, EVERY[operation.name]) for operation in OPERATIONS for route in operation.routes.values()),
    *((LABELS.routes["default"], changed(EVERY[LABELS.name], **{field: "x"})) for field in SELECTORS),
]


def valid(request: Message) -> bool:
    """Tells whether the gateway accepts a request."""
    return not violations(request, rules_of(type(request)), SETTINGS)


def segments(path: bytes) -> list[str]:
    """Returns the segments of a path as a server reads them."""
    return [unquote_to_bytes(segment).decode() for segment in path.split(b"/")]


@given(route=st.sampled_from(ROUTES), references=st.lists(REFERENCES, min_size=2, max_size=2))
@example(ROUTES[0], ["..", "..."])
def test_a_path_has_the_segments_of_its_template_and_each_reference_is_one(route: Any, references: list[str]) -> None:
    """None more, none less, and none that a server resolves; also once httpx has taken the path over."""
    line, example_request = route[0].of(route[1]), route[1]
    fields = [
        field.name
        for field in example_request.DESCRIPTOR.fields
        if field.type == FieldDescriptor.TYPE_STRING and f"{{{field.name}}}" in line.template
    ]
    given_references = dict(zip(fields, references, strict=False))
    request = changed(example_request, **given_references)
    assume(valid(request))
    assert route[0].of(request) is line

    path = line.path(request)

    values = {**given_references, "label_format": "PDF"}
    wanted = [values[part[1:-1]] if part.startswith("{") else part for part in line.template.split("/")]
    assert segments(path.encode("ascii")) == wanted
    assert not {".", ".."} & set(path.split("/"))
    url = httpx.URL("http://upstream/pro").copy_with(raw_path=b"/pro" + path.encode("ascii"))
    assert url.raw_path == b"/pro" + path.encode("ascii")
    assert httpx.Request(line.method, url).url.raw_path == url.raw_path


@given(reference=REFERENCES | st.text(max_size=400))
@example("")
@example(".")
@example("..")
def test_what_is_not_sent_is_empty_too_long_or_a_dot_segment(reference: str) -> None:
    """Every other reference is accepted: their form is upstream's to change."""
    request = pb.GetShipmentAllocationRequest(shipment_reference=reference)

    assert valid(request) == (1 <= len(reference) <= MAX_REFERENCE and reference not in {".", ".."})


@given(references=st.lists(REFERENCES, min_size=1, max_size=100, unique=True), group=REFERENCES)
def test_references_in_a_body_decode_to_themselves(references: list[str], group: str) -> None:
    """In their order."""
    operation = next(item for item in OPERATIONS if item.name == "AllocateShipmentsWithServiceGroup")
    assert operation.encode is not None
    request = pb.AllocateShipmentsWithServiceGroupRequest(shipments=references, service_group=group)

    body = msgspec.json.decode(msgspec.json.encode(operation.encode(request, SETTINGS)))

    assert body == {"shipments": references, "service_group": group}


@given(shipment=REFERENCES, group=REFERENCES)
@settings(max_examples=100)
@example("a/../../b", "%2e%2e")
def test_a_reference_reaches_upstream_as_it_was_given(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, shipment: str, group: str
) -> None:
    """Over real sockets on both sides."""
    request = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=shipment, service_group=group)
    assume(valid(request))
    upstream.forget()
    upstream.answer(200, {"shipment_reference": shipment, "state": "allocated"})

    stub.AllocateShipmentWithServiceGroup(request, timeout=20)

    method, path, version = upstream.next_request().line.split(" ")
    assert (method, version) == ("PUT", "HTTP/1.1")
    assert segments(path.encode()) == ["", "pro", "shipments", shipment, "allocate", "service_group", group]


@given(references=st.lists(REFERENCES, min_size=1, max_size=100, unique=True), group=REFERENCES)
def test_references_of_consignments_in_a_body_decode_to_themselves(references: list[str], group: str) -> None:
    """In their order, and a bare array where upstream takes one."""
    by_name = {item.name: item for item in OPERATIONS}
    bodies = []
    for request in (
        consignments_pb.AllocateConsignmentsWithServiceGroupRequest(consignments=references, service_group=group),
        consignments_pb.DeallocateConsignmentsRequest(consignments=references),
    ):
        encode = by_name[request.DESCRIPTOR.name.removesuffix("Request")].encode
        assert encode is not None
        bodies.append(msgspec.json.decode(msgspec.json.encode(encode(request, SETTINGS))))

    assert bodies == [{"ConsignmentReferences": references, "MpdCarrierServiceGroupReference": group}, references]
