"""What is read after an answer that does not say enough: where the consignment stands, and why it was refused."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf import text_format
from google.rpc import error_details_pb2
from mapping.consignments import (
    BULKS,
    CONSIGNMENT,
    CONSIGNMENTS,
    LABELS,
    QUOTED,
    REQUESTS,
    SINGLES,
    answer,
    answering,
    api_error,
    call,
    consignment,
    lines,
    message,
    refused,
    response,
    summary,
)
from mapping.table import changed, same
from support.doubt import in_doubt
from support.upstream import Reply, running_upstream

if TYPE_CHECKING:
    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from mapping.conftest import ConfiguredConsignments
    from support.upstream import Received, Upstream

PRECONDITION: Final = grpc.StatusCode.FAILED_PRECONDITION
FAILED: Final[dict[str, Any]] = {
    "CarrierServiceGroupReference": "valuableGoods",
    "MpdCarrierServiceGroupName": "Valuable Goods",
    "MpdCarrierServiceReference": "CX_NDS",
    "MpdCarrierServiceName": "Next Day Super",
    "AttemptedAllocationDate": "2019-06-14T10:41:05.5+01:00",
    "Message": "Could not be booked with courier.",
}
FAILED_TEXT: Final = """
  service_group: "valuableGoods" service_group_name: "Valuable Goods"
  carrier_service_reference: "CX_NDS" carrier_service_name: "Next Day Super"
  attempted_allocation_date { seconds: 1560505265 nanos: 500000000 }
  message: "Could not be booked with courier."
"""
NOT_ALLOCATABLE: Final = (
    "Allocated",
    "Allocating",
    "ReadyToShip",
    "Manifested",
    "Dispatched",
    "Cancelled",
    "Delivered",
)


def failed_allocation() -> pb.FailedAllocation:
    """Returns what FAILED is to a caller."""
    return text_format.Parse(FAILED_TEXT, pb.FailedAllocation())


def script(upstream: Upstream, *replies: tuple[int, object]) -> None:
    """Scripts the answers to the next requests."""
    for status, body in replies:
        upstream.answer(status, body)


# An answer without a body


NO_WORD: Final[dict[str, object]] = {
    "nothing": b"",
    "space": b" \r\n",
    "null": b"null",
    "a summary of nothing": [summary(QUOTED, StatusCode=202, CarrierServiceReference=None)],
    "a status": {"StatusCode": 202},
}


def allocated_now(rpc: str, ago: timedelta = timedelta(0)) -> dict[str, Any]:
    """Returns a consignment that was allocated a moment ago, with the group that the request of an rpc names."""
    allocation = {"AllocationDate": (datetime.now(UTC) - ago).isoformat()}
    if "service_group" in REQUESTS[rpc].DESCRIPTOR.fields_by_name:
        allocation["CarrierServiceGroupReference"] = "valuableGoods"
    return consignment(QUOTED, "Allocated", Allocation=allocation)


@pytest.mark.parametrize("rpc", SINGLES)
@pytest.mark.parametrize("body", NO_WORD.values(), ids=NO_WORD.keys())
def test_an_allocation_that_was_only_accepted_is_read_until_it_is_there(
    consignments_stub: Stub, upstream: Upstream, rpc: str, body: object
) -> None:
    """What is told is what was read, and it says so."""
    script(
        upstream,
        (202, body),
        (200, consignment(QUOTED, "Unallocated")),
        (503, b""),
        (200, consignment(QUOTED, "Allocating")),
        (200, allocated_now(rpc)),
    )

    got = call(consignments_stub, REQUESTS[rpc]).allocation

    assert (got.state, got.reconciled) == (pb.CONSIGNMENT_STATE_ALLOCATED, True)
    assert lines(upstream)[1:] == [f"GET /consignments/{QUOTED}"] * 4


UNTOLD: Final[dict[str, tuple[int, object]]] = {
    "unavailable": (503, b""),
    "throttled": (429, {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 9 seconds."}),
    "no API": (200, b"<html>"),
    "not found by a proxy": (404, b"<html>"),
    "credentials": (401, b""),
    "another consignment": (200, consignment("EC-000-999-999", "Allocated")),
    "no state": (200, {"Reference": QUOTED}),
    "broken": (200, b'{"Reference": "EC-'),
}


@pytest.mark.parametrize(
    "reading",
    [*UNTOLD.values(), (200, consignment(QUOTED, "AllocationFailed", FailedAllocation=FAILED))],
    ids=[*UNTOLD, "failed, perhaps before"],
)
def test_a_reading_that_does_not_tell_is_made_again(
    consignments_stub: Stub, upstream: Upstream, reading: tuple[int, object]
) -> None:
    """Whatever it comes to."""
    script(upstream, (202, b""), reading, (200, allocated_now("AllocateConsignment")))

    assert call(consignments_stub, REQUESTS["AllocateConsignment"]).allocation.reconciled


def test_a_reading_whose_connection_is_lost_is_made_again(consignments_stub: Stub, upstream: Upstream) -> None:
    """The same."""
    upstream.answer(202)
    upstream.answer(raw=b"", close=True)
    upstream.answer(200, allocated_now("AllocateConsignment"))

    assert call(consignments_stub, REQUESTS["AllocateConsignment"]).allocation.reconciled


def test_a_success_without_its_body_leaves_the_outcome_unknown(consignments_stub: Stub, upstream: Upstream) -> None:
    """Of 202 nothing else is expected; any other success promises a body, and is not as documented."""
    cases = {
        (rpc, status): (REQUESTS[rpc], Reply(status))
        for rpc in [*SINGLES, LABELS, BULKS[0]]
        for status in (200, 202)
        if (rpc, status) != (BULKS[0], 202)
    }
    for (rpc, status), found in in_doubt(consignments_stub, upstream, cases).items():
        assert found.reason == "OUTCOME_UNKNOWN"
        bodiless = status == 202 and rpc in SINGLES
        assert found.metadata.get("cause") == (None if bodiless else "UPSTREAM_CONTRACT_BROKEN"), rpc


# A refusal that does not say why


REFUSALS: Final[dict[str, tuple[int, object]]] = {
    "400": (400, api_error()),
    "400 without a code": (400, {"Message": "Not possible."}),
    "404": (404, api_error()),
    "409": (409, api_error()),
    "an item with a status": (200, [summary(QUOTED, StatusCode=400, CarrierServiceReference=None)]),
    "an item that says so": (200, [message(QUOTED, success=False)]),
}
VAGUE: Final = {"400": "INVALID_REQUEST", "404": "RESOURCE_NOT_FOUND", "409": "UPSTREAM_CONFLICT"}


@pytest.mark.parametrize("rpc", SINGLES)
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("state", NOT_ALLOCATABLE)
def test_a_refusal_of_a_consignment_that_cannot_be_allocated_is_its_state(
    consignments_stub: Stub, upstream: Upstream, rpc: str, refusal: tuple[int, object], state: str
) -> None:
    """No error code for it is published: the consignment itself tells. If it is allocated, it is a detail."""
    script(upstream, refusal, (200, consignment(QUOTED, state)), (200, allocated_now(rpc, timedelta(minutes=1))))

    found = refused(consignments_stub, REQUESTS[rpc])

    assert (found.code, found.reason) == (PRECONDITION, "INVALID_STATE")
    assert (found.metadata["upstream_status"], found.metadata["effect"]) == (str(refusal[0]), "none")
    assert set(lines(upstream)[1:]) == {f"GET /consignments/{QUOTED}"}
    detail = found.detail(pb.ConsignmentAllocation)
    assert detail is not None
    assert (detail.consignment_reference, detail.state) == (QUOTED, pb.CONSIGNMENT_STATE_ALLOCATED)


@pytest.mark.parametrize("rpc", SINGLES)
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_of_a_consignment_whose_allocation_failed_tells_why(
    consignments_stub: Stub, upstream: Upstream, rpc: str, refusal: tuple[int, object]
) -> None:
    """With all that upstream keeps of it, as a detail."""
    script(upstream, refusal, (200, consignment(QUOTED, "AllocationFailed", FailedAllocation=FAILED)))

    found = refused(consignments_stub, REQUESTS[rpc])

    assert (found.code, found.reason) == (PRECONDITION, "ALLOCATION_FAILED")
    assert found.metadata["effect"] == "none"
    assert found.detail(pb.FailedAllocation) == failed_allocation()


def test_a_failed_allocation_of_which_upstream_keeps_nothing_has_no_detail(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """An empty one would say that there is something."""
    script(upstream, (400, api_error()), (200, consignment(QUOTED, "AllocationFailed")))

    found = refused(consignments_stub, REQUESTS["AllocateConsignment"])

    assert found.reason == "ALLOCATION_FAILED"
    assert found.detail(pb.FailedAllocation) is None


def test_the_texts_of_a_failed_allocation_are_cut_to_fit(consignments_stub: Stub, upstream: Upstream) -> None:
    """And say how much is missing, rather than being left out as a whole."""
    long = {name: "é" * 5_000 for name in FAILED if name != "AttemptedAllocationDate"}
    script(upstream, (400, api_error()), (200, consignment(QUOTED, "AllocationFailed", FailedAllocation=long)))

    detail = refused(consignments_stub, REQUESTS["AllocateConsignment"]).detail(pb.FailedAllocation)

    assert detail is not None
    assert detail.message == "é" * 200 + "... (4800 more characters)"


@pytest.mark.parametrize("rpc", SINGLES)
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_of_a_consignment_that_does_not_exist_names_it(
    consignments_stub: Stub, upstream: Upstream, rpc: str, refusal: tuple[int, object]
) -> None:
    """404 is not listed for allocations, so that an unknown consignment may be a 400."""
    script(upstream, refusal, (404, api_error()))

    found = refused(consignments_stub, REQUESTS[rpc])

    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "CONSIGNMENT_NOT_FOUND")
    assert found.metadata["effect"] == "none"
    info = found.detail(error_details_pb2.ResourceInfo)
    assert info is not None
    assert (info.resource_type, info.resource_name) == ("allocation.v1.Consignment", QUOTED)


@pytest.mark.parametrize("status", ["400", "404", "409"])
@pytest.mark.parametrize(
    "reading", [*UNTOLD.values(), (200, consignment(QUOTED, "Unallocated")), (200, consignment(QUOTED, "New"))]
)
def test_a_refusal_that_the_consignment_does_not_explain_stays_as_it_is(
    consignments_stub: Stub, upstream: Upstream, status: str, reading: tuple[int, object]
) -> None:
    """Also if it cannot be read: nothing is made up."""
    script(upstream, REFUSALS[status], reading)

    found = refused(consignments_stub, REQUESTS["AllocateConsignment"])

    assert found.reason == VAGUE[status]
    assert found.metadata == {
        "upstream_status": status,
        "upstream_code": "SomethingNewException",
        "upstream_correlation_id": "f94c7dbc-c542-40b9-b6da-bd98aa110939",
        "effect": "none",
    }


def test_a_refusal_by_the_api_management_of_a_path_is_no_unknown_consignment(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """It says 404 of operations that it does not know, in a shape of its own."""
    nowhere = {"statusCode": 404, "message": "Resource not found"}
    script(upstream, (400, api_error()), (404, nowhere))

    assert refused(consignments_stub, REQUESTS["AllocateConsignment"]).reason == "INVALID_REQUEST"
    for rpc in ("GetConsignmentAllocation", "GetConsignmentQuotes"):
        upstream.answer(404, nowhere)
        assert refused(consignments_stub, REQUESTS[rpc]).reason == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, api_error("ServiceGroupNotFoundException"), "SERVICE_GROUP_NOT_FOUND"),
        (400, api_error("MpdCarrierServiceNotFoundException"), "CARRIER_SERVICE_NOT_FOUND"),
        (401, api_error(), "UPSTREAM_CREDENTIALS_REJECTED"),
        (429, api_error(), "UPSTREAM_THROTTLED"),
    ],
)
@pytest.mark.parametrize("rpc", [*SINGLES, LABELS, "DeallocateConsignment"])
def test_nothing_is_read_after_a_refusal_that_says_why(
    consignments_stub: Stub, upstream: Upstream, rpc: str, status: int, body: object, reason: str
) -> None:
    """A code that is known decides."""
    upstream.answer(status, body)

    assert refused(consignments_stub, REQUESTS[rpc]).reason == reason
    assert len(lines(upstream)) == 1


@pytest.mark.parametrize("state", ["Unallocated", "AllocationFailed", "ReadyToShip", "Dispatched", "Cancelled"])
def test_a_deallocation_that_is_refused_for_the_state_says_so(
    consignments_stub: Stub, upstream: Upstream, state: str
) -> None:
    """Only what is allocated, manifested, or failed to be manifested, can be de-allocated."""
    script(upstream, (400, api_error()), (200, consignment(CONSIGNMENT, state)))

    found = refused(consignments_stub, REQUESTS["DeallocateConsignment"])

    assert (found.code, found.reason, found.metadata["effect"]) == (PRECONDITION, "INVALID_STATE", "none")


@pytest.mark.parametrize("state", ["Allocated", "Manifested", "ManifestFailed"])
def test_a_deallocation_that_the_state_allows_stays_refused_as_it_was(
    consignments_stub: Stub, upstream: Upstream, state: str
) -> None:
    """Something else is wrong then."""
    script(upstream, (400, api_error()), (200, consignment(CONSIGNMENT, state)))

    assert refused(consignments_stub, REQUESTS["DeallocateConsignment"]).reason == "INVALID_REQUEST"


def test_a_deallocation_of_an_unknown_consignment_needs_no_reading_for_404(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Its path names nothing else; a 400 may mean it too, and then the reading tells."""
    upstream.answer(404, api_error())
    found = refused(consignments_stub, REQUESTS["DeallocateConsignment"])
    assert (found.reason, len(lines(upstream))) == ("CONSIGNMENT_NOT_FOUND", 1)

    script(upstream, (400, api_error()), (404, api_error()))
    assert refused(consignments_stub, REQUESTS["DeallocateConsignment"]).reason == "CONSIGNMENT_NOT_FOUND"


def test_a_refusal_is_told_before_the_deadline_if_the_reading_takes_too_long(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """The refusal itself is what the caller needs most."""
    upstream.answer(400, api_error())
    release = upstream.hold(200, consignment(QUOTED, "Allocated"))

    found = refused(consignments_stub, REQUESTS["AllocateConsignment"], timeout=2.0)

    assert (found.reason, found.metadata["effect"]) == ("INVALID_REQUEST", "none")
    release.set()


# Rejected items of a bulk call


def standing(states: dict[str, object]) -> Any:
    """Answers readings with consignments in these states; an integer is a status."""

    def reply(received: Received) -> Reply:
        reference = received.line.split(" ")[1].rpartition("/")[2]
        state = states.get(reference, 503)
        if isinstance(state, int):
            return Reply(state, api_error())
        return Reply(200, consignment(reference, str(state), FailedAllocation=FAILED))

    return reply


@pytest.mark.parametrize("rpc", BULKS)
def test_each_rejected_consignment_is_told_with_its_reason(
    consignments_stub: Stub, upstream: Upstream, rpc: str
) -> None:
    """The call was carried out, so that it is OK; what was done is not read, and the others are."""
    states: dict[str, object] = {
        "a": "AllocationFailed",
        "b": "Allocated",
        "c": 404,
        "d": 503,
        "e": "Unallocated",
    }
    items = [summary(name, StatusCode=400, CarrierServiceReference=None) for name in states]
    items += [summary("f"), summary("g", StatusCode=500)]
    references = [*states, "f", "g", "h"]
    upstream.answer(200, items)

    with answering(upstream, standing(states)):
        results = call(consignments_stub, changed(REQUESTS[rpc], consignments=references)).results

    assert [item.consignment_reference for item in results] == references
    reasons = [ErrorReason.Name(item.reason).removeprefix("ERROR_REASON_") for item in results]
    assert reasons == [
        "ALLOCATION_FAILED",
        "INVALID_STATE",
        "CONSIGNMENT_NOT_FOUND",
        "ALLOCATION_FAILED",
        "ALLOCATION_FAILED",
        *["UNSPECIFIED"] * 3,
    ]
    outcomes = [pb.Outcome.Name(item.outcome).removeprefix("OUTCOME_") for item in results]
    assert outcomes == [*["REJECTED"] * 5, "DONE", "UNKNOWN", "UNKNOWN"]
    assert [item.HasField("failed_allocation") for item in results] == [True, *[False] * 7]
    assert results[0].failed_allocation == failed_allocation()
    assert [item.status_code for item in results] == [400] * 5 + [200, 500, 0]
    assert sorted(lines(upstream)[1:]) == [f"GET /consignments/{name}" for name in "abcdegh"]


def test_an_item_that_upstream_does_not_know_is_told_so_also_if_it_cannot_be_read(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Its own status says it."""
    upstream.answer(200, [summary("a", StatusCode=404, CarrierServiceReference=None)])
    with answering(upstream, lambda _: Reply(503)):
        (result,) = call(consignments_stub, pb.AllocateConsignmentsRequest(consignments=["a"])).results

    assert result.reason == ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND


def test_each_rejected_consignment_of_a_bulk_deallocation_is_told_with_its_reason(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """A consignment whose allocation failed earlier is in the wrong state here."""
    states: dict[str, object] = {"a": "AllocationFailed", "b": 404, "c": "Allocated", "d": 500}
    upstream.answer(200, [message(name, success=False) for name in states])

    with answering(upstream, standing(states)):
        results = call(consignments_stub, pb.DeallocateConsignmentsRequest(consignments=list(states))).results

    reasons = [ErrorReason.Name(item.reason).removeprefix("ERROR_REASON_") for item in results]
    assert reasons == ["INVALID_STATE", "CONSIGNMENT_NOT_FOUND", "INVALID_STATE", "INVALID_STATE"]
    assert not any(item.HasField("failed_allocation") or item.HasField("allocation") for item in results)


def rejected(count: int) -> tuple[pb.AllocateConsignmentsRequest, list[Any]]:
    """Returns a bulk call and an answer that rejects all of it."""
    references = [f"EC-{number:03}-000-000" for number in range(count)]
    items = [summary(reference, StatusCode=400, CarrierServiceReference=None) for reference in references]
    return pb.AllocateConsignmentsRequest(consignments=references), items


def test_a_hundred_rejected_consignments_are_all_read(consignments_stub: Stub, upstream: Upstream) -> None:
    """Each once."""
    request, items = rejected(100)
    upstream.answer(200, items)
    with answering(upstream, standing(dict.fromkeys(request.consignments, "AllocationFailed"))):
        results = call(consignments_stub, request).results

    assert all(item.failed_allocation == failed_allocation() for item in results)
    assert sorted(lines(upstream)[1:]) == [f"GET /consignments/{reference}" for reference in request.consignments]


def test_rejected_consignments_are_read_side_by_side_a_few_at_a_time_and_until_the_deadline(
    configured_consignments: ConfiguredConsignments,
) -> None:
    """None of the readings is answered: eight are made at once, no more, and the results come without them."""
    request, items = rejected(30)
    release = threading.Event()
    with running_upstream() as upstream:
        stub = configured_consignments(CONSIGNMENTS_BASE_URL=f"http://127.0.0.1:{upstream.port}")
        upstream.answer(200, items)
        with answering(upstream, lambda _: Reply(500, wait=release)):
            results = call(stub, request, timeout=4.0).results
        release.set()

        assert [item.consignment_reference for item in results] == list(request.consignments)
        assert {item.outcome for item in results} == {pb.OUTCOME_REJECTED}
        assert {item.reason for item in results} == {ErrorReason.ERROR_REASON_ALLOCATION_FAILED}
        assert len(lines(upstream)) >= 1 + 8
        # Each takes one, beside that of the call itself.
        assert upstream.most_connections <= 1 + 8


def test_a_reading_for_which_no_time_is_left_is_not_begun(configured_consignments: ConfiguredConsignments) -> None:
    """Not even a connection is made for it."""
    request, items = rejected(100)
    release = threading.Event()
    with running_upstream() as upstream:
        stub = configured_consignments(CONSIGNMENTS_BASE_URL=f"http://127.0.0.1:{upstream.port}")
        upstream.answer(200, items)
        with answering(upstream, lambda _: Reply(500, wait=release)):
            call(stub, request, timeout=4.0)
            # A call that comes after them all.
            upstream.answer(200, consignment(CONSIGNMENT, "Allocated"))
            call(stub, REQUESTS["GetConsignmentAllocation"])
        release.set()

        assert upstream.most_connections <= 9


@pytest.mark.parametrize(("status", "readings"), [(400, 3), (404, 3), (429, 0)])
def test_a_bulk_call_that_fails_as_a_whole_is_only_read_to_know_that_none_is_allocated(
    consignments_stub: Stub, upstream: Upstream, status: int, readings: int
) -> None:
    """There is no answer for any of them. One may have ended the call when others were allocated."""
    request = pb.AllocateConsignmentsRequest(consignments=CONSIGNMENTS)
    upstream.answer(status, api_error())

    with answering(upstream, standing(dict.fromkeys(CONSIGNMENTS, "Unallocated"))):
        found = refused(consignments_stub, request)

    assert (found.metadata["upstream_status"], found.metadata["effect"]) == (str(status), "none")
    assert len(lines(upstream)) == 1 + readings


# Labels of what is allocated already


ALLOCATED: Final = consignment(
    CONSIGNMENT,
    "Allocated",
    Allocation={"MpdCarrierServiceReference": "CX_NDS", "CarrierServiceGroupReference": "valuableGoods"},
)
LONG_AGO: Final = consignment(CONSIGNMENT, "Allocated", Allocation={"AllocationDate": "2019-06-14T10:41:05+00:00"})
ALLOCATION_TEXT: Final = f"""
  consignment_reference: "{CONSIGNMENT}" carrier_service_reference: "CX_NDS" service_group: "valuableGoods"
  state: CONSIGNMENT_STATE_ALLOCATED state_text: "Allocated"
"""
ZPL: Final[dict[str, Any]] = {"label_format": pb.LABEL_FORMAT_ZPL}
LABEL: Final = {"File": "XlhBXlha", "ContentType": "application/zpl"}
AGREEING: Final[list[dict[str, str]]] = [
    {},
    {"carrier_service_reference": "CX_NDS"},
    {"service_group": "valuableGoods"},
    {"service_group": "VALUABLEgoods"},
    {"carrier_service_reference": "cx_nds"},
    {"quote_reference": "112236d5-4460-492f-a6bd-aa3f00f62dfb"},
]


@pytest.mark.parametrize("selector", AGREEING, ids=str)
@pytest.mark.parametrize(
    "refusal",
    [(400, api_error()), (404, api_error("LabelNotFoundException")), (409, api_error())],
    ids=["400", "404", "409"],
)
def test_a_repeat_on_an_allocated_consignment_fetches_the_label_and_allocates_nothing(
    consignments_stub: Stub, upstream: Upstream, selector: dict[str, str], refusal: tuple[int, object]
) -> None:
    """The same call is made until the label is there: upstream refuses it, and the label is fetched on its own."""
    script(upstream, refusal, (200, ALLOCATED), (200, LABEL))

    check_labels(
        consignments_stub,
        selector,
        f"""
        allocation {{ {ALLOCATION_TEXT} reconciled: true }}
        labels {{ label_type: LABEL_TYPE_CONSIGNMENT content: "^XA^XZ" content_type: "application/zpl" }}
        """,
    )
    assert lines(upstream)[1:] == [f"GET /consignments/{CONSIGNMENT}", f"GET /labels/{CONSIGNMENT}/ZPL"]


@pytest.mark.parametrize(
    ("label", "fields"),
    [
        ({"Content-Type": "application/zpl"}, 'content_type: "application/zpl"'),
        ({"ContentType": None, "Content-Type": "application/zpl"}, 'content_type: "application/zpl"'),
        ({"ContentType": "application/zpl", "Content-Type": "other"}, 'content_type: "application/zpl"'),
        ({}, ""),
        ({"ContentType": 7}, 'unreadable: "ContentType"'),
        ({"Content-Type": 7}, 'unreadable: "Content-Type"'),
    ],
)
def test_the_type_of_a_label_has_either_name(
    consignments_stub: Stub, upstream: Upstream, label: dict[str, object], fields: str
) -> None:
    """A label whose type cannot be read is a label all the same."""
    script(upstream, (400, api_error()), (200, ALLOCATED), (200, {"File": LABEL["File"], **label}))

    check_labels(
        consignments_stub,
        {},
        f"""
        allocation {{ {ALLOCATION_TEXT} reconciled: true }}
        labels {{ label_type: LABEL_TYPE_CONSIGNMENT content: "^XA^XZ" {fields} }}
        """,
    )


def test_what_a_reading_cannot_read_is_named_beside_what_the_answer_could_not(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """An allocation that is completed by a reading has parts of both, and says what it lacks of either."""
    price = {"Net": 12.1951219512, "Gross": 1, "Currency": {"IsoCode": "GBP"}}
    booked = consignment(CONSIGNMENT, "Allocated", Allocation={"MpdCarrierServiceReference": "S", "Price": price})
    told = {"IsSuccess": True, "Message": "Done.", "Data": CONSIGNMENT, "ApiLinks": [7]}
    script(upstream, (200, told), (200, booked))

    got = call(consignments_stub, pb.AllocateConsignmentRequest(consignment_reference=CONSIGNMENT)).allocation

    assert (got.carrier_service_reference, got.description, got.HasField("price")) == ("S", "Done.", False)
    assert list(got.unreadable) == ["Allocation.Price.Net", "ApiLinks[0]"]


def check_labels(stub: Stub, selector: dict[str, str], wanted: str) -> None:
    """Makes a call for ZPL labels and compares the whole response."""
    same(call(stub, changed(REQUESTS[LABELS], **ZPL, **selector)), response(LABELS, wanted))


@pytest.mark.parametrize(
    ("selector", "allocation"),
    [
        ({"carrier_service_reference": "CX_OTHER"}, ALLOCATED),
        ({"service_group": "other"}, ALLOCATED),
        ({"service_group": "valuableGoods"}, consignment(CONSIGNMENT, "Allocated")),
        ({"carrier_service_reference": "CX_NDS"}, consignment(CONSIGNMENT, "Allocated")),
    ],
)
def test_the_label_of_another_allocation_is_not_fetched(
    consignments_stub: Stub, upstream: Upstream, selector: dict[str, str], allocation: dict[str, Any]
) -> None:
    """If the group or the service is not the one that was asked for, it is allocated otherwise, and so refused."""
    # Read for the label, and to see whether the refusal is to be believed.
    script(upstream, (400, api_error()), (200, allocation), (200, LONG_AGO))

    found = refused(consignments_stub, changed(REQUESTS[LABELS], **selector))

    assert (found.code, found.reason, found.metadata["effect"]) == (PRECONDITION, "INVALID_STATE", "none")
    assert not [line for line in lines(upstream) if line.startswith("GET /labels/")]


@pytest.mark.parametrize("state", ["ReadyToShip", "Manifesting", "Manifested", "ManifestFailed"])
def test_a_consignment_that_is_further_on_its_way_to_the_carrier_still_has_its_label(
    consignments_stub: Stub, upstream: Upstream, state: str
) -> None:
    """Allocated or later."""
    script(upstream, (400, api_error()), (200, consignment(CONSIGNMENT, state)), (200, LABEL))

    assert call(consignments_stub, changed(REQUESTS[LABELS], **ZPL)).labels[0].content == b"^XA^XZ"


@pytest.mark.parametrize("state", ["Allocating", "Dispatched", "Cancelled", "Cancelling", "Delivered"])
def test_a_consignment_in_any_other_state_is_refused_for_it(
    consignments_stub: Stub, upstream: Upstream, state: str
) -> None:
    """And its label is not fetched."""
    script(upstream, (400, api_error()), (200, consignment(CONSIGNMENT, state)), (200, LONG_AGO))

    assert refused(consignments_stub, REQUESTS[LABELS]).reason == "INVALID_STATE"
    assert not [line for line in lines(upstream) if line.startswith("GET /labels/")]


def test_a_failed_allocation_with_labels_tells_why(consignments_stub: Stub, upstream: Upstream) -> None:
    """As without labels, whether upstream says it by a status or in its answer."""
    item = {"LabelType": "Consignment", "StatusCode": 400, "Result": "ConsignmentAllocationFailed"}
    for refusal in ((400, api_error()), (200, {"Responses": [item]})):
        script(upstream, refusal, (200, consignment(CONSIGNMENT, "AllocationFailed", FailedAllocation=FAILED)))

        found = refused(consignments_stub, REQUESTS[LABELS])

        assert (found.code, found.reason, found.metadata["effect"]) == (PRECONDITION, "ALLOCATION_FAILED", "none")
        assert found.detail(pb.FailedAllocation) == failed_allocation()


@pytest.mark.parametrize(
    "reading",
    [
        (404, api_error("LabelNotFoundException")),
        (503, b""),
        (429, {"statusCode": 429, "message": "Rate limit is exceeded."}),
        (200, {"File": "no base64!", "ContentType": "application/pdf"}),
        (200, {"File": "", "ContentType": "application/pdf"}),
        (200, {"File": None}),
        (200, {}),
        (200, []),
        (200, b"%PDF-1.4"),
    ],
)
def test_an_allocated_consignment_without_a_label_is_ok_with_a_label_error(
    consignments_stub: Stub, upstream: Upstream, reading: tuple[int, object]
) -> None:
    """Never a failed allocation."""
    script(upstream, (400, api_error()), (200, ALLOCATED), reading)

    got = call(consignments_stub, REQUESTS[LABELS])

    assert got.allocation.carrier_service_reference == "CX_NDS"
    assert not got.labels
    assert got.label_error.reason == ErrorReason.ERROR_REASON_LABEL_NOT_AVAILABLE
    assert got.label_error.message


def test_a_label_that_takes_too_long_is_a_label_error(consignments_stub: Stub, upstream: Upstream) -> None:
    """The allocation is told before the deadline."""
    script(upstream, (400, api_error()), (200, ALLOCATED))
    release = upstream.hold(200, LABEL)

    got = call(consignments_stub, REQUESTS[LABELS], timeout=2.0)

    assert got.allocation.carrier_service_reference == "CX_NDS"
    assert got.label_error.reason == ErrorReason.ERROR_REASON_LABEL_NOT_AVAILABLE
    release.set()


def test_a_refusal_that_may_be_the_labels_leaves_the_outcome_unknown_if_the_consignment_cannot_be_read(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Upstream allocates first and labels then: nobody knows which of the two it refused."""
    refusal = api_error("LabelNotFoundException")
    cases = {status: (REQUESTS[LABELS], Reply(status, refusal)) for status in (400, 404)}

    for status, found in in_doubt(consignments_stub, upstream, cases).items():
        assert (found.reason, found.metadata["cause"]) == ("OUTCOME_UNKNOWN", VAGUE[str(status)])
        assert found.metadata["upstream_code"] == "LabelNotFoundException"


def test_the_golden_answer_with_labels_is_not_followed_up(consignments_stub: Stub, upstream: Upstream) -> None:
    """It says everything."""
    upstream.answer(200, answer("labels"))

    call(consignments_stub, REQUESTS[LABELS])

    assert len(lines(upstream)) == 1
