"""Which refusals of writes are believed: every status from 400 to 599, with every kind of body, to every kind of write.

What is expected is read from the table in docs/errors.md, so that the table is right; what the text below it adds is
written out here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations import consignments, ship
from allocation_gateway.operations.model import Action, Api
from allocation_gateway.upstream import reply
from allocation_gateway.upstream.http import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from allocation_gateway.operations.model import Operation
    from google.protobuf.message import Message

SHIPMENT: Final = "sp_00794403010635468411384028069888"
CONSIGNMENT: Final = "EC-000-05B-MMA"
ERRORS: Final = Path(__file__).parents[2] / "docs" / "errors.md"
STATUSES: Final = range(400, 600)
NONE: Final = "none"
UNKNOWN: Final = "unknown"
ONE_READING: Final = "one reading"
ANSWERED: Final = "answered"


class Row(NamedTuple):
    """What the table says of a status."""

    of_object: str
    of_anything_else: str


def documented() -> dict[int, Row]:
    """Reads the table."""
    text = ERRORS.read_text().partition("### Whether a refusal is believed")[2]
    rows: dict[int, Row] = {}
    for line in re.findall(r"^\| (?=\d|any)(.+) \|$", text, re.MULTILINE):
        statuses, *cells = line.split(" | ")
        row = Row(*cells)
        assert set(row) <= {NONE, UNKNOWN, ONE_READING}
        for status in map(int, re.findall(r"\d{3}", statuses.replace("from 400 on", ""))):
            assert status not in rows
            rows[status] = row
        if statuses.startswith("any other"):
            rows = {**dict.fromkeys(STATUSES, row), **rows}
    assert rows.keys() == set(STATUSES)
    return rows


TABLE: Final = documented()
WRITES: Final[Mapping[str, tuple[Operation, Message]]] = {
    row.name: (row, row.request(**{field: [name] if field in {"shipments", "consignments"} else name}))
    for rows, name in ((ship.ROWS, SHIPMENT), (consignments.ROWS, CONSIGNMENT))
    for row in rows
    if row.action.writes
    for field in row.request.DESCRIPTOR.fields_by_name
    if field in {"shipment_reference", "shipments", "consignment_reference", "consignments"}
}

API_ERRORS: Final = {
    Api.SHIP: {"correlation_id": "x", "code": "something_new", "message": "No", "details": []},
    Api.CONSIGNMENTS: {"Code": "SomethingNew", "Message": "No", "CorrelationId": "x", "Details": None},
}
FAILURES: Final = {
    Api.SHIP: {"shipment_reference": SHIPMENT, "state": "allocation_failed", "details": [], "excluded_services": []},
    Api.CONSIGNMENTS: {"IsSuccess": False, "Message": "No", "Data": CONSIGNMENT},
}
STILL_ALLOCATED: Final = {
    Api.SHIP: {"shipment_reference": SHIPMENT, "state": "allocated", "details": []},
    Api.CONSIGNMENTS: {"IsSuccess": False, "Message": "No", "ConsignmentState": "Allocated"},
}
# What upstream says of a write that it has carried out, in every shape that it has for that.
ALLOCATED: Final[Mapping[Api, list[Any]]] = {
    Api.SHIP: [
        {"shipment_reference": SHIPMENT, "state": "allocated"},
        {"shipment_reference": SHIPMENT, "state": "Allocated", "code": "validation_error"},
        {"shipment_reference": SHIPMENT, "state": "allocating"},
        {"shipment_reference": SHIPMENT, "state": "something_new"},
        {"shipment_reference": SHIPMENT, "state": 7},
        {"shipment_reference": SHIPMENT, "price": {"net": 2}},
        {"code": "validation_error", "tracking_details": {"shipment": {"reference": SHIPMENT}}},
        {"reference": SHIPMENT, "allocation": {"carrier": {}}},
        {"reference": "af_1", "shipments": [{"reference": SHIPMENT}]},
    ],
    Api.CONSIGNMENTS: [
        {"StatusCode": 200, "CarrierServiceReference": "MPD_1"},
        {"StatusCode": 202},
        {"CarrierServiceReference": "MPD_1", "Code": "SomethingNew"},
        {"IsSuccess": True, "Message": "No", "Data": CONSIGNMENT},
        {"Responses": [{"Result": "ConsignmentAllocated", "StatusCode": 400}]},
        {"Responses": [{"Result": 2, "Message": "no label"}]},
        {"Responses": [{"LabelType": "Consignment", "LabelContent": "QUJD"}]},
        {"Reference": CONSIGNMENT, "ConsignmentState": "Allocated"},
        {"Reference": CONSIGNMENT, "ConsignmentState": 3},
        {"Reference": CONSIGNMENT, "ConsignmentState": "SomethingNew"},
        {"Reference": CONSIGNMENT, "Allocation": {"MpdCarrierServiceReference": "MPD_1"}},
    ],
}
DEALLOCATED: Final[Mapping[Api, list[Any]]] = {
    Api.SHIP: [
        {"reference": SHIPMENT, "message": "done"},
        {"reference": SHIPMENT, "state": "unallocated", "code": "validation_error"},
        {"shipment_reference": SHIPMENT, "state": "something_new"},
    ],
    Api.CONSIGNMENTS: [
        {"StatusCode": 200, "Description": "done"},
        {"IsSuccess": True, "Message": "done", "Data": CONSIGNMENT},
        {"Reference": CONSIGNMENT, "ConsignmentState": "Unallocated"},
        {"Reference": CONSIGNMENT, "ConsignmentState": "SomethingNew"},
    ],
}
# For each API, for writes that allocate and those that de-allocate: an answer that agrees with a refusal, and what else
# its state may be called.
SPELLINGS: Final[Mapping[Api, Mapping[bool, tuple[Mapping[str, Any], list[Mapping[str, Any]]]]]] = {
    Api.SHIP: {
        True: (
            {"shipment_reference": SHIPMENT, "state": "allocation_failed"},
            [{"state": "AllocationFailed"}, {"state": "allocationFailed"}, {"state": "ALLOCATION_FAILED"}],
        ),
        False: (
            {"shipment_reference": SHIPMENT, "state": "ready_to_manifest"},
            [{"state": "ReadyToManifest"}, {"state": "readyToManifest"}, {"state": "READY_TO_MANIFEST"}],
        ),
    },
    Api.CONSIGNMENTS: {
        True: (
            {"Reference": CONSIGNMENT, "ConsignmentState": "AllocationFailed", "Code": "X"},
            [{"ConsignmentState": "allocationfailed"}, {"ConsignmentState": "ALLOCATIONFAILED"}],
        ),
        False: (
            {"Reference": CONSIGNMENT, "ConsignmentState": "ReadyToShip", "Code": "X"},
            [{"ConsignmentState": "readytoship"}, {"ConsignmentState": "readyToShip"}],
        ),
    },
}
LISTING: Final = {"message": "1 queued", "queued": [SHIPMENT], "rejected": []}
RESULTS: Final = [{"shipment_reference": SHIPMENT, "state": "allocated"}]
SUMMARIES: Final = [{"StatusCode": 200, "CarrierServiceReference": "MPD_1"}]
HTML: Final = b"<html><body>Forbidden</body></html>"


def told(operation: Operation, request: Message, answer: Answer) -> str:
    """Returns what is believed of an answer, in the words of the table."""
    try:
        reply.read(operation, request, answer)
    except GatewayError as error:
        return {
            (WriteEffect.NONE, False): NONE,
            (WriteEffect.UNKNOWN, False): UNKNOWN,
            (WriteEffect.UNKNOWN, True): ONE_READING,
        }[error.effect, error.likely_unprocessed]  # type: ignore[index] # anything else is a KeyError, and wrong
    return ANSWERED


def as_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def is_ship_bulk(operation: Operation) -> bool:
    return operation.api is Api.SHIP and operation.action is Action.ALLOCATE_BULK


def expected(operation: Operation, status: int, kind: str) -> str:
    """Returns what the table says, with what the text below it adds."""
    if kind in {"api_error", "failed", "managed"}:
        if status in {521, 531}:
            allocates = operation.api is Api.SHIP and operation.action.allocates
            return NONE if allocates and kind != "managed" else UNKNOWN
        if status == 407 and kind == "managed" and not is_ship_bulk(operation):
            return ONE_READING
        return TABLE[status].of_object
    if status == 407 and kind == "empty" and is_ship_bulk(operation):
        return UNKNOWN
    return TABLE[status].of_anything_else


def answers_of(operation: Operation, status: int) -> Iterator[tuple[str, Answer]]:
    """Returns an answer of each kind of body."""
    yield "api_error", as_answer(status, API_ERRORS[operation.api])
    failed = FAILURES[operation.api] if operation.action.allocates else STILL_ALLOCATED[operation.api]
    yield "failed", as_answer(status, failed)
    yield "managed", as_answer(status, {"statusCode": status, "message": "Something of Azure's"})
    yield "html", as_answer(status, HTML)
    yield "empty", as_answer(status, b"")
    yield "null", as_answer(status, b"null ")
    yield "text", as_answer(status, b'"Forbidden"')


@pytest.mark.parametrize("rpc", WRITES)
def test_every_status_with_every_body_is_believed_as_documented(rpc: str) -> None:
    operation, request = WRITES[rpc]
    wrong = [
        (status, kind, found, wanted)
        for status in STATUSES
        for kind, answer in answers_of(operation, status)
        if (found := told(operation, request, answer)) != (wanted := expected(operation, status, kind))
    ]
    assert not wrong


@pytest.mark.parametrize("rpc", WRITES)
def test_no_refusal_is_believed_whose_body_says_the_contrary(rpc: str) -> None:
    """Whatever the status is, and however often it is read: what it says of itself may be half of the truth."""
    operation, request = WRITES[rpc]
    bodies = (ALLOCATED if operation.action.allocates else DEALLOCATED)[operation.api]
    wrong = [
        (status, body, found)
        for status in STATUSES
        for body in bodies
        if (found := told(operation, request, as_answer(status, body))) != UNKNOWN
    ]
    assert not wrong


@pytest.mark.parametrize("rpc", WRITES)
def test_a_state_is_the_same_in_every_spelling(rpc: str) -> None:
    operation, request = WRITES[rpc]
    usual, others = SPELLINGS[operation.api][operation.action.allocates]
    for status in STATUSES:
        wanted = told(operation, request, as_answer(status, usual))
        assert [told(operation, request, as_answer(status, {**usual, **other})) for other in others] == [wanted] * len(
            others
        )


@pytest.mark.parametrize("body", [LISTING, RESULTS, SUMMARIES, [], [{}], [API_ERRORS[Api.SHIP]]])
@pytest.mark.parametrize("rpc", WRITES)
def test_a_list_is_an_answer_where_it_is_documented_and_a_doubt_elsewhere(rpc: str, body: Any) -> None:
    """Of bulk calls of the Ship API, in both forms, under each status that some source gives to a partial success."""
    operation, request = WRITES[rpc]
    listed = set() if not operation.bulk_statuses or body not in (LISTING, RESULTS) else {404, 407, 521}
    wrong = []
    for status in STATUSES:
        found = told(operation, request, as_answer(status, body))
        wanted = ANSWERED if status in listed else UNKNOWN
        # It says nothing to an API, or to a write, that has no such thing.
        if body == LISTING and (operation.api is not Api.SHIP):
            wanted = expected(operation, status, "managed")
        if found != wanted:
            wrong.append((status, found, wanted))
    assert not wrong


@pytest.mark.parametrize("rpc", WRITES)
def test_what_could_not_be_read_is_a_doubt(rpc: str) -> None:
    """It may have said anything."""
    operation, request = WRITES[rpc]
    for status in STATUSES:
        answer = Answer(status, {}, b"", "the body ended early")
        assert told(operation, request, answer) == UNKNOWN


@pytest.mark.parametrize("rpc", WRITES)
def test_a_quota_that_is_used_up_is_no_key_that_is_refused(rpc: str) -> None:
    """Azure API Management stands in front of both APIs."""
    operation, request = WRITES[rpc]
    body = {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 00:00:31."}
    with pytest.raises(GatewayError) as caught:
        reply.read(operation, request, as_answer(403, body))
    assert (caught.value.reason_name, caught.value.retry_after) == ("UPSTREAM_THROTTLED", 31.0)


@pytest.mark.parametrize("rpc", sorted(name for name, (row, _) in WRITES.items() if row.api is Api.CONSIGNMENTS))
def test_no_part_of_a_success_is_a_refusal_if_it_says_the_contrary(rpc: str) -> None:
    """What is a doubt under a status of refusal is one in an item with such a status, too."""
    operation, request = WRITES[rpc]
    items: list[dict[str, Any]] = [{"StatusCode": status, "Description": "No"} for status in (408, 424, 425, 499, 500)]
    if operation.action.allocates:
        items += [{"StatusCode": 400, "CarrierServiceReference": "MPD_1"}]
        items += [{"IsSuccess": False, "CarrierServiceReference": "MPD_1"}]
        items += [{"StatusCode": 400, "ConsignmentLegs": [{"LegNumber": 1}]}]
    for item in items:
        for body in ([item], {"Responses": [{"Result": "ConsignmentAllocationFailed", "LabelContent": "QUJD"}]}):
            assert told(operation, request, as_answer(200, body)) != NONE, body
            if operation.action is not Action.ALLOCATE and isinstance(body, list):
                response: Any = reply.read(operation, request, as_answer(200, body))
                rejected = [one for one in getattr(response, "results", ()) if one.outcome == pb.OUTCOME_REJECTED]
                assert not rejected, body


def test_a_code_of_a_failure_is_no_refusal() -> None:
    operation, request = WRITES["AllocateShipment"]
    body = {"code": "validation_error", "details": [{"code": "internal_server_error"}]}
    assert told(operation, request, as_answer(400, body)) == UNKNOWN


IN_TURN: Final = frozenset({400, 404, 409, 410})


@pytest.mark.parametrize("rpc", [name for name, (row, _) in WRITES.items() if row.action.is_bulk])
def test_a_refusal_of_several_that_are_allocated_one_by_one_takes_a_reading(rpc: str) -> None:
    """Some may be allocated when one of them ends the call. What stands before upstream refuses all or nothing."""
    operation, request = WRITES[rpc]
    several = type(request)()
    several.CopyFrom(request)
    getattr(several, operation.named_by).append("another")
    in_turn = IN_TURN if operation.api is Api.CONSIGNMENTS and operation.action.allocates else frozenset()
    for status in STATUSES:
        for _, answer in answers_of(operation, status):
            alone = told(operation, request, answer)
            wanted = ONE_READING if status in in_turn and alone == NONE else alone
            assert told(operation, several, answer) == wanted
    error = {"Code": "ServiceGroupNotFoundException", "Message": "No"}
    if operation.api is Api.CONSIGNMENTS:
        assert told(operation, several, as_answer(400, error)) == NONE


def test_a_407_of_a_bulk_call_is_a_proxys_if_it_says_so() -> None:
    operation, request = WRITES["AllocateShipments"]
    headers = {"proxy-authenticate": "Basic"}
    assert told(operation, request, as_answer(407, b"", headers)) == ONE_READING
    assert told(operation, request, as_answer(407, {"error": "proxy"}, headers)) == ONE_READING
    assert told(operation, request, as_answer(407, API_ERRORS[Api.SHIP], headers)) == UNKNOWN


def test_each_item_of_a_407_is_told() -> None:
    """As of a 202: the OpenAPI document gives this status to a bulk call that was carried out in part."""
    operation, _ = WRITES["AllocateShipmentsWithServiceGroup"]
    request = ship_pb.AllocateShipmentsWithServiceGroupRequest(shipments=["sp_1", "sp_2", "sp_3"], service_group="g")
    body = [
        {"shipment_reference": "sp_1", "state": "allocated", "carrier": {"service_reference": "FF_1"}},
        {"shipment_reference": "sp_2", "state": "allocation_failed", "details": [{"code": "allocation_failed"}]},
    ]
    response: Any = reply.read(operation, request, as_answer(407, body))
    states = [(item.shipment_reference, item.state_text) for item in response.allocations]
    assert states == [("sp_1", "allocated"), ("sp_2", "allocation_failed")]
    assert response.allocations[0].carrier.service_reference == "FF_1"
    assert list(response.unaccounted) == ["sp_3"]
    assert response == reply.read(operation, request, as_answer(202, body))


def test_reads_have_no_effect_to_tell() -> None:
    for row in (*ship.ROWS, *consignments.ROWS):
        if row.action.writes:
            continue
        for status in STATUSES:
            with pytest.raises(GatewayError) as caught:
                reply.read(row, row.request(), as_answer(status, HTML))
            assert (caught.value.effect, caught.value.likely_unprocessed) == (None, False)


def test_all_writes_are_walked_over() -> None:
    names = {row.name for row in (*ship.ROWS, *consignments.ROWS) if row.action.writes}
    assert names == WRITES.keys()
    assert pb.AllocateConsignmentsRequest.DESCRIPTOR.name.removesuffix("Request") in names
