"""What a request about consignments must be: every rule, all violations at once, and nothing is sent upstream."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2
from mapping.consignments import (
    BULKS,
    CONSIGNMENT,
    GOLDEN,
    LABELS,
    OUTBOUND,
    READS,
    REQUESTS,
    WRITES,
    answer,
    call,
    message,
    refused,
)
from mapping.table import TIMEOUT, changed, ids
from support.status import failure

if TYPE_CHECKING:
    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from google.protobuf.message import Message
    from mapping.conftest import ConfiguredConsignments
    from support.upstream import Upstream

EMPTY: Final = "must not be empty"
DOTS: Final = "must not be a dot segment"
TWICE: Final = "must not be given twice"
UUID: Final = "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000"
DIRECTION: Final = "must be DIRECTION_INBOUND or DIRECTION_OUTBOUND"
FORMAT: Final = "must be a LabelFormat"
ID: Final = "123e4567-e89b-42d3-a456-426614174000"

REFERENCE_FIELDS: Final = [
    (rpc, field.name)
    for rpc, request in REQUESTS.items()
    for field in request.DESCRIPTOR.fields
    if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated and field.name != "request_id"
]
LIST_RPCS: Final = (*BULKS, "DeallocateConsignments")


def check(stub: Stub, upstream: Upstream, request: Message, violations: list[tuple[str, str]]) -> None:
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
    consignments_stub: Stub, upstream: Upstream, rpc: str, field: str, value: str, violation: str
) -> None:
    """Also one that is the choice of a oneof: empty is not the same as not chosen."""
    check(consignments_stub, upstream, changed(REQUESTS[rpc], **{field: value}), [(field, violation)])


def test_references_are_checked_in_every_request() -> None:
    """A request whose references nobody checks fails here."""
    assert {rpc for rpc, _ in REFERENCE_FIELDS} | set(LIST_RPCS) == set(REQUESTS)
    assert {field for rpc, field in REFERENCE_FIELDS if rpc == LABELS} == {
        "consignment_reference",
        "carrier_service_reference",
        "service_group",
        "quote_reference",
    }


LISTS: Final[dict[str, tuple[list[str], list[tuple[str, str]]]]] = {
    "none": ([], [("consignments", "must have 1 to 100 references, not 0")]),
    "101": ([f"EC-{n}" for n in range(101)], [("consignments", "must have 1 to 100 references, not 101")]),
    "101 that are empty": ([""] * 101, [("consignments", "must have 1 to 100 references, not 101")]),
    "twice": (["a", "b", "a"], [("consignments[2]", TWICE)]),
    "twice in another case": (["EC-1A", "b", "ec-1a"], [("consignments[2]", TWICE)]),
    "three times": (["a", "a", "a"], [("consignments[1]", TWICE), ("consignments[2]", TWICE)]),
    "empty": (["a", ""], [("consignments[1]", EMPTY)]),
    "too long": (["a", "b" * 256], [("consignments[1]", "must have at most 255 characters, not 256")]),
    "dot segment": (["..", "a"], [("consignments[0]", DOTS)]),
    "everything": (
        ["", "a", "", "a", "."],
        [("consignments[0]", EMPTY), ("consignments[2]", EMPTY), ("consignments[3]", TWICE), ("consignments[4]", DOTS)],
    ),
}


@pytest.mark.parametrize("rpc", LIST_RPCS)
@pytest.mark.parametrize(("references", "violations"), LISTS.values(), ids=LISTS.keys())
def test_a_bulk_call_names_1_to_100_different_consignments(
    consignments_stub: Stub, upstream: Upstream, rpc: str, references: list[str], violations: list[tuple[str, str]]
) -> None:
    """Each reference that is not as it must be is named by its place."""
    check(consignments_stub, upstream, changed(REQUESTS[rpc], consignments=references), violations)


@pytest.mark.parametrize("rpc", LIST_RPCS)
def test_how_many_consignments_a_bulk_call_may_name_is_a_setting(
    configured_consignments: ConfiguredConsignments, upstream: Upstream, rpc: str
) -> None:
    """CONSIGNMENTS_MAX_REFERENCES, since upstream documents no limit: it may be less than 100, or more."""
    less = configured_consignments(CONSIGNMENTS_MAX_REFERENCES="2")
    request = changed(REQUESTS[rpc], consignments=["a", "b", "c"])
    check(less, upstream, request, [("consignments", "must have 1 to 2 references, not 3")])

    more = configured_consignments(CONSIGNMENTS_MAX_REFERENCES="250")
    references = [f"EC-{n}" for n in range(250)]
    upstream.answer(200, [message(reference) for reference in references])
    got = call(more, changed(REQUESTS[rpc], consignments=references))
    assert [item.consignment_reference for item in got.results] == references


@pytest.mark.parametrize("value", [0, 5, 99, -1])
def test_a_label_format_is_one_of_the_contract(consignments_stub: Stub, upstream: Upstream, value: int) -> None:
    """It becomes a part of the path."""
    check(consignments_stub, upstream, changed(REQUESTS[LABELS], label_format=value), [("label_format", FORMAT)])


def test_a_label_format_must_be_there(consignments_stub: Stub, upstream: Upstream) -> None:
    """No format is no default."""
    request = pb.AllocateConsignmentWithLabelsRequest(consignment_reference=CONSIGNMENT)

    check(consignments_stub, upstream, request, [("label_format", FORMAT)])


@pytest.mark.parametrize("filters", [None, {}, {"direction": 0, "pickup": True}, {"direction": 3}, {"direction": -1}])
def test_filters_have_a_direction(consignments_stub: Stub, upstream: Upstream, filters: dict[str, Any] | None) -> None:
    """Absent filters have none."""
    request = pb.AllocateConsignmentsWithServiceFiltersRequest(
        consignments=["a"], filters=None if filters is None else pb.ConsignmentFilters(**filters)
    )

    check(consignments_stub, upstream, request, [("filters.direction", DIRECTION)])


@pytest.mark.parametrize("rpc", WRITES)
@pytest.mark.parametrize("request_id", ["1", ID.replace("-", ""), f"{{{ID}}}", f" {ID}", f"{ID}\n", "\0", "x" * 10_000])
def test_a_request_id_is_a_uuid(consignments_stub: Stub, upstream: Upstream, rpc: str, request_id: str) -> None:
    """Anything else is refused, rather than replaced by an id that the caller does not know."""
    check(consignments_stub, upstream, changed(REQUESTS[rpc], request_id=request_id), [("request_id", UUID)])


def test_everything_that_is_wrong_is_told_at_once(consignments_stub: Stub, upstream: Upstream) -> None:
    """A caller mends its request once, not rule by rule; violations come in the order of the fields."""
    request = pb.AllocateConsignmentWithLabelsRequest(consignment_reference="..", request_id="mine", service_group="")
    check(
        consignments_stub,
        upstream,
        request,
        [
            ("consignment_reference", DOTS),
            ("request_id", UUID),
            ("label_format", FORMAT),
            ("service_group", EMPTY),
        ],
    )

    bulk = pb.AllocateConsignmentsWithServiceGroupRequest(consignments=["a", "", "a"], request_id="mine")
    check(
        consignments_stub,
        upstream,
        bulk,
        [("consignments[1]", EMPTY), ("consignments[2]", TWICE), ("request_id", UUID), ("service_group", EMPTY)],
    )


@pytest.mark.parametrize(
    "request_message",
    [
        pb.AllocateConsignmentsRequest(consignments=[f"EC-{n}" + "é" * 248 for n in range(100)]),
        pb.AllocateConsignmentsWithCarrierServiceRequest(consignments=["..."], carrier_service_reference="🚚" * 255),
        pb.AllocateConsignmentsWithServiceFiltersRequest(
            consignments=["ä", "Ä"], filters=pb.ConsignmentFilters(direction=core_pb2.DIRECTION_INBOUND)
        ),
        pb.DeallocateConsignmentsRequest(consignments=[" ", "\0"]),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_a_request_at_its_limits_is_sent(consignments_stub: Stub, upstream: Upstream, request_message: Any) -> None:
    """The largest values that are allowed go through, and so do odd ones that break no rule."""
    upstream.answer(200, [message(reference) for reference in request_message.consignments])

    got = call(consignments_stub, request_message)

    assert [item.consignment_reference for item in got.results] == list(request_message.consignments)
    upstream.next_request()


def test_a_field_that_the_gateway_does_not_know_is_passed_over(consignments_stub: Stub, upstream: Upstream) -> None:
    """A caller with a newer contract is served."""
    newer = pb.AllocateConsignmentsWithServiceFiltersRequest(consignments=["a"], filters=OUTBOUND).SerializeToString()
    upstream.answer(200, [message("a")])

    call(
        consignments_stub,
        pb.AllocateConsignmentsWithServiceFiltersRequest.FromString(newer + b"\xfa\x3e\x03abc"),
    )

    sent = b'{"ConsignmentReferences":["a"],"Filters":{"ServiceDirection":"Outbound"}}'
    assert upstream.next_request().body == sent


@pytest.mark.parametrize("rpc", REQUESTS)
def test_bytes_that_are_no_message_are_refused(scripted_channel: grpc.Channel, upstream: Upstream, rpc: str) -> None:
    """They are the caller's fault, not a defect of the gateway."""
    raw: grpc.UnaryUnaryMultiCallable[bytes, bytes] = scripted_channel.unary_unary(
        f"/allocation.v1.ConsignmentAllocationService/{rpc}"
    )

    found = failure(lambda: raw(b"\xff\xff\xff", timeout=TIMEOUT))

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert upstream.received.empty()


# Request ids


@pytest.mark.parametrize("rpc", WRITES)
def test_the_id_of_a_write_is_told_whether_it_was_given_or_made_and_does_not_go_upstream(
    consignments_stub: Stub, upstream: Upstream, rpc: str
) -> None:
    """Also of a call that fails: above all then may it have to be asked for."""
    for status, body in ((200, answer(GOLDEN[rpc])), (403, b'{"statusCode": 403, "message": "No."}')):
        given = str(uuid.uuid4())
        upstream.answer(status, body)
        assert ids(consignments_stub, changed(REQUESTS[rpc], request_id=given.upper())) == [given.upper()]
        received = upstream.next_request()
        assert given not in f"{received.line} {received.headers} {received.body!r}".lower()

    made = []
    for _ in range(2):
        upstream.answer(200, answer(GOLDEN[rpc]))
        made += ids(consignments_stub, REQUESTS[rpc])
    first, second = made
    assert first != second
    assert {uuid.UUID(text).version for text in made} == {4}


@pytest.mark.parametrize("rpc", READS)
def test_a_read_has_no_id(consignments_stub: Stub, upstream: Upstream, rpc: str) -> None:
    """It can be repeated as it is."""
    upstream.answer(200, answer(GOLDEN[rpc]))

    assert ids(consignments_stub, REQUESTS[rpc]) == []
