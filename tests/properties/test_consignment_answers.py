"""Whatever the Consignments API answers, also to a further reading, a caller gets a typed response or a typed error."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation_gateway import errors
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations import consignments
from allocation_gateway.upstream import follow_up, reply
from allocation_gateway.upstream.failures import no_answer
from allocation_gateway.upstream.http import Answer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mapping.consignments import (
    BULKS,
    CONSIGNMENT,
    CONSIGNMENTS,
    GOLDEN,
    LABELS,
    QUOTED,
    REQUESTS,
    SINGLES,
    WRITES,
    answer,
    answering,
    expected,
    response,
)
from mapping.table import same
from properties.answers import (
    EFFECTS,
    HEADERS,
    REASONS,
    REPLACEMENTS,
    STATUS,
    STATUSES,
    TELLTALES,
    check_error,
    mutated,
    named,
    places,
    resolving,
    trailers,
)
from support.status import failure_of

if TYPE_CHECKING:
    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from allocation_gateway.operations.model import Operation
    from google.protobuf.message import Message
    from support.upstream import Upstream

ROWS: Final = consignments.ROWS
BY_NAME: Final = {operation.name: operation for operation in ROWS}
LISTS: Final = (*BULKS, "DeallocateConsignments")


def outcome(operation: Operation, request: Message, received: Answer) -> Message | GatewayError:
    """Reads an answer, and checks what holds whatever it is."""
    try:
        got = reply.read(operation, request, received)
    except GatewayError as error:
        check_error(operation, received, error)
        return error
    check_response(operation, request, got)
    return got


def check_response(operation: Operation, request: Any, got: Any) -> None:
    """Checks what holds for every response."""
    if operation is consignments.LABEL:
        assert got.content
        return
    assert type(got) is getattr(pb, f"{operation.name}Response")
    assert type(got).FromString(got.SerializeToString()) == got
    if operation.name in LISTS:
        assert [item.consignment_reference for item in got.results] == list(request.consignments)
        for item in got.results:
            assert item.outcome in {pb.OUTCOME_DONE, pb.OUTCOME_REJECTED, pb.OUTCOME_UNKNOWN}
            assert (item.reason != 0) == (item.outcome == pb.OUTCOME_REJECTED)
            is_allocated = item.outcome == pb.OUTCOME_DONE and operation.name in BULKS
            assert item.HasField("allocation") == is_allocated
    elif operation.name != "GetConsignmentQuotes" and operation.name != "DeallocateConsignment":
        assert got.allocation.consignment_reference.casefold() == request.consignment_reference.casefold()
    if operation.name == LABELS:
        ways_out = [item for item in got.labels if item.label_type != pb.LABEL_TYPE_RETURN]
        assert all(item.content for item in got.labels)
        assert ways_out or got.HasField("label_error")


# Documents


KEYS: Final = (
    *("StatusCode", "ApiLinks", "Rel", "Href", "Description", "ConsignmentLegs", "Leg", "TrackingReferences"),
    *("TrackingReference", "CarrierReference", "CarrierName", "CarrierServiceReference", "CarrierServiceName"),
    *("IsSuccess", "Message", "Data", "Code", "CorrelationId", "Details", "Target", "statusCode", "message"),
    *("Responses", "LabelType", "LabelContent", "LabelFileType", "Result", "File", "ContentType"),
    *("Reference", "ConsignmentState", "Allocation", "FailedAllocation", "AllocationDate", "Price", "Net", "Gross"),
    *("TaxRate", "Rate", "VatAmount", "TaxAmount", "Currency", "IsoCode", "AttemptedAllocationDate"),
    *("QuoteRequestReference", "Quotes", "QuoteReference", "MpdCarrierServiceSource", "Surcharges", "Amount", "Type"),
    *("UnqualifiedServices", "Available", "Rates", "ExpiryDate", "ConsignmentReference", "CalculationModel"),
)
REFERENCES: Final = (*CONSIGNMENTS, QUOTED, CONSIGNMENT, "EC-000-999-999")
TEXTS: Final = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["Allocated", "AllocationFailed", "Unallocated", "Allocating", "External", "GBP", "detail"]),
    st.sampled_from(["ServiceGroupNotFoundException", "InvalidApiKeyException", "ConsignmentAllocationFailed"]),
    st.sampled_from(["ConsignmentAllocated", "Return", "Consignment", "YWJj", "2020-01-01T00:00:00Z", "\udcff"]),
    st.sampled_from([*REFERENCES, *(f"https://api.electioapp.com/consignments/{name}" for name in REFERENCES)]),
    st.sampled_from([f"Consignment {name} has been successfully allocated" for name in REFERENCES]),
    st.sampled_from(["https://[::1/consignments/a", "/consignments/", "/labels/package/%ff", "//", "?#"]),
)
NUMBERS: Final = st.integers() | st.sampled_from([0, 1, 2, 200, 202, 400, 404, 500])
DOCUMENTS: Final = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=8)
    ),
    max_leaves=30,
)
OPERATION: Final = st.sampled_from([*ROWS, consignments.LABEL])


def request_of(operation: Operation) -> Message:
    return REQUESTS[LABELS if operation is consignments.LABEL else operation.name]


@given(operation=OPERATION, status=STATUS, body=DOCUMENTS, retry_after=HEADERS)
@settings(max_examples=800)
def test_any_json_becomes_a_response_or_an_error(
    operation: Operation, status: int, body: object, retry_after: str
) -> None:
    """Under any status, for any operation."""
    headers = httpx.Headers([(b"Retry-After", retry_after.encode("latin-1"))])

    outcome(operation, request_of(operation), Answer(status, headers, json.dumps(body).encode()))


@given(
    operation=OPERATION,
    status=STATUS,
    body=st.binary(max_size=200)
    | st.text().map(str.encode)
    | st.sampled_from([b"", b"null", b'""', b" ", b"[" * 5_000, b"1" * 9_999]),
    problem=st.sampled_from(["", "the body ended early"]),
)
@settings(max_examples=600)
def test_any_bytes_become_a_response_or_an_error(operation: Operation, status: int, body: bytes, problem: str) -> None:
    """Whether or not they are JSON, text, or there at all."""
    outcome(operation, request_of(operation), Answer(status, {}, b"" if problem else body, problem))


@pytest.mark.parametrize("operation", ROWS, ids=lambda operation: operation.name)
def test_every_operation_answers_every_status(operation: Operation) -> None:
    """With no body, with its golden one, and with an error that nobody knows."""
    for status in range(100, 1_000):
        for body in (b"", b"{}", b'{"Code":"New"}', b'{"statusCode":1}', answer(GOLDEN[operation.name]), b"<html>"):
            outcome(operation, REQUESTS[operation.name], Answer(status, {}, body))


# Mutations of the golden answers


FIXTURES: Final = {
    **{rpc: [name] for rpc, name in GOLDEN.items() if answer(name)},
    "GetConsignmentAllocation": ["consignment_allocated", "consignment_failed"],
    LABELS: ["labels", "labels_both_ways"],
}


def load(name: str) -> Any:
    return json.loads(answer(name))


@pytest.mark.parametrize("rpc", FIXTURES)
def test_no_single_change_of_a_golden_answer_breaks_anything(rpc: str) -> None:
    """Each node is dropped and replaced by each other kind of value."""
    operation, request = BY_NAME[rpc], REQUESTS[rpc]
    outcomes = set()
    for name in FIXTURES[rpc]:
        document = load(name)
        for path in places(document):
            for replacement in REPLACEMENTS:
                body = json.dumps(mutated(document, path, replacement)).encode()
                got = outcome(operation, request, Answer(200, {}, body))
                outcomes.add(type(got))
                if rpc in LISTS and not isinstance(got, GatewayError):
                    _check_the_others(got, path)

    # One bad item of a bulk answer does not cost the others. Elsewhere some changes are borne, and others are told.
    kind = type(response(rpc, ""))
    assert outcomes == ({kind} if rpc in LISTS else {kind, GatewayError})


def _check_the_others(got: Any, path: tuple[Any, ...]) -> None:
    """Checks that a change within one item of a bulk answer leaves the others as they are."""
    if len(path) > 1:
        others = [item.outcome for index, item in enumerate(got.results) if index != path[0]]
        assert others == [pb.OUTCOME_DONE] * 2, path


@given(data=st.data(), rpc=st.sampled_from(sorted(FIXTURES)), status=STATUS)
@settings(max_examples=200)
def test_no_number_of_changes_of_a_golden_answer_breaks_anything(data: st.DataObject, rpc: str, status: int) -> None:
    """Several nodes at once, under any status."""
    document = load(data.draw(st.sampled_from(FIXTURES[rpc])))
    for _ in range(data.draw(st.integers(1, 6))):
        paths = list(places(document))
        if not paths:
            break
        document = mutated(
            document, data.draw(st.sampled_from(paths)), data.draw(st.sampled_from(REPLACEMENTS) | DOCUMENTS)
        )

    outcome(BY_NAME[rpc], REQUESTS[rpc], Answer(status, {}, json.dumps(document).encode()))


@given(data=st.data(), rpc=st.sampled_from(sorted(FIXTURES)))
@settings(max_examples=200)
def test_a_golden_answer_that_is_cut_anywhere_is_no_answer(data: st.DataObject, rpc: str) -> None:
    """A part of an answer is never taken for the whole."""
    body = answer(GOLDEN[rpc]).rstrip()
    cut = body[: data.draw(st.integers(0, len(body) - 1))]

    got = outcome(BY_NAME[rpc], REQUESTS[rpc], Answer(200, {}, cut))

    assert isinstance(got, GatewayError)
    assert got.reason_name == "UPSTREAM_CONTRACT_BROKEN"
    assert got.info.get("effect") == ("unknown" if rpc in WRITES else None)


def test_a_golden_answer_without_a_change_is_the_golden_response() -> None:
    """What the mutations start from is right."""
    for rpc, name in GOLDEN.items():
        got = outcome(BY_NAME[rpc], REQUESTS[rpc], Answer(200, {}, answer(name)))

        assert not isinstance(got, GatewayError)
        same(got, response(rpc, expected(name)))


# Further readings


def completed(operation: Operation, request: Message, first: Answer, readings: list[Answer | None]) -> Any:
    """Reads an answer and what is read after it, as a call does. Returns the response, or the error in its place."""

    async def run() -> Message | GatewayError:
        begun: Message | GatewayError
        try:
            begun = reply.read(operation, request, first)
        except GatewayError as error:
            begun = error

        async def read(row: Operation, wanted: Message) -> Message | GatewayError:
            given = readings.pop() if readings else None
            if given is None:
                return no_answer(row, "there was none", sent=True)
            try:
                return reply.read(row, wanted, given)
            except GatewayError as error:
                return error

        return await follow_up.complete(operation, request, begun, read)

    return asyncio.run(run())


STANDINGS: Final = st.builds(
    lambda reference, state, failed: {"Reference": reference, "ConsignmentState": state, "FailedAllocation": failed},
    st.sampled_from(REFERENCES),
    st.sampled_from(["Allocated", "AllocationFailed", "Unallocated", "Allocating", "Manifested", "New", ""]),
    st.none() | st.just({"Message": "é" * 9_000}) | DOCUMENTS,
)
ANSWERS: Final = st.builds(
    lambda status, body: Answer(status, {}, body),
    STATUS | st.sampled_from([200, 202, 400, 404]),
    st.one_of(
        (DOCUMENTS | STANDINGS).map(lambda document: json.dumps(document).encode()),
        st.sampled_from([b"", b"null", *(answer(name) for name in sorted(set(GOLDEN.values())))]),
        st.sampled_from([b'{"Code":"x"}', b'[{"IsSuccess":false}]', b'{"File":"YWJj","ContentType":"x"}']),
    ),
)


@given(
    operation=st.sampled_from([operation for operation in ROWS if operation.follow_up is not None]),
    first=ANSWERS,
    readings=st.lists(st.none() | ANSWERS, max_size=4),
)
@settings(max_examples=800)
@example(BY_NAME["AllocateConsignment"], Answer(202, {}, b""), [])
def test_no_further_reading_turns_an_answer_into_anything_but_a_better_one(
    operation: Operation, first: Answer, readings: list[Answer | None]
) -> None:
    """What upstream said was done stays done, and what was refused is never told as done in vain."""
    request = REQUESTS[operation.name]
    before = outcome(operation, request, first)

    after = completed(operation, request, first, list(readings))

    if isinstance(after, GatewayError):
        status = after.status()
        assert errors.wire_size(status) <= errors.TRAILER_BUDGET
        assert after.reason_name in REASONS
        assert after.info["effect"] in EFFECTS
        assert not any(telltale in status.message for telltale in TELLTALES)
        if not isinstance(before, GatewayError):
            # Upstream had only accepted it, and it turned out to have failed, then or before.
            assert operation.name in SINGLES
            assert before.allocation == pb.ConsignmentAllocation(  # type: ignore[attr-defined]
                consignment_reference=request.consignment_reference  # type: ignore[attr-defined]
            )
            assert (after.reason_name, after.info["effect"]) == ("ALLOCATION_FAILED", "unknown")
        return
    check_response(operation, request, after)
    if isinstance(before, GatewayError):
        # Only a label can have been refused although the consignment is allocated.
        assert operation.name == LABELS
        assert before.info["effect"] == "none"
        return
    if operation.name in LISTS:
        assert [item.outcome for item in after.results] == [item.outcome for item in before.results]  # type: ignore[attr-defined]


# Over the wire


def over_the_wire(stub: Stub, rpc: str) -> None:
    """Makes a call, and checks that it ends in one of the two ways."""
    try:
        request = named(rpc, REQUESTS[rpc])
        got: Message = getattr(stub, rpc)(request, timeout=20)
    except grpc.RpcError as error:
        failed = error
    else:
        check_response(BY_NAME[rpc], request, got)
        return
    found = failure_of(failed)
    assert found.reason in REASONS, found
    assert trailers(failed) < 6_000
    assert not any(telltale in found.message for telltale in TELLTALES), found.message
    assert (found.metadata.get("effect") in EFFECTS) == (rpc in WRITES)


@given(
    rpc=st.sampled_from(sorted(REQUESTS)),
    status=st.sampled_from(STATUSES),
    body=DOCUMENTS,
    reading=st.tuples(st.sampled_from(STATUSES), DOCUMENTS | STANDINGS),
)
@settings(max_examples=150)
def test_any_json_over_the_wire_becomes_a_response_or_an_error(
    consignments_stub: Stub, upstream: Upstream, rpc: str, status: int, body: object, reading: tuple[int, object]
) -> None:
    """The same through the whole gateway, with whatever the further readings find."""
    upstream.forget()
    bodiless = {204, 205, 304}
    upstream.answer(status, b"" if status in bodiless else body)
    upstream.answer(reading[0], b"" if reading[0] in bodiless else reading[1])
    with answering(upstream, resolving(REQUESTS[rpc])):
        over_the_wire(consignments_stub, rpc)


@given(
    rpc=st.sampled_from(sorted(REQUESTS)),
    raw=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail),
        st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\n" + tail),
        st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + tail),
    ),
)
@settings(max_examples=150)
def test_any_bytes_over_the_wire_become_a_response_or_an_error(
    consignments_stub: Stub, upstream: Upstream, rpc: str, raw: bytes
) -> None:
    """Bytes of any kind, then the end of the connection."""
    upstream.forget()
    upstream.answer(raw=raw, close=True)
    upstream.answer(raw=b"", close=True)
    with answering(upstream, resolving(REQUESTS[rpc])):
        over_the_wire(consignments_stub, rpc)
