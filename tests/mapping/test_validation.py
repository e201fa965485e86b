"""What a request must be: every rule, all violations at once, and nothing is sent upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2
from mapping.table import BULKS, GOLDEN, OUTBOUND, REQUESTS, SHIPMENT, TIMEOUT, WRITES, answer, call, changed, refused
from support.status import failure

if TYPE_CHECKING:
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from google.protobuf.message import Message
    from mapping.conftest import Configured
    from support.upstream import Upstream

EMPTY: Final = "must not be empty"
DOTS: Final = "must not be a dot segment"
TWICE: Final = "must not be given twice"
UUID: Final = "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000"
DIRECTION: Final = "must be DIRECTION_INBOUND or DIRECTION_OUTBOUND"

REFERENCE_FIELDS: Final = [
    (rpc, field.name)
    for rpc, request in REQUESTS.items()
    for field in request.DESCRIPTOR.fields
    if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated and field.name != "request_id"
]
LIST_RPCS: Final = (*BULKS, "AllocateShipmentsWithFilters")


def check(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, request: Message, violations: list[tuple[str, str]]
) -> None:
    """Calls, and compares everything that the caller is told."""
    found = refused(stub, request)

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert found.message == "The request is not valid."
    writes = request.DESCRIPTOR.name.removesuffix("Request") in WRITES
    assert found.metadata == ({"effect": "none"} if writes else {})
    bad_request = found.detail(error_details_pb2.BadRequest)
    assert bad_request is not None
    assert [(item.field, item.description) for item in bad_request.field_violations] == violations
    assert len(found.details) == 2
    assert upstream.received.empty(), "upstream was called"


@pytest.mark.parametrize(("rpc", "field"), REFERENCE_FIELDS)
@pytest.mark.parametrize(
    ("value", "violation"),
    [
        ("", EMPTY),
        ("a" * 256, "must have at most 255 characters, not 256"),
        ("é" * 300, "must have at most 255 characters, not 300"),
        (".", DOTS),
        ("..", DOTS),
    ],
    ids=["empty", "too long", "too long in letters of two bytes", "dot", "two dots"],
)
def test_a_reference_has_1_to_255_characters_and_is_no_dot_segment(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, field: str, value: str, violation: str
) -> None:
    """The field is named as it stands in the request message."""
    check(stub, upstream, changed(REQUESTS[rpc], **{field: value}), [(field, violation)])


def test_references_are_checked_in_every_request() -> None:
    """A request whose references nobody checks fails here."""
    assert {rpc for rpc, _ in REFERENCE_FIELDS} | set(LIST_RPCS) == set(REQUESTS)


LISTS: Final[dict[str, tuple[list[str], list[tuple[str, str]]]]] = {
    "none": ([], [("shipments", "must have 1 to 100 references, not 0")]),
    "101": ([f"sp_{n}" for n in range(101)], [("shipments", "must have 1 to 100 references, not 101")]),
    "101 that are empty": ([""] * 101, [("shipments", "must have 1 to 100 references, not 101")]),
    "twice": (["a", "b", "a"], [("shipments[2]", TWICE)]),
    "twice in another case": (["sp_1a", "b", "SP_1A"], [("shipments[2]", TWICE)]),
    "three times": (["a", "a", "a"], [("shipments[1]", TWICE), ("shipments[2]", TWICE)]),
    "empty": (["a", ""], [("shipments[1]", EMPTY)]),
    "too long": (["a", "b" * 256], [("shipments[1]", "must have at most 255 characters, not 256")]),
    "dot segment": (["..", "a"], [("shipments[0]", DOTS)]),
    "everything": (
        ["", "a", "", "a", ".", "c" * 257],
        [
            ("shipments[0]", EMPTY),
            ("shipments[2]", EMPTY),
            ("shipments[3]", TWICE),
            ("shipments[4]", DOTS),
            ("shipments[5]", "must have at most 255 characters, not 257"),
        ],
    ),
}


@pytest.mark.parametrize("rpc", LIST_RPCS)
@pytest.mark.parametrize(("references", "violations"), LISTS.values(), ids=LISTS.keys())
def test_a_bulk_call_names_1_to_100_different_shipments(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    references: list[str],
    violations: list[tuple[str, str]],
) -> None:
    """Each reference that is not as it must be is named by its place."""
    check(stub, upstream, changed(REQUESTS[rpc], shipments=references), violations)


@pytest.mark.parametrize("rpc", WRITES)
@pytest.mark.parametrize(
    "request_id",
    [
        "1",
        "123e4567e89b42d3a456426614174000",
        "{123e4567-e89b-42d3-a456-426614174000}",
        "123e4567-e89b-42d3-a456-42661417400",
        "123e4567-e89b-42d3-a456-4266141740000",
        "123e4567-e89b-42d3-a456-42661417400g",
        " 123e4567-e89b-42d3-a456-426614174000",
        "\u066123e4567-e89b-42d3-a456-426614174000",
        "x" * 10_000,
    ],
)
def test_a_request_id_is_a_uuid(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, request_id: str
) -> None:
    """Anything else is refused, rather than replaced by an id that the caller does not know."""
    check(stub, upstream, changed(REQUESTS[rpc], request_id=request_id), [("request_id", UUID)])


@pytest.mark.parametrize("request_id", ["a\nb", "\0", "\x7f", "123e4567-e89b-42d3-a456-426614174000\n"])
def test_a_request_id_with_control_characters_is_refused_like_any_other_that_is_no_uuid(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, request_id: str
) -> None:
    """It cannot be told as metadata, which is no reason for another error."""
    check(stub, upstream, changed(REQUESTS["AllocateShipment"], request_id=request_id), [("request_id", UUID)])


def _capability(kind: str = "proof_of_delivery", value: str = "require") -> core_pb2.ServiceCapability:
    return core_pb2.ServiceCapability(type=kind, value=value)


CAPABILITIES: Final[dict[str, tuple[list[core_pb2.ServiceCapability], list[tuple[str, str]]]]] = {
    "eleven": ([_capability()] * 11, [("capabilities", "must have at most 10, not 11")]),
    "no type": ([_capability(kind="")], [("capabilities[0].type", EMPTY)]),
    "no value": ([_capability(), _capability(value="")], [("capabilities[1].value", EMPTY)]),
    "nothing": ([_capability("", "")], [("capabilities[0].type", EMPTY), ("capabilities[0].value", EMPTY)]),
    "too long": (
        [_capability("a" * 256, "b" * 257)],
        [
            ("capabilities[0].type", "must have at most 255 characters, not 256"),
            ("capabilities[0].value", "must have at most 255 characters, not 257"),
        ],
    ),
}


@pytest.mark.parametrize("rpc", BULKS)
@pytest.mark.parametrize(("capabilities", "violations"), CAPABILITIES.values(), ids=CAPABILITIES.keys())
def test_capabilities_are_at_most_10_and_have_a_type_and_a_value(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    capabilities: list[core_pb2.ServiceCapability],
    violations: list[tuple[str, str]],
) -> None:
    """Their vocabulary is upstream's, so nothing else is asked of them."""
    check(stub, upstream, changed(REQUESTS[rpc], capabilities=capabilities), violations)


@pytest.mark.parametrize("rpc", BULKS)
def test_there_is_at_most_one_capability_if_it_is_sent_as_an_object(
    configured: Configured, upstream: Upstream, rpc: str
) -> None:
    """An object holds no second one, and none may be lost on the way."""
    stub = configured(SHIP_CAPABILITIES_SHAPE="object")
    request = changed(REQUESTS[rpc], capabilities=[_capability(), _capability(value="prefer")])

    check(stub, upstream, request, [("capabilities", "must have at most 1, not 2")])


FILTERS: Final[dict[str, tuple[dict[str, Any], list[tuple[str, str]]]]] = {
    "no direction": ({}, [("filters.direction", DIRECTION)]),
    "unknown direction": ({"direction": 17}, [("filters.direction", DIRECTION)]),
    "eleven tags": (
        {"direction": 1, "tags": [f"tag {n}" for n in range(11)]},
        [("filters.tags", "must have at most 10, not 11")],
    ),
    "empty tag": ({"direction": 1, "tags": ["a", ""]}, [("filters.tags[1]", EMPTY)]),
    "long tag": (
        {"direction": 1, "tags": ["é" * 51]},
        [("filters.tags[0]", "must have at most 50 characters, not 51")],
    ),
    "everything": (
        {"tags": [""] * 10},
        [
            ("filters.direction", DIRECTION),
            *[(f"filters.tags[{n}]", EMPTY) for n in range(10)],
        ],
    ),
    "eleven empty tags": ({"direction": 1, "tags": [""] * 11}, [("filters.tags", "must have at most 10, not 11")]),
}


@pytest.mark.parametrize(("filters", "violations"), FILTERS.values(), ids=FILTERS.keys())
def test_filters_have_a_direction_and_at_most_10_tags(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    filters: dict[str, Any],
    violations: list[tuple[str, str]],
) -> None:
    """Directions are the ones that the contract lists; tags have 1 to 50 characters."""
    request = pb.AllocateShipmentsWithFiltersRequest(shipments=["a"], filters=core_pb2.AllocationFilters(**filters))

    check(stub, upstream, request, violations)


def test_filters_must_be_there(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """Absent filters have no direction."""
    request = pb.AllocateShipmentsWithFiltersRequest(shipments=["a"])

    check(stub, upstream, request, [("filters.direction", DIRECTION)])


def test_everything_that_is_wrong_is_told_at_once(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """A caller mends its request once, not rule by rule; violations come in the order of the fields."""
    request = pb.AllocateShipmentsWithServiceGroupRequest(
        shipments=["a", "", "a"],
        request_id="mine",
        capabilities=[_capability(kind="")],
    )
    violations = [
        ("shipments[1]", EMPTY),
        ("shipments[2]", TWICE),
        ("request_id", UUID),
        ("service_group", EMPTY),
        ("capabilities[0].type", EMPTY),
    ]

    check(stub, upstream, request, violations)


def test_all_that_can_be_wrong_with_one_shipment_is_told_at_once(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """The same for a call that names one shipment."""
    request = pb.AllocateShipmentWithQuoteRequest(shipment_reference="..", request_id="-", quote_reference="q" * 256)
    violations = [
        ("shipment_reference", DOTS),
        ("request_id", UUID),
        ("quote_reference", "must have at most 255 characters, not 256"),
    ]

    check(stub, upstream, request, violations)


def test_violations_that_do_not_fit_into_the_trailers_are_counted(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """Two hundred violations are more than trailers hold: the first come whole, and the last counts the rest."""
    found = refused(stub, pb.AllocateShipmentsRequest(shipments=["."] * 100))

    bad_request = found.detail(error_details_pb2.BadRequest)
    assert bad_request is not None
    *told, last = bad_request.field_violations
    # Each but the first is there twice, too.
    assert [item.field for item in told] == [f"shipments[{(n + 1) // 2}]" for n in range(len(told))]
    assert last.description == f"{199 - len(told)} more are left out"
    assert upstream.received.empty()


@pytest.mark.parametrize(
    "request_message",
    [
        pb.AllocateShipmentRequest(shipment_reference="é" * 255),
        pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=SHIPMENT, service_group="🚚" * 255),
        pb.AllocateShipmentsRequest(
            shipments=[f"sp_{n}" for n in range(100)],
            capabilities=[_capability("t" * 255, "v" * 255)] * 10,
        ),
        pb.AllocateShipmentsWithFiltersRequest(
            shipments=["..."],
            filters=core_pb2.AllocationFilters(
                direction=core_pb2.DIRECTION_INBOUND, tags=[f"{n}" * 50 for n in range(10)]
            ),
        ),
        pb.DeallocateShipmentRequest(shipment_reference=" "),
        pb.GetShipmentAllocationRequest(shipment_reference="\0"),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_a_request_at_its_limits_is_sent(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, request_message: Any
) -> None:
    """The largest values that are allowed go through, and so do odd ones that break no rule."""
    rpc = request_message.DESCRIPTOR.name.removesuffix("Request")
    reference = getattr(request_message, "shipment_reference", "")
    body: object = {"shipment_reference": reference, "reference": reference, "state": "allocated"}
    queued = {"message": "Queued.", "queued": list(getattr(request_message, "shipments", ()))}
    upstream.answer(200, body if reference else queued if rpc in BULKS else answer(GOLDEN[rpc]))

    call(stub, request_message)

    upstream.next_request()


def test_a_field_that_the_gateway_does_not_know_is_passed_over(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """A caller with a newer contract is served."""
    newer = pb.AllocateShipmentsWithFiltersRequest(shipments=["a"], filters=OUTBOUND).SerializeToString()
    request = pb.AllocateShipmentsWithFiltersRequest.FromString(newer + b"\xfa\x3e\x03abc")
    upstream.answer(202, answer("filters"))

    call(stub, request)

    assert upstream.next_request().body == b'{"shipments":["a"],"filters":{"direction":"outbound"}}'


@pytest.mark.parametrize("rpc", REQUESTS)
def test_bytes_that_are_no_message_are_refused(scripted_channel: grpc.Channel, upstream: Upstream, rpc: str) -> None:
    """They are the caller's fault, not a defect of the gateway."""
    raw: grpc.UnaryUnaryMultiCallable[bytes, bytes] = scripted_channel.unary_unary(
        f"/allocation.v1.ShipmentAllocationService/{rpc}"
    )

    found = failure(lambda: raw(b"\xff\xff\xff", timeout=TIMEOUT))

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert found.message == "The request is not a message of the type that the rpc takes."
    assert upstream.received.empty()
