"""The errors of the Consignments API, row by row, over a real socket; and gateways that have only one of the two APIs.

The expectations are written out here, and not taken from the code that they test.
"""

from __future__ import annotations

import gzip
import subprocess
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.error_reason_pb2 import WriteProgress
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from conftest import CONSIGNMENTS_KEY, KEY, ONE_ATTEMPT
from google.rpc import error_details_pb2
from grpc import StatusCode
from mapping import table as ship_table
from mapping.consignments import (
    CONSIGNMENT,
    GOLDEN,
    QUOTED,
    REQUESTS,
    WRITES,
    answer,
    call,
    consignment,
    lines,
    refused,
)
from mapping.table import changed
from support.doubt import in_doubt
from support.gateway import COMMAND, environment, running_gateway
from support.status import failure
from support.upstream import Hold, Reply, running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.status import Failure
    from support.upstream import Upstream

INVALID_ARGUMENT = StatusCode.INVALID_ARGUMENT
NOT_FOUND = StatusCode.NOT_FOUND
PRECONDITION = StatusCode.FAILED_PRECONDITION
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED
UNAVAILABLE = StatusCode.UNAVAILABLE
INTERNAL = StatusCode.INTERNAL
CORRELATION: Final = "f94c7dbc-c542-40b9-b6da-bd98aa110939"
READ: Final = "GetConsignmentAllocation"
# Names several things in its path, and its refusals are explained by the consignment.
WRITE: Final = "AllocateConsignmentWithServiceGroup"
BULK: Final = "AllocateConsignmentsWithServiceGroup"
# Of one, which nothing has to be read of: that it is refused says that it is not allocated.
ALONE: Final = changed(REQUESTS[BULK], consignments=[CONSIGNMENT])
MISSING_KEY: Final = (
    "Access denied due to missing subscription key. "
    "Make sure to include subscription key when making requests to an API."
)


def api_error(code: str | None = "SampleErrorCode", *details: dict[str, Any]) -> dict[str, Any]:
    """Returns an ApiError as documented. Its texts mislead: whoever decides by them gets it wrong."""
    return {
        "Code": code,
        "Message": "ServiceGroupNotFoundException: Item {reference} not found",
        "CorrelationId": CORRELATION,
        "Details": list(details) or None,
    }


# HTTP status, body; gRPC status, reason; the code that the caller is told.
DOCUMENTED: Final = [
    (400, api_error("ServiceGroupNotFoundException"), NOT_FOUND, "SERVICE_GROUP_NOT_FOUND"),
    (404, api_error("ServiceGroupNotFoundException"), NOT_FOUND, "SERVICE_GROUP_NOT_FOUND"),
    (400, api_error("CarrierServiceGroupNotFoundForCustomerException"), NOT_FOUND, "SERVICE_GROUP_NOT_FOUND"),
    (400, api_error("MpdCarrierServiceNotFoundException"), NOT_FOUND, "CARRIER_SERVICE_NOT_FOUND"),
    (400, api_error("ServiceProfileNotFoundException"), NOT_FOUND, "CARRIER_SERVICE_NOT_FOUND"),
    (400, api_error("InvalidApiKeyException"), INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (401, api_error("InvalidApiKeyException"), INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (500, api_error("ServiceGroupNotFoundException"), NOT_FOUND, "SERVICE_GROUP_NOT_FOUND"),
    (400, api_error(), INVALID_ARGUMENT, "INVALID_REQUEST"),
    (400, api_error("OperationFailedException"), INVALID_ARGUMENT, "INVALID_REQUEST"),
    (400, api_error("servicegroupnotfoundexception"), INVALID_ARGUMENT, "INVALID_REQUEST"),
    (401, api_error(), INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (403, api_error(), INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (404, api_error(), NOT_FOUND, "RESOURCE_NOT_FOUND"),
    (409, api_error(), PRECONDITION, "UPSTREAM_CONFLICT"),
    (410, api_error(), PRECONDITION, "UPSTREAM_CONFLICT"),
    (405, api_error(), INTERNAL, "GATEWAY_MISCONFIGURED"),
    (429, api_error(), EXHAUSTED, "UPSTREAM_THROTTLED"),
    (500, api_error(), INTERNAL, "UPSTREAM_FAILED"),
    (501, api_error(), INTERNAL, "UPSTREAM_FAILED"),
    (503, api_error(), UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
]


@pytest.mark.parametrize(
    ("rpc", "status", "body", "code", "reason"),
    [(rpc, *row) for rpc in (READ, WRITE, BULK) for row in DOCUMENTED if rpc == READ or row[0] < 500],
)
def test_an_api_error_becomes_its_status(
    consignments_stub: ConsignmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    status: int,
    body: dict[str, Any],
    code: StatusCode,
    reason: str,
) -> None:
    """A code that is known decides, else the HTTP status; a text never does. A reading after it tells nothing here."""
    upstream.answer(status, body)
    upstream.answer(503)

    found = refused(consignments_stub, ALONE if rpc == BULK else REQUESTS[rpc])

    if rpc == READ and status == 404 and reason == "RESOURCE_NOT_FOUND":
        reason = "CONSIGNMENT_NOT_FOUND"
    assert (found.code, found.reason) == (code, reason)
    effect = {"effect": "none"} if rpc in WRITES else {}
    assert found.metadata == {
        "upstream_status": str(status),
        "upstream_code": body["Code"],
        "upstream_correlation_id": CORRELATION,
        **effect,
    }
    assert (found.detail(error_details_pb2.RetryInfo) is not None) == (code in {UNAVAILABLE, EXHAUSTED})


# HTTP status, body, headers; gRPC status, reason.
# Without the seconds that it names: for so long nothing would be asked.
APIM: Final = {"statusCode": 429, "message": "Rate limit is exceeded."}
UNDOCUMENTED: Final[list[tuple[int, Any, dict[str, str], StatusCode, str]]] = [
    (401, {"statusCode": 401, "message": MISSING_KEY}, {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (403, {"statusCode": 403, "message": "Out of call volume quota."}, {}, EXHAUSTED, "UPSTREAM_THROTTLED"),
    (403, {"statusCode": 403, "message": "Forbidden"}, {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (403, {"message": "Out of call volume quota."}, {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (401, {"statusCode": 401, "message": "Out of call volume quota."}, {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (404, {"statusCode": 404, "message": "Resource not found"}, {}, NOT_FOUND, "RESOURCE_NOT_FOUND"),
    (429, APIM, {}, EXHAUSTED, "UPSTREAM_THROTTLED"),
    (500, {"statusCode": 500, "message": "Internal server error"}, {}, INTERNAL, "UPSTREAM_FAILED"),
    (400, {}, {}, INVALID_ARGUMENT, "INVALID_REQUEST"),
    (404, {}, {}, NOT_FOUND, "RESOURCE_NOT_FOUND"),
    (400, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (400, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (400, [], {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (400, '"ServiceGroupNotFoundException"', {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (400, {"Code": 17, "Message": [], "Details": {}}, {}, INVALID_ARGUMENT, "INVALID_REQUEST"),
    (400, {"Code": None, "Details": [None, 1, {"Code": None}]}, {}, INVALID_ARGUMENT, "INVALID_REQUEST"),
    (401, b"", {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (403, b"<html>", {}, INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED"),
    (404, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (404, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (405, b"", {}, INTERNAL, "GATEWAY_MISCONFIGURED"),
    (409, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (415, {}, {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (418, {}, {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (429, b"", {}, EXHAUSTED, "UPSTREAM_THROTTLED"),
    (500, b"", {}, INTERNAL, "UPSTREAM_FAILED"),
    (500, b"<html>", {}, INTERNAL, "UPSTREAM_FAILED"),
    (502, b"<html>", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (503, b"", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (504, b"<html>", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (522, b"", {}, UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    (200, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"null", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b'[{"StatusCode": 200', {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"[" * 100_000, {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"x", {"content-encoding": "gzip"}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, gzip.compress(b"[]", mtime=0)[:-5], {"content-encoding": "gzip"}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b"x", {"content-encoding": "br"}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (200, b" " * 17_000_000, {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (201, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (202, b"<html>", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (204, b"", {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (206, {}, {}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
    (301, b"", {"location": "http://127.0.0.1:1/"}, INTERNAL, "UPSTREAM_CONTRACT_BROKEN"),
]


def is_refusal(status: int, body: Any, reason: str) -> bool:
    """Tells whether an answer is upstream's own, and says that nothing was done."""
    return isinstance(body, dict) and 400 <= status < 500 and reason != "UPSTREAM_CONTRACT_BROKEN"


@pytest.mark.parametrize(
    ("rpc", "status", "body", "headers", "code", "reason"),
    [
        (rpc, *row)
        for rpc in (READ, WRITE, BULK)
        for row in UNDOCUMENTED
        if rpc == READ or is_refusal(row[0], row[1], row[4])
    ],
)
def test_whatever_else_upstream_does_has_a_status_too(
    consignments_stub: ConsignmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    status: int,
    body: Any,
    headers: dict[str, str],
    code: StatusCode,
    reason: str,
) -> None:
    """A read is over with it, and so is a write that upstream refused in its own JSON."""
    upstream.answer(status, body, headers=headers, close=True)
    upstream.answer(503)

    found = refused(consignments_stub, ALONE if rpc == BULK else REQUESTS[rpc])

    assert (found.code, found.reason) == (code, reason)
    effect = {"effect": "none"} if rpc in WRITES else {}
    assert found.metadata == {"upstream_status": str(status), **effect}


DOUBTFUL: Final = [
    (rpc, status, body, headers, reason)
    for rpc in (WRITE, BULK)
    for status, body, headers, _, reason in [*((*row[:2], {}, *row[2:]) for row in DOCUMENTED), *UNDOCUMENTED]
    if status >= 500 or not is_refusal(status, body, reason)
]


@pytest.fixture(scope="module")
def doubts(scripted_channel: grpc.Channel, shared_upstream: Upstream) -> dict[int, Failure]:
    """How writes end that get a doubtful answer, by its place in the table. They are made at once."""
    cases = {
        place: (REQUESTS[rpc], Reply(status, body, headers, close=True))
        for place, (rpc, status, body, headers, _) in enumerate(DOUBTFUL)
    }
    return in_doubt(ConsignmentAllocationServiceStub(scripted_channel), shared_upstream, cases)


@pytest.mark.parametrize(
    ("place", "rpc", "status", "reason"), [(place, row[0], row[1], row[4]) for place, row in enumerate(DOUBTFUL)]
)
def test_a_write_without_upstreams_own_refusal_is_of_unknown_outcome(
    doubts: dict[int, Failure], place: int, rpc: str, status: int, reason: str
) -> None:
    """If nothing can be read meanwhile. The caller is told why; of a bulk call also that nothing is known of any."""
    found = doubts[place]
    assert (found.code, found.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    known = {"upstream_status": str(status), "cause": reason, "effect": "unknown"}
    assert found.metadata.items() >= known.items()
    assert found.metadata.keys() - known.keys() <= {"upstream_code", "upstream_correlation_id"}
    assert found.detail(error_details_pb2.RetryInfo) is not None
    progress = found.detail(WriteProgress)
    if rpc == BULK:
        assert progress is not None
        assert len(progress.unknown) == len(REQUESTS[BULK].consignments)  # type: ignore[attr-defined]
    else:
        assert progress is None


@pytest.mark.parametrize("rpc", REQUESTS)
def test_every_rpc_tells_upstreams_refusals(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """The key that upstream does not accept, and its rate limit, in the shape of the API management."""
    effect = {"effect": "none"} if rpc in WRITES else {}
    upstream.answer(401, {"statusCode": 401, "message": MISSING_KEY})
    found = refused(consignments_stub, REQUESTS[rpc])
    assert (found.code, found.reason) == (INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED")
    assert found.metadata == {"upstream_status": "401", **effect}

    upstream.answer(429, APIM)
    found = refused(consignments_stub, REQUESTS[rpc])
    assert (found.code, found.reason) == (EXHAUSTED, "UPSTREAM_THROTTLED")
    assert found.metadata == {"upstream_status": "429", **effect}
    assert found.detail(error_details_pb2.RetryInfo) is not None
    assert len(lines(upstream)) == 2


def test_retry_info_is_what_upstream_asks_for(upstream: Upstream) -> None:
    """Of a read and of a write. Whoever comes earlier is not passed on."""
    for rpc in (READ, WRITE):
        with stubs(**consignments_settings(upstream), CONSIGNMENTS_MAX_ATTEMPTS="1") as (_, consignments):
            upstream.answer(429, APIM, headers={"retry-after": "9"})
            retry = refused(consignments, REQUESTS[rpc]).detail(error_details_pb2.RetryInfo)
            assert retry is not None
            assert retry.retry_delay.seconds == 9
            assert len(lines(upstream)) == 1
            found = refused(consignments, REQUESTS[rpc])
            assert (found.code, found.reason) == (EXHAUSTED, "UPSTREAM_THROTTLED")
            assert not lines(upstream)


READS: Final = sorted(set(REQUESTS) - set(WRITES))


@pytest.mark.parametrize("rpc", READS)
def test_a_connection_that_is_lost_leaves_a_read_unavailable(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """Nothing is sent again where one attempt is all that there may be."""
    upstream.answer(raw=b"", close=True)

    found = refused(consignments_stub, REQUESTS[rpc])

    assert (found.code, found.reason, found.metadata) == (UNAVAILABLE, "UPSTREAM_UNAVAILABLE", {})
    assert len(lines(upstream)) == 1


def test_a_connection_that_is_lost_leaves_the_outcome_of_a_write_unknown(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream
) -> None:
    """Of every write. Nothing is sent again."""
    cases = {rpc: (REQUESTS[rpc], Reply(raw=b"", close=True)) for rpc in WRITES}

    for found in in_doubt(consignments_stub, upstream, cases).values():
        assert (found.code, found.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
        assert found.metadata == {"effect": "unknown"}
    assert len(lines(upstream)) == len(WRITES)


def test_a_body_that_ends_early_is_a_broken_contract_and_says_so(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream
) -> None:
    """Also of an answer that may have no body at all: a part of one is something else."""
    part = Reply(202, b'[{"StatusCode": 200', headers={"content-length": "4000"}, close=True)
    for rpc in READS:
        upstream.script.put(part)
        found = refused(consignments_stub, REQUESTS[rpc])
        assert (found.code, found.reason) == (INTERNAL, "UPSTREAM_CONTRACT_BROKEN")
        assert "ended early" in found.message

    for found in in_doubt(consignments_stub, upstream, {rpc: (REQUESTS[rpc], part) for rpc in WRITES}).values():
        assert (found.reason, found.metadata["cause"]) == ("OUTCOME_UNKNOWN", "UPSTREAM_CONTRACT_BROKEN")
        assert "ended early" in found.message


def test_the_deadline_of_a_write_leaves_its_outcome_unknown(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream
) -> None:
    """If it was sent; a read is over then."""
    release = Hold()
    calls = {}
    for rpc in READS:
        upstream.answer(200, answer(GOLDEN[rpc]), wait=release)
        calls[rpc] = getattr(consignments_stub, rpc).future(REQUESTS[rpc], timeout=2.0)
        upstream.next_request()
    for expired in calls.values():
        found = failure(expired.result)
        assert (found.code, found.reason) == (StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    release.set()

    release = Hold()
    cases = {rpc: (REQUESTS[rpc], Reply(500, wait=release)) for rpc in WRITES}
    for found in in_doubt(consignments_stub, upstream, cases).values():
        assert (found.code, found.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
        assert found.metadata == {"effect": "unknown"}
    release.set()


@pytest.mark.parametrize(
    ("rpc", "code", "kind", "name"),
    [
        (WRITE, "ServiceGroupNotFoundException", "ServiceGroup", "valuableGoods"),
        (BULK, "CarrierServiceGroupNotFoundForCustomerException", "ServiceGroup", "SGREF01"),
        (
            "AllocateConsignmentsWithCarrierService",
            "MpdCarrierServiceNotFoundException",
            "CarrierService",
            "Example-Carrier-Service",
        ),
        ("AllocateConsignmentWithQuote", "MpdCarrierServiceNotFoundException", None, None),
        (READ, "SampleErrorCode", "Consignment", CONSIGNMENT),
        ("GetConsignmentQuotes", "SampleErrorCode", "Consignment", QUOTED),
        ("DeallocateConsignment", "SampleErrorCode", "Consignment", CONSIGNMENT),
    ],
)
def test_what_upstream_does_not_know_is_named_if_the_request_names_it(
    consignments_stub: ConsignmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    code: str,
    kind: str | None,
    name: str | None,
) -> None:
    """And nothing else is: a request may not tell which one it is."""
    upstream.answer(404, api_error(code))

    info = refused(consignments_stub, REQUESTS[rpc]).detail(error_details_pb2.ResourceInfo)

    if kind is None:
        assert info is None
    else:
        assert info is not None
        assert (info.resource_type, info.resource_name) == (f"allocation.v1.{kind}", name)


def test_a_404_that_does_not_say_what_is_missing_names_nothing(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream
) -> None:
    """It may be the group or the consignment."""
    upstream.answer(404, api_error())
    upstream.answer(503)

    found = refused(consignments_stub, REQUESTS[WRITE])

    assert found.reason == "RESOURCE_NOT_FOUND"
    assert found.detail(error_details_pb2.ResourceInfo) is None


DETAIL: Final = {"Code": "Invalid", "Target": "ConsignmentReferences", "Message": "No good."}


def at_fault(target: str | None) -> dict[str, Any]:
    return api_error("Validation", {**DETAIL, "Target": target})


@pytest.mark.parametrize(
    ("body", "violations"),
    [
        (api_error("Validation", DETAIL), [("consignments", "No good.")]),
        (
            api_error("Validation", DETAIL, {**DETAIL, "Message": ""}),
            [("consignments", "No good."), ("consignments", "Invalid")],
        ),
        (at_fault("$.consignmentReferences[1].Value"), [("consignments[1]", "No good.")]),
        (at_fault("MpdCarrierServiceReference"), [("", "No good.")]),
        (at_fault("Something"), [("", "No good.")]),
        (at_fault(None), [("", "No good.")]),
        (api_error("Validation"), [("", "ServiceGroupNotFoundException: Item {reference} not found")]),
        ({"statusCode": 400, "message": "The header is missing."}, [("", "The header is missing.")]),
        ({}, []),
    ],
)
def test_what_upstream_says_of_an_invalid_request_is_told(
    consignments_stub: ConsignmentAllocationServiceStub,
    upstream: Upstream,
    body: object,
    violations: list[tuple[str, str]],
) -> None:
    """By our name for what is at fault, if the request has it."""
    upstream.answer(400, body)

    told = refused(consignments_stub, ALONE).detail(error_details_pb2.BadRequest)

    assert told is not None
    assert [(item.field, item.description) for item in told.field_violations] == violations


def test_a_code_in_the_details_decides_before_the_one_above_them(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream
) -> None:
    """And is the one that is told."""
    upstream.answer(400, api_error("Validation", DETAIL, {"Code": "ServiceGroupNotFoundException"}))

    found = refused(consignments_stub, ALONE)

    assert (found.reason, found.metadata["upstream_code"]) == (
        "SERVICE_GROUP_NOT_FOUND",
        "ServiceGroupNotFoundException",
    )


def test_the_key_never_comes_back_even_if_upstream_quotes_it(
    consignments_stub: ConsignmentAllocationServiceStub, upstream: Upstream
) -> None:
    """The documented text of a wrong key repeats it."""
    text = f"API key '{CONSIGNMENTS_KEY}' is not valid"
    upstream.answer(400, {**api_error(), "Message": text})
    violations = refused(consignments_stub, ALONE).detail(error_details_pb2.BadRequest)
    assert violations is not None
    assert violations.field_violations[0].description == "API key '********' is not valid"

    upstream.answer(401, {"Code": "InvalidApiKeyException", "Message": text, "CorrelationId": CONSIGNMENTS_KEY})
    assert CONSIGNMENTS_KEY not in f"{refused(consignments_stub, REQUESTS[READ])}"

    upstream.answer(200, consignment(CONSIGNMENT, CONSIGNMENTS_KEY))
    assert call(consignments_stub, REQUESTS[READ]).allocation.state_text == "********"


# Gateways with one API, and settings


SHIP_READ: Final = ship_pb.GetShipmentAllocationRequest(shipment_reference="sp_1")


@contextmanager
def stubs(**settings: str) -> Iterator[tuple[ShipmentAllocationServiceStub, ConsignmentAllocationServiceStub]]:
    """Runs a gateway and returns its two stubs."""
    given = {"ALLOW_PLAINTEXT": "true", **settings}
    with running_gateway(given) as gateway, grpc.insecure_channel(gateway.address) as channel:
        yield ShipmentAllocationServiceStub(channel), ConsignmentAllocationServiceStub(channel)


def consignments_settings(upstream: Upstream) -> dict[str, str]:
    return {
        "CONSIGNMENTS_BASE_URL": f"http://127.0.0.1:{upstream.port}",
        "CONSIGNMENTS_API_KEY": CONSIGNMENTS_KEY,
    }


def test_a_gateway_with_ship_alone_refuses_every_call_for_consignments(upstream: Upstream) -> None:
    """It says which API is missing, and sends nothing; a request that is wrong is told that first."""
    with stubs(SHIP_BASE_URL=upstream.url, SHIP_API_KEY=KEY) as (ship, consignments):
        for rpc, request in REQUESTS.items():
            found = refused(consignments, request)
            assert (found.code, found.reason) == (PRECONDITION, "API_NOT_CONFIGURED")
            assert found.message == "The API that this rpc needs, consignments, is not configured in this gateway."
            assert found.metadata == ({"effect": "none"} if rpc in WRITES else {})
        assert refused(consignments, pb.AllocateConsignmentRequest()).reason == "INVALID_REQUEST"
        assert upstream.received.empty()

        upstream.answer(200, {"reference": "sp_1", "state": "unallocated"})
        assert ship.GetShipmentAllocation(SHIP_READ, timeout=20).allocation.state_text == "unallocated"


def test_a_gateway_with_consignments_alone_refuses_every_call_for_shipments(upstream: Upstream) -> None:
    """The other way round."""
    with stubs(**consignments_settings(upstream)) as (ship, consignments):
        for rpc, request in ship_table.REQUESTS.items():
            found = ship_table.refused(ship, request)
            assert (found.code, found.reason) == (PRECONDITION, "API_NOT_CONFIGURED")
            assert found.message == "The API that this rpc needs, ship, is not configured in this gateway."
            assert found.metadata == ({"effect": "none"} if rpc in ship_table.WRITES else {})
        assert upstream.received.empty()

        upstream.answer(200, consignment(CONSIGNMENT, "Allocated"))
        assert call(consignments, REQUESTS[READ]).allocation.state_text == "Allocated"


def test_both_apis_are_served_by_one_process_each_with_its_own_address_and_key(upstream: Upstream) -> None:
    """Neither key goes to the other's host."""
    with running_upstream() as other:
        settings = {"SHIP_BASE_URL": other.url, "SHIP_API_KEY": KEY, **consignments_settings(upstream)}
        with stubs(**settings) as (ship, consignments):
            other.answer(200, {"reference": "sp_1", "state": "unallocated"})
            ship.GetShipmentAllocation(SHIP_READ, timeout=20)
            upstream.answer(200, consignment(CONSIGNMENT, "Allocated"))
            call(consignments, REQUESTS[READ])

        first, second = other.next_request(), upstream.next_request()
        assert (first.line, second.line) == (
            "GET /pro/shipments/sp_1 HTTP/1.1",
            f"GET /consignments/{CONSIGNMENT} HTTP/1.1",
        )
        assert CONSIGNMENTS_KEY not in f"{first}"
        assert KEY not in f"{second}"


def test_the_key_may_come_from_a_file(upstream: Upstream, tmp_path: Path) -> None:
    """Without its line break."""
    file = tmp_path / "key"
    file.write_text(f"{CONSIGNMENTS_KEY}\n")
    settings = {**consignments_settings(upstream), "CONSIGNMENTS_API_KEY": "", "CONSIGNMENTS_API_KEY_FILE": str(file)}
    with stubs(**settings) as (_, consignments):
        upstream.answer(200, consignment(CONSIGNMENT, "Allocated"))
        call(consignments, REQUESTS[READ])

    assert upstream.next_request().headers["ocp-apim-subscription-key"] == CONSIGNMENTS_KEY


def test_operations_can_be_switched_off_one_by_one(upstream: Upstream) -> None:
    """Those that no guide of 2025 mentions, for example; the others are as before."""
    off = ["AllocateConsignmentsWithCarrierService", "AllocateConsignmentWithLabels", "GetConsignmentQuotes"]
    settings = {**consignments_settings(upstream), **ONE_ATTEMPT, "CONSIGNMENTS_DISABLED_OPERATIONS": ", ".join(off)}
    with stubs(**settings) as (_, consignments):
        for rpc in off:
            found = refused(consignments, REQUESTS[rpc])
            assert (found.code, found.reason) == (StatusCode.UNIMPLEMENTED, "OPERATION_DISABLED")
            assert found.metadata == ({"effect": "none"} if rpc in WRITES else {})
        # An earlier call with this id may have been carried out, before the operation was switched off.
        named = ship_table.changed(REQUESTS[off[0]], request_id=str(uuid.uuid4()))
        assert refused(consignments, named).metadata == {}
        assert upstream.received.empty()

        for rpc in set(REQUESTS) - set(off):
            upstream.answer(200, answer(GOLDEN[rpc]))
            call(consignments, REQUESTS[rpc])


def test_an_upstream_that_takes_too_long_is_given_up_after_its_own_timeout(upstream: Upstream) -> None:
    """CONSIGNMENTS_TIMEOUT bounds each request, however long the caller waits."""
    settings = {"CONSIGNMENTS_TIMEOUT": "0.3", "CONSIGNMENTS_MAX_ATTEMPTS": "1", "DEADLINE_MARGIN": "0.5"}
    with stubs(**consignments_settings(upstream), **settings) as (_, consignments):
        release = upstream.hold(200)
        found = refused(consignments, REQUESTS[READ])
        release.set()
        assert (found.code, found.reason) == (UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert "within 0.3 seconds" in found.message

        write = REQUESTS["AllocateConsignment"]
        release = Hold()
        found = in_doubt(consignments, upstream, {"it": (write, Reply(wait=release))})["it"]
        release.set()
        assert (found.code, found.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
        assert "within 0.3 seconds" in found.message


def test_an_answer_that_is_larger_than_the_setting_allows_is_not_read(upstream: Upstream) -> None:
    """CONSIGNMENTS_MAX_ANSWER_BYTES, after decompression."""
    with stubs(**consignments_settings(upstream), CONSIGNMENTS_MAX_ANSWER_BYTES="1000") as (_, consignments):
        upstream.answer(200, gzip.compress(b" " * 2_000 + b"{}"), headers={"content-encoding": "gzip"})
        assert "larger than 1000 bytes" in refused(consignments, REQUESTS[READ]).message

        upstream.answer(200, consignment(CONSIGNMENT, "Allocated"))
        call(consignments, REQUESTS[READ])


def test_an_upstream_that_cannot_be_reached_is_unavailable_and_nothing_was_done() -> None:
    """Nothing was sent."""
    settings = {"CONSIGNMENTS_BASE_URL": "http://127.0.0.1:1", "CONSIGNMENTS_API_KEY": CONSIGNMENTS_KEY}
    with stubs(**settings) as (_, consignments):
        found = refused(consignments, REQUESTS["AllocateConsignment"])

    assert (found.code, found.reason, found.metadata) == (UNAVAILABLE, "UPSTREAM_UNAVAILABLE", {"effect": "none"})


def test_an_unknown_method_of_the_service_is_not_the_gateways_error(scripted_channel: grpc.Channel) -> None:
    """It has no reason."""
    raw: Any = scripted_channel.unary_unary("/allocation.v1.ConsignmentAllocationService/AllocateAllByShipDate")

    found = failure(lambda: raw(b"", timeout=20))

    assert (found.code, found.reason) == (StatusCode.UNIMPLEMENTED, "")


CONSIGNMENTS_GOOD: Final = {"ALLOW_PLAINTEXT": "true", "PORT": "0", "CONSIGNMENTS_API_KEY": CONSIGNMENTS_KEY}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"CONSIGNMENTS_API_KEY": ""}, "SHIP_API_KEY: is required"),
        ({"CONSIGNMENTS_API_KEY": "key\nwith a line"}, "CONSIGNMENTS_API_KEY: holds characters that cannot be sent"),
        ({"CONSIGNMENTS_API_KEY_FILE": "/dev/null"}, "CONSIGNMENTS_API_KEY: must not be set together with"),
        (
            {"CONSIGNMENTS_API_KEY": "", "CONSIGNMENTS_API_KEY_FILE": "/no/such/file"},
            "CONSIGNMENTS_API_KEY_FILE: cannot be read",
        ),
        (
            {"CONSIGNMENTS_API_KEY": "", "CONSIGNMENTS_API_KEY_FILE": "/dev/null"},
            "CONSIGNMENTS_API_KEY_FILE: the file is empty",
        ),
        ({"CONSIGNMENTS_BASE_URL": "api.electioapp.com"}, "CONSIGNMENTS_BASE_URL: must be an http:// or https:// URL"),
        ({"CONSIGNMENTS_API_VERSION": "1\r\nx: 1"}, "CONSIGNMENTS_API_VERSION: holds characters that cannot be sent"),
        ({"CONSIGNMENTS_TIMEOUT": "0"}, "CONSIGNMENTS_TIMEOUT: must be a number above 0 and at most 86400"),
        (
            {"CONSIGNMENTS_CONNECT_TIMEOUT": "-1"},
            "CONSIGNMENTS_CONNECT_TIMEOUT: must be a number above 0 ",
        ),
        ({"CONSIGNMENTS_MAX_CONNECTIONS": "0"}, "CONSIGNMENTS_MAX_CONNECTIONS: must be a whole number of at least 1"),
        (
            {"CONSIGNMENTS_MAX_ANSWER_BYTES": "many"},
            "CONSIGNMENTS_MAX_ANSWER_BYTES: must be a whole number",
        ),
        ({"CONSIGNMENTS_MAX_REFERENCES": "0"}, "CONSIGNMENTS_MAX_REFERENCES: must be a whole number of at least 1"),
        (
            {"CONSIGNMENTS_DISABLED_OPERATIONS": "AllocateShipment"},
            "CONSIGNMENTS_DISABLED_OPERATIONS: there is no operation 'AllocateShipment'",
        ),
        (
            {"SHIP_DISABLED_OPERATIONS": "AllocateConsignment"},
            "SHIP_DISABLED_OPERATIONS: there is no operation 'AllocateConsignment'",
        ),
        (
            {"CONSIGNMENTS_ROUTES": "AllocateConsignment=post"},
            "CONSIGNMENTS_ROUTES: AllocateConsignment has no spelling 'post', only default",
        ),
    ],
)
def test_a_wrong_setting_stops_the_process_with_one_line_that_names_it(settings: dict[str, str], line: str) -> None:
    """Before its port opens. None configured names the settings of both."""
    done = subprocess.run(
        [COMMAND, "serve"],
        env=environment({**CONSIGNMENTS_GOOD, **settings}),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"allocation-gateway: ALLOCATION_GATEWAY_{line}")
    if line.startswith("SHIP_API_KEY"):
        assert "ALLOCATION_GATEWAY_CONSIGNMENTS_API_KEY" in done.stderr
