"""Whatever upstream answers, a caller gets a typed response or a typed error, and never the text of an exception."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations import ship
from allocation_gateway.upstream import reply
from allocation_gateway.upstream.http import Answer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mapping.consignments import answering
from mapping.table import BULKS, GOLDEN, REQUESTS, SHIPMENTS, SINGLES, WRITES, answer, expected, response, same
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
from support.status import Failure, failure_of

if TYPE_CHECKING:
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from allocation_gateway.operations.model import Operation
    from google.protobuf.message import Message
    from support.upstream import Upstream

SHIP: Final = ship.ROWS
BY_NAME: Final = {operation.name: operation for operation in SHIP}


def outcome(operation: Operation, request: Message, received: Answer) -> Message | GatewayError:
    """Reads an answer, and checks what holds whatever it is."""
    try:
        got = reply.read(operation, request, received)
    except GatewayError as error:
        check_error(operation, received, error)
        return error
    assert type(got) is getattr(pb, f"{operation.name}Response")
    assert type(got).FromString(got.SerializeToString()) == got
    _check_response(operation, request, got)
    return got


def _check_response(operation: Operation, request: Message, got: Any) -> None:
    if operation.name in BULKS:
        told = {*got.queued, *(item.shipment_reference for item in got.allocations), *got.unaccounted}
        told |= {reference for item in got.rejected for reference in item.references}
        assert set(request.shipments) <= told, "a shipment was dropped"  # type: ignore[attr-defined]
    elif operation.name in (*SINGLES, "GetShipmentAllocation"):
        assert got.allocation.shipment_reference == request.shipment_reference  # type: ignore[attr-defined]
        if operation.name in SINGLES:
            assert got.allocation.state != core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED


# Documents


KEYS: Final = (
    *("reference", "shipment_reference", "state", "price", "net", "gross", "currency", "taxes", "rate", "amount"),
    *("value", "carrier", "tags", "tracking_details", "shipment", "contents", "tracking_references", "_links", "href"),
    *("code", "details", "message", "property", "correlation_id", "excluded_services", "exclusion", "reason"),
    *("queued", "rejected", "references", "shipments", "quotes", "surcharges", "allocation", "allocation_date"),
    *("shipping_date", "start", "end", "has_value", "paperless_documents", "usage_type", "base_application", "base"),
)
TEXTS: Final = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["allocated", "Allocated", "allocation_failed", "unallocated", "GBP", "2020-01-01T00:00:00Z"]),
    st.sampled_from(["validation_error", "shipment_not_found", "processing", "rule_conflict", "not_found", "gone"]),
    st.sampled_from([*SHIPMENTS, "sp_00794403010635468411384028069888", "shipments", "$.shipments[0]", "\udcff"]),
)
DOCUMENTS: Final = st.recursive(
    st.none() | st.booleans() | TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=8)
    ),
    max_leaves=30,
)
OPERATION: Final = st.sampled_from(SHIP)


@given(operation=OPERATION, status=STATUS, body=DOCUMENTS, retry_after=HEADERS)
@settings(max_examples=800)
def test_any_json_becomes_a_response_or_an_error(
    operation: Operation, status: int, body: object, retry_after: str
) -> None:
    """Under any status, for any operation."""
    headers = httpx.Headers([(b"Retry-After", retry_after.encode("latin-1"))])

    outcome(operation, REQUESTS[operation.name], Answer(status, headers, json.dumps(body).encode()))


@given(
    operation=OPERATION,
    status=STATUS,
    body=st.binary(max_size=200)
    | st.text().map(str.encode)
    | st.sampled_from([b"", b"null", b"[" * 5_000, b"1" * 9_999]),
    problem=st.sampled_from(["", "the body ended early"]),
)
@settings(max_examples=600)
def test_any_bytes_become_a_response_or_an_error(operation: Operation, status: int, body: bytes, problem: str) -> None:
    """Whether or not they are JSON, text, or there at all."""
    outcome(operation, REQUESTS[operation.name], Answer(status, {}, b"" if problem else body, problem))


@pytest.mark.parametrize("operation", SHIP, ids=lambda operation: operation.name)
def test_every_operation_answers_every_status(operation: Operation) -> None:
    """With no body, with its golden one, and with an error that nobody knows."""
    for status in range(100, 1_000):
        for body in (b"", b"{}", b'{"code":"new_code"}', answer(GOLDEN[operation.name]), b"<html>"):
            outcome(operation, REQUESTS[operation.name], Answer(status, {}, body))


# Mutations of the golden answers


def load(name: str) -> Any:
    return json.loads(answer(name))


FIXTURES: Final = {rpc: [name] for rpc, name in GOLDEN.items()}
FIXTURES["GetShipmentAllocation"] = ["shipment_allocated", "shipment_unallocated"]


@pytest.mark.parametrize("rpc", REQUESTS)
def test_no_single_change_of_a_golden_answer_breaks_anything(rpc: str) -> None:
    """Each node is dropped and replaced by each other kind of value, and nothing is read that is not there."""
    operation, request = BY_NAME[rpc], REQUESTS[rpc]
    if rpc == "AllocateShipments":
        documents = [load("bulk_default_rules"), [load("service_group"), load("service_group")]]
    else:
        documents = [load(GOLDEN[rpc])]
    outcomes = set()
    for document in documents:
        for path in places(document):
            for replacement in REPLACEMENTS:
                body = json.dumps(mutated(document, path, replacement)).encode()
                got = outcome(operation, request, Answer(200, {}, body))
                outcomes.add(type(got))
                if rpc in (*SINGLES, "DeallocateShipment") and isinstance(got, GatewayError):
                    _check_effect(rpc, path, got)

    # One bad part of an answer of many parts does not cost the others. Elsewhere there is something that decides.
    kind = type(response(rpc, ""))
    assert outcomes == ({kind} if rpc in (*BULKS, "AllocateShipmentsWithFilters") else {kind, GatewayError})


def _check_effect(rpc: str, path: tuple[Any, ...], error: GatewayError) -> None:
    """Checks that a write which upstream says was made is told as made, whatever else is wrong with the answer."""
    decisive = {"shipment_reference", "reference", "state"} if len(path) == 1 else set()
    if path[0] in decisive:
        return
    assert error.info["effect"] == "made", path
    assert (error.allocation is not None) == (rpc in SINGLES)
    if error.allocation is not None and path[0] != "price":
        assert error.allocation.HasField("price"), "a price that is right is kept"


@given(data=st.data(), rpc=st.sampled_from(sorted(REQUESTS)), status=STATUS)
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


@given(data=st.data(), rpc=st.sampled_from(sorted(REQUESTS)))
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


# Over the wire


def over_the_wire(stub: ShipmentAllocationServiceStub, rpc: str) -> Message | Failure:
    """Makes a call, and checks that it ends in one of the two ways."""
    try:
        got: Message = getattr(stub, rpc)(named(rpc, REQUESTS[rpc]), timeout=20)
    except grpc.RpcError as error:
        failed = error
    else:
        return got
    found = failure_of(failed)
    assert found.reason in REASONS, found
    assert trailers(failed) < 6_000
    assert not any(telltale in found.message for telltale in TELLTALES), found.message
    assert (found.metadata.get("effect") in EFFECTS) == (rpc in WRITES)
    return found


@given(rpc=st.sampled_from(sorted(REQUESTS)), status=st.sampled_from(STATUSES), body=DOCUMENTS, retry_after=HEADERS)
@settings(max_examples=150)
def test_any_json_over_the_wire_becomes_a_response_or_an_error(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, status: int, body: object, retry_after: str
) -> None:
    """The same through the whole gateway."""
    upstream.forget()
    clean = "".join(letter for letter in retry_after if letter.isprintable() and letter.isascii())
    bodiless = status in {204, 205, 304}
    # With these two it would hold back all calls for as long as it says.
    headers = {} if status in {429, 503} else {"Retry-After": clean.strip()}
    upstream.answer(status, b"" if bodiless else body, headers=headers)

    with answering(upstream, resolving(REQUESTS[rpc])):
        over_the_wire(stub, rpc)


@given(
    rpc=st.sampled_from(sorted(REQUESTS)),
    status=st.sampled_from(STATUSES),
    body=st.binary(max_size=300),
    headers=st.fixed_dictionaries(
        {},
        optional={
            "content-encoding": st.sampled_from(["gzip", "gzipped", "br", "deflate", "identity", "", "gzip, gzip"]),
            "content-type": st.sampled_from(["text/html", "application/json; charset=utf-16", ""]),
            "content-length": st.sampled_from(["0", "1", "1000000"]),
            "set-cookie": st.just("a=b"),
            "location": st.just("http://127.0.0.1:1/elsewhere"),
        },
    ),
)
@settings(max_examples=150)
def test_any_body_over_the_wire_becomes_a_response_or_an_error(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    status: int,
    body: bytes,
    headers: dict[str, str],
) -> None:
    """With a length, an encoding or a type that is not true, and with a connection that ends in between."""
    upstream.forget()
    upstream.answer(status, body, headers=headers, close=True)

    with answering(upstream, resolving(REQUESTS[rpc])):
        over_the_wire(stub, rpc)


@given(
    rpc=st.sampled_from(sorted(REQUESTS)),
    raw=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail),
        st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + tail),
    ),
)
@settings(max_examples=150)
@example("AllocateShipment", b"")
@example("AllocateShipment", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n")
@example("AllocateShipment", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n{}")
@example("AllocateShipment", b"HTTP/2 200\r\n\r\n{}")
@example("AllocateShipments", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
@example("GetShipmentAllocation", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00")
def test_anything_that_is_no_http_is_no_answer(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, raw: bytes
) -> None:
    """Bytes of any kind, then the end of the connection. What became of a write is read then."""
    upstream.forget()
    upstream.answer(raw=raw, close=True)

    with answering(upstream, resolving(REQUESTS[rpc])):
        found: Any = over_the_wire(stub, rpc)

    if rpc in SINGLES and not isinstance(found, Failure):
        assert found.allocation.reconciled
