"""The error table, row by row, over a real socket: what upstream does in, one status with details out.

The expectations are written out here, and not taken from the code that they test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ExcludedServices
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from google.rpc import error_details_pb2
from grpc import StatusCode
from support.doubt import in_doubt
from support.front import running_front
from support.status import failure
from support.upstream import Reply, shipped_before

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc
    from support.status import Failure
    from support.upstream import Upstream

INVALID_ARGUMENT = StatusCode.INVALID_ARGUMENT
NOT_FOUND = StatusCode.NOT_FOUND
PRECONDITION = StatusCode.FAILED_PRECONDITION
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED
UNAVAILABLE = StatusCode.UNAVAILABLE
INTERNAL = StatusCode.INTERNAL
REFERENCE = "sp_00794403010635468411384028069888"
CORRELATION = "7a53f7c4-836f-4a46-9d67-be1cadaaf7c2.SAPI_51eda51d-3efc-4afa-a8b4-47fc826420cf"


def api_error(parent: str, *children: str) -> dict[str, Any]:
    """Returns an ApiError as documented. Its texts mislead: whoever decides by them gets it wrong."""
    return {
        "correlation_id": CORRELATION,
        "code": parent,
        "message": "not_found shipment_not_found internal_server_error",
        "details": [{"property": "", "code": child, "message": "processing unauthorised"} for child in children],
    }


# HTTP status, parent code, child codes; gRPC status, reason, the code that the caller is told.
DOCUMENTED = [
    (400, "validation_error", ["invalid_format"], INVALID_ARGUMENT, "INVALID_REQUEST", "invalid_format"),
    (400, "validation_error", [], INVALID_ARGUMENT, "INVALID_REQUEST", "validation_error"),
    (400, "invalid_request", ["invalid_email"], INVALID_ARGUMENT, "INVALID_REQUEST", "invalid_email"),
    (400, "validation_error", ["duplicate_references"], INVALID_ARGUMENT, "INVALID_REQUEST", "duplicate_references"),
    (400, "validation_error", ["non_unique_reference"], INVALID_ARGUMENT, "INVALID_REQUEST", "non_unique_reference"),
    (400, "validation_error", ["system_shipment_state"], INVALID_ARGUMENT, "INVALID_REQUEST", "system_shipment_state"),
    (400, "something_new", ["newer_still"], INVALID_ARGUMENT, "INVALID_REQUEST", "newer_still"),
    (400, "validation_error", ["invalid_state_for_operation"], PRECONDITION, "INVALID_STATE", None),
    (400, "validation_error", ["invalid_shipment_state"], PRECONDITION, "INVALID_STATE", None),
    (400, "validation_error", ["virtual_service_not_found"], NOT_FOUND, "VIRTUAL_SERVICE_NOT_FOUND", None),
    (404, "not_found", ["virtual_service_not_found"], NOT_FOUND, "VIRTUAL_SERVICE_NOT_FOUND", None),
    (400, "version_header_error", ["version_header_error"], INTERNAL, "GATEWAY_MISCONFIGURED", None),
    (400, "validation_error", ["version_header_missing"], INTERNAL, "GATEWAY_MISCONFIGURED", None),
    (401, "unauthorised", ["invalid_api_key"], INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED", "invalid_api_key"),
    (401, "unauthorised", ["missing_api_key_header"], INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED", None),
    (401, "unauthorised", ["unauthorised"], INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED", "unauthorised"),
    (403, "forbidden", [], INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED", "forbidden"),
    (404, "not_found", ["not_found"], NOT_FOUND, "RESOURCE_NOT_FOUND", "not_found"),
    (404, "not_found", [], NOT_FOUND, "RESOURCE_NOT_FOUND", "not_found"),
    (404, "not_found", ["shipment_not_found"], NOT_FOUND, "SHIPMENT_NOT_FOUND", "shipment_not_found"),
    (404, "not_found", ["processing"], UNAVAILABLE, "RESOURCE_PROCESSING", "processing"),
    (405, "method_not_supported", ["method_not_supported"], INTERNAL, "GATEWAY_MISCONFIGURED", None),
    (409, "conflict", ["shipment_manifested"], PRECONDITION, "UPSTREAM_CONFLICT", "shipment_manifested"),
    (410, "gone", ["resource_removed"], PRECONDITION, "UPSTREAM_CONFLICT", "resource_removed"),
    (410, "gone", ["resource_quarantined"], PRECONDITION, "UPSTREAM_CONFLICT", "resource_quarantined"),
    (429, "conflict", ["rule_conflict"], PRECONDITION, "UPSTREAM_CONFLICT", "rule_conflict"),
    (429, "conflict", [], EXHAUSTED, "UPSTREAM_THROTTLED", "conflict"),
    (429, "too_many_requests", [], EXHAUSTED, "UPSTREAM_THROTTLED", "too_many_requests"),
    (500, "internal_server_error", ["internal_server_error"], INTERNAL, "UPSTREAM_FAILED", "internal_server_error"),
    (521, "allocation_failed", ["allocation_failed"], PRECONDITION, "ALLOCATION_FAILED", "allocation_failed"),
    (521, "allocation_failed", [], PRECONDITION, "ALLOCATION_FAILED", "allocation_failed"),
    (521, "allocation_failed", ["shipment_not_found"], NOT_FOUND, "SHIPMENT_NOT_FOUND", "shipment_not_found"),
    (521, "allocation_failed", ["carrier_service_not_found"], NOT_FOUND, "CARRIER_SERVICE_NOT_FOUND", None),
    (521, "allocation_failed", ["carrier_service_shipment_mismatch"], PRECONDITION, "ALLOCATION_FAILED", None),
    (521, "allocation_failed", ["shipment_invalid_state"], PRECONDITION, "INVALID_STATE", "shipment_invalid_state"),
    (521, "allocation_failed", ["something_new"], PRECONDITION, "ALLOCATION_FAILED", "something_new"),
    (521, "something_new", [], PRECONDITION, "ALLOCATION_FAILED", "something_new"),
    (531, "no_quotes_available", ["no_quotes_available"], PRECONDITION, "NO_QUOTES_AVAILABLE", "no_quotes_available"),
    (404, "not_found", ["service_group_not_found"], NOT_FOUND, "SERVICE_GROUP_NOT_FOUND", "service_group_not_found"),
]


def allocate(stub: ShipmentAllocationServiceStub) -> Callable[[], object]:
    """Returns a call that allocates one shipment with a group."""
    request = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=REFERENCE, service_group="valuableGoods")
    return lambda: stub.AllocateShipmentWithServiceGroup(request, timeout=10)


def read(stub: ShipmentAllocationServiceStub) -> Callable[[], object]:
    """Returns a call that reads a shipment."""
    request = pb.GetShipmentAllocationRequest(shipment_reference=REFERENCE)
    return lambda: stub.GetShipmentAllocation(request, timeout=10)


@pytest.mark.parametrize(("status", "parent", "children", "code", "reason", "told"), DOCUMENTED)
def test_a_documented_error_becomes_its_status(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    status: int,
    parent: str,
    children: list[str],
    code: StatusCode,
    reason: str,
    told: str | None,
) -> None:
    """The codes in the JSON decide, children first; the caller is told the one that did."""
    known = {
        "upstream_status": str(status),
        "upstream_code": told or children[0],
        "upstream_correlation_id": CORRELATION,
    }
    upstream.answer(status, api_error(parent, *children))
    found = failure(read(stub))
    assert (found.code, found.reason, found.metadata) == (code, reason, known)
    retry = found.detail(error_details_pb2.RetryInfo)
    assert (retry is not None) == (code in {UNAVAILABLE, EXHAUSTED})

    if status != 500:
        # A refusal for the shipment's state is believed when the shipment was read.
        upstream.default = shipped_before
        upstream.answer(status, api_error(parent, *children))
        found = failure(allocate(stub))
        assert (found.code, found.reason, found.metadata) == (code, reason, {**known, "effect": "none"})
        retry = found.detail(error_details_pb2.RetryInfo)
        assert (retry is not None) == (code in {UNAVAILABLE, EXHAUSTED})


# HTTP status, body, headers; gRPC status, reason.
UNDOCUMENTED = [
    (400, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (400, b"{}", {}, INVALID_ARGUMENT, "INVALID_REQUEST"),
    (401, b"", {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (403, b"<html>", {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (404, b'{"message": "Not Found"}', {}, NOT_FOUND, "RESOURCE_NOT_FOUND"),
    (404, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (404, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (405, b"", {}, INTERNAL, "GATEWAY_MISCONFIGURED"),
    (407, b"", {}, INTERNAL, "GATEWAY_MISCONFIGURED"),
    (409, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (418, b"{}", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (429, b"", {}, EXHAUSTED, "UPSTREAM_THROTTLED"),
    (429, b'{"message": "Too Many Requests"}', {}, EXHAUSTED, "UPSTREAM_THROTTLED"),
    (500, b"", {}, INTERNAL, "UPSTREAM_FAILED"),
    (500, b"<html>", {}, INTERNAL, "UPSTREAM_FAILED"),
    (501, b"{}", {}, INTERNAL, "UPSTREAM_FAILED"),
    (502, b"<html>", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (503, b"", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (504, b"<html>", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (520, b"<html>", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (521, b"<html>", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (521, b'{"message": "Web server is down"}', {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (522, b"", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (530, b"<html>", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (531, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"null", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"[]", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"{}", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b'{"shipment_ref', {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"[" * 100_000, {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"x", {"content-encoding": "gzip"}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"x", {"content-encoding": "br"}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b" " * 5_000_000, {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (204, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (206, b"{}", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (301, b"", {"location": "http://127.0.0.1:1/"}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (304, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
]


def is_refusal(body: bytes, reason: str) -> bool:
    """Tells whether an answer is upstream's own, and says that nothing was done."""
    mine = {"INVALID_REQUEST", "RESOURCE_NOT_FOUND", "UPSTREAM_THROTTLED"}
    return body.startswith(b"{") and reason in mine


@pytest.mark.parametrize(("status", "body", "headers", "code", "reason"), UNDOCUMENTED)
def test_whatever_else_upstream_does_has_a_status_too(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    status: int,
    body: bytes,
    headers: dict[str, str],
    code: StatusCode,
    reason: str,
) -> None:
    """A read is over with it, and so is a write that upstream refused in its own JSON."""
    upstream.answer(status, body, headers=headers, close=True)
    found = failure(read(stub))
    assert (found.code, found.reason) == (code, reason)
    assert found.metadata == {"upstream_status": str(status)}

    if is_refusal(body, reason):
        upstream.answer(status, body, headers=headers, close=True)
        found = failure(allocate(stub))
        assert (found.code, found.reason) == (code, reason)
        assert found.metadata == {"upstream_status": str(status), "effect": "none"}


ANOTHER = b'{"shipment_reference": "sp_another", "state": "allocated"}'
DOUBTFUL = [row[:3] + row[4:] for row in UNDOCUMENTED if not is_refusal(row[1], row[4])]
DOUBTFUL += [(200, ANOTHER, {}, "UPSTREAM_CONTRACT_BROKEN")]


@pytest.fixture(scope="module")
def doubts(scripted_channel: grpc.Channel, shared_upstream: Upstream) -> dict[int, Failure]:
    """How writes end that get a doubtful answer, by its place in the table. They are made at once."""
    request = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=REFERENCE, service_group="valuableGoods")
    cases = {
        place: (request, Reply(status, body, headers, close=True))
        for place, (status, body, headers, _) in enumerate(DOUBTFUL)
    }
    return in_doubt(ShipmentAllocationServiceStub(scripted_channel), shared_upstream, cases)


@pytest.mark.parametrize(("place", "status", "reason"), [(place, row[0], row[3]) for place, row in enumerate(DOUBTFUL)])
def test_a_write_without_upstreams_own_refusal_is_of_unknown_outcome(
    doubts: dict[int, Failure], place: int, status: int, reason: str
) -> None:
    """If its shipment cannot be read meanwhile. The caller is told the reason for which a read would have failed."""
    found = doubts[place]
    assert (found.code, found.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    assert found.metadata == {"upstream_status": str(status), "cause": reason, "effect": "unknown"}
    assert found.detail(error_details_pb2.RetryInfo) is not None


def test_a_doubt_keeps_what_upstream_told_of_it(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """Its code, and the id by which its support finds the request."""
    request = pb.AllocateShipmentRequest(shipment_reference=REFERENCE)
    reply = Reply(500, api_error("internal_server_error", "internal_server_error"))
    found = in_doubt(stub, upstream, {"it": (request, reply)})["it"]
    assert found.reason == "OUTCOME_UNKNOWN"
    assert found.metadata == {
        "cause": "UPSTREAM_FAILED",
        "upstream_status": "500",
        "upstream_code": "internal_server_error",
        "upstream_correlation_id": CORRELATION,
        "effect": "unknown",
    }


def test_a_body_that_ends_early_is_a_broken_contract_and_says_so(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    upstream.answer(200, b'{"shipment_reference": "', headers={"content-length": "4000"}, close=True)
    found = failure(read(stub))
    assert (found.code, found.reason) == (INTERNAL, "UPSTREAM_CONTRACT_BROKEN")
    assert "ended early" in found.message


def test_a_broken_contract_names_what_is_wrong(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    upstream.answer(200, {"reference": REFERENCE, "state": 5, "allocation": {"carrier": []}})
    found = failure(read(stub))
    assert found.message == (
        "Upstream's answer is not as documented: state: expected a string, got a number; "
        "allocation.carrier: expected an object, got an array."
    )


def test_an_unknown_shipment_is_named(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    upstream.answer(404, api_error("not_found", "shipment_not_found"))
    info = failure(read(stub)).detail(error_details_pb2.ResourceInfo)
    assert info is not None
    assert (info.resource_type, info.resource_name) == ("allocation.v1.Shipment", REFERENCE)


def test_an_unknown_carrier_service_is_named(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    upstream.answer(521, api_error("allocation_failed", "carrier_service_not_found"))
    request = pb.AllocateShipmentWithCarrierServiceRequest(
        shipment_reference=REFERENCE, carrier_service_reference="FF_LINET-00001"
    )
    info = failure(lambda: stub.AllocateShipmentWithCarrierService(request, timeout=10)).detail(
        error_details_pb2.ResourceInfo
    )
    assert info is not None
    assert (info.resource_type, info.resource_name) == ("allocation.v1.CarrierService", "FF_LINET-00001")


def test_a_404_that_does_not_say_what_is_missing_names_nothing(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    upstream.answer(404, api_error("not_found"))
    assert failure(allocate(stub)).detail(error_details_pb2.ResourceInfo) is None


def test_one_of_several_shipments_is_not_guessed(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    upstream.answer(404, api_error("not_found", "shipment_not_found"))
    found = failure(lambda: stub.AllocateShipments(pb.AllocateShipmentsRequest(shipments=["a", "b"]), timeout=10))
    assert found.reason == "SHIPMENT_NOT_FOUND"
    assert found.detail(error_details_pb2.ResourceInfo) is None


@pytest.mark.parametrize(
    ("complaint", "field"),
    [
        ({"property": "shipments[1]", "code": "invalid_reference_format"}, "shipments[1]"),
        ({"property": "$.shipments[0]", "code": "invalid_format"}, "shipments[0]"),
        ({"property": "service_group", "code": "required_property_missing"}, "service_group"),
        ({"code": "duplicate_references"}, "shipments"),
        ({"property": "addresses[0].contact", "code": "invalid_format"}, ""),
    ],
)
def test_a_violation_names_a_field_of_our_request(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, complaint: dict[str, str], field: str
) -> None:
    """Upstream's names are told only where they are ours too; its text goes into the description."""
    error = {**api_error("validation_error"), "details": [{"message": "No good", **complaint}]}
    upstream.answer(400, error)
    request = pb.AllocateShipmentsWithServiceGroupRequest(shipments=["a", "b"], service_group="g")
    found = failure(lambda: stub.AllocateShipmentsWithServiceGroup(request, timeout=10))
    violations = found.detail(error_details_pb2.BadRequest)
    assert violations is not None
    assert [(item.field, item.description) for item in violations.field_violations] == [(field, "No good")]


@pytest.mark.parametrize("header", ["7", "0", "99999999", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_retry_info_is_what_upstream_asks_for(header: str) -> None:
    """Whoever comes earlier is not passed on."""
    seconds = {"7": 7.0, "0": 0.0, "99999999": 3600.0}.get(header, 1.0)
    with running_front(SHIP_MAX_ATTEMPTS="1") as front:
        front.upstream.answer(429, b"", headers={"retry-after": header})
        told = failure(read(front.stub))
        assert told.reason == "UPSTREAM_THROTTLED"
        retry = told.detail(error_details_pb2.RetryInfo)
        assert retry is not None
        assert retry.retry_delay.ToTimedelta().total_seconds() == seconds
        front.upstream.next_request()
        if seconds > 1:
            told = failure(read(front.stub))
            assert told.reason == "UPSTREAM_THROTTLED"
            retry = told.detail(error_details_pb2.RetryInfo)
            assert retry is not None
            assert retry.retry_delay.ToTimedelta().total_seconds() > min(seconds, 60.0) - 4
            assert front.upstream.received.empty()


EXCLUDED = {
    "carrier": {"reference": "FF_DPD_1200", "name": "DPD 12:00", "service_reference": "FF_1", "service_name": "DPD"},
    "exclusion": {"reason": "The service lacks a tag", "code": "ex_tag"},
}


AN_API_ERROR = {**api_error("allocation_failed", "allocation_failed"), "excluded_services": [EXCLUDED]}
A_RESULT = {"shipment_reference": REFERENCE, "state": "allocation_failed", "excluded_services": [EXCLUDED]}
A_RESULT_WITH_DETAILS = {**A_RESULT, "details": [api_error("allocation_failed")]}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (521, AN_API_ERROR),
        (521, A_RESULT),
        (521, A_RESULT_WITH_DETAILS),
        (200, A_RESULT),
        (200, A_RESULT_WITH_DETAILS),
        (202, A_RESULT),
    ],
)
def test_a_failed_allocation_tells_which_services_were_excluded(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, body: dict[str, Any], status: int
) -> None:
    """No source says which body comes with a failed allocation: each of them gives the same answer."""
    upstream.answer(status, body)
    found = failure(allocate(stub))
    assert (found.code, found.reason) == (PRECONDITION, "ALLOCATION_FAILED")
    assert (found.metadata["upstream_status"], found.metadata["effect"]) == (str(status), "none")
    excluded = found.detail(ExcludedServices)
    assert excluded is not None
    assert excluded.omitted_count == 0
    assert [(item.carrier.name, item.exclusion.code_text) for item in excluded.excluded_services] == [
        ("DPD 12:00", "ex_tag")
    ]


def test_no_quotes_tells_which_services_were_excluded(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """The body of a 531 is an ApiError in one source and a QuoteResult in another."""
    upstream.answer(531, {"reference": "qc_1", "message": "none", "quotes": [], "excluded_services": [EXCLUDED]})
    request = pb.CreateShipmentQuotesRequest(shipment_reference=REFERENCE)
    found = failure(lambda: stub.CreateShipmentQuotes(request, timeout=10))
    assert (found.code, found.reason) == (PRECONDITION, "NO_QUOTES_AVAILABLE")
    excluded = found.detail(ExcludedServices)
    assert excluded is not None
    assert len(excluded.excluded_services) == 1


def test_more_excluded_services_than_fit_are_counted(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """Two hundred services would break the trailers of the call, and with them every detail."""
    body = {**api_error("allocation_failed"), "excluded_services": [EXCLUDED] * 200}
    upstream.answer(521, body)
    found = failure(allocate(stub))
    assert found.reason == "ALLOCATION_FAILED"
    excluded = found.detail(ExcludedServices)
    assert excluded is not None
    assert len(excluded.excluded_services) > 10
    assert len(excluded.excluded_services) + excluded.omitted_count == 200


def test_the_key_never_comes_back_even_if_upstream_quotes_it(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    key = "a-key-that-nobody-may-see"
    error = {**api_error("validation_error"), "details": [{"code": "invalid_format", "message": f"What is {key}?"}]}
    upstream.answer(400, error)
    violations = failure(allocate(stub)).detail(error_details_pb2.BadRequest)
    assert violations is not None
    assert violations.field_violations[0].description == "What is ********?"
