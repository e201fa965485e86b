"""The quirks of what is sent to the Consignments API: paths, bodies and headers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from conftest import CONSIGNMENTS_KEY
from mapping.consignments import (
    BULKS,
    CONSIGNMENT,
    GOLDEN,
    QUOTED,
    REQUESTS,
    answer,
    call,
    consignment,
    headers,
    lines,
    message,
    summary,
)
from mapping.table import changed

if TYPE_CHECKING:
    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from mapping.conftest import ConfiguredConsignments
    from support.upstream import Upstream

SEGMENTS: Final = {
    "plain": ("valuableGoods", "valuableGoods"),
    "unreserved": ("aZ09-._~", "aZ09-._~"),
    "space": ("next day", "next%20day"),
    "slash": ("a/b", "a%2Fb"),
    "plus": ("a+b", "a%2Bb"),
    "percent sign": ("100%", "100%25"),
    "question mark and hash": ("a?b=c#d", "a%3Fb%3Dc%23d"),
    "umlaut": ("größe", "gr%C3%B6%C3%9Fe"),
    "emoji": ("🚚", "%F0%9F%9A%9A"),
    "already encoded slash": ("a%2Fb", "a%252Fb"),
    "dots inside": ("a/../b", "a%2F..%2Fb"),
    "three dots": ("...", "..."),
    "control characters": ("a\r\n\t\0b", "a%0D%0A%09%00b"),
    "longest": ("é" * 255, "%C3%A9" * 255),
}

_LABELS: Final = "AllocateConsignmentWithLabels"
# Each rpc with a reference in its path, the field, and the path around it.
PLACES: Final = (
    ("AllocateConsignment", "consignment_reference", "PUT /allocation/{}/allocatewithcheapestquote"),
    (
        "AllocateConsignmentWithServiceGroup",
        "consignment_reference",
        "PUT /allocation/{}/allocatewithservicegroup/valuableGoods",
    ),
    (
        "AllocateConsignmentWithServiceGroup",
        "service_group",
        f"PUT /allocation/{QUOTED}/allocatewithservicegroup/{{}}",
    ),
    ("AllocateConsignmentWithQuote", "quote_reference", f"PUT /allocation/{QUOTED}/allocatewithquote/{{}}"),
    (_LABELS, "consignment_reference", "PUT /allocation/{}/labels/PDF"),
    (_LABELS, "carrier_service_reference", f"PUT /allocation/{CONSIGNMENT}/carrierservice/{{}}/labels/PDF"),
    (_LABELS, "service_group", f"PUT /allocation/{CONSIGNMENT}/servicegroup/{{}}/labels/PDF"),
    (_LABELS, "quote_reference", f"PUT /allocation/{CONSIGNMENT}/quote/{{}}/labels/PDF"),
    ("DeallocateConsignment", "consignment_reference", "PUT /consignments/{}/deallocate"),
    ("GetConsignmentAllocation", "consignment_reference", "GET /consignments/{}"),
    ("GetConsignmentQuotes", "consignment_reference", "GET /quotes/consignment/{}"),
)


@pytest.mark.parametrize(("reference", "segment"), SEGMENTS.values(), ids=SEGMENTS.keys())
@pytest.mark.parametrize(("rpc", "field", "line"), PLACES, ids=[f"{rpc}.{field}" for rpc, field, _ in PLACES])
def test_a_reference_is_one_path_segment_whatever_is_in_it(
    consignments_stub: Stub,
    upstream: Upstream,
    rpc: str,
    field: str,
    line: str,
    reference: str,
    segment: str,
) -> None:
    """Every character that is not unreserved is percent-encoded, and what looks encoded is encoded again."""
    request = changed(REQUESTS[rpc], **{field: reference})
    item = summary("", ApiLinks=[], Description="Done.", CarrierServiceReference="S")
    bodies: dict[str, object] = {
        _LABELS: answer("labels"),
        "GetConsignmentAllocation": consignment(request.consignment_reference, "Unallocated"),
        "GetConsignmentQuotes": {"QuoteRequestReference": "q"},
        "DeallocateConsignment": b"",
    }
    upstream.answer(200, bodies.get(rpc, item))

    call(consignments_stub, request)

    assert lines(upstream) == [line.format(segment)]


@pytest.mark.parametrize("name", ["PDF", "PNG", "ZPL", "ZPLII"])
def test_a_label_format_is_the_last_segment_of_its_path(consignments_stub: Stub, upstream: Upstream, name: str) -> None:
    """In upstream's own spelling, which is the enum's without its prefix."""
    upstream.answer(200, answer("labels"))

    request = changed(REQUESTS[_LABELS], label_format=pb.LabelFormat.Value(f"LABEL_FORMAT_{name}"))
    call(consignments_stub, request)

    assert lines(upstream) == [f"PUT /allocation/{CONSIGNMENT}/labels/{name}"]


def test_label_formats_are_the_four_documented_ones() -> None:
    """One that is added has to be tested above."""
    assert [name.removeprefix("LABEL_FORMAT_") for name in pb.LabelFormat.keys()] == [  # noqa: SIM118 - no mapping
        "UNSPECIFIED",
        "PDF",
        "PNG",
        "ZPL",
        "ZPLII",
    ]


@pytest.mark.parametrize("rpc", REQUESTS)
def test_every_request_has_the_required_headers(consignments_stub: Stub, upstream: Upstream, rpc: str) -> None:
    """The key, the version, JSON both ways and gzip: on every method, with and without a body."""
    upstream.answer(200, answer(GOLDEN[rpc]))

    call(consignments_stub, REQUESTS[rpc])

    received = upstream.next_request()
    assert received.headers == headers(upstream, CONSIGNMENTS_KEY, received.line.split(" ")[0], received.body)
    assert received.headers["ocp-apim-subscription-key"] == CONSIGNMENTS_KEY
    assert "x-api-key" not in received.headers


def test_a_further_reading_has_the_same_headers(consignments_stub: Stub, upstream: Upstream) -> None:
    """It is a request like any other."""
    upstream.answer(202)
    now = datetime.now(UTC).isoformat()
    upstream.answer(200, consignment(QUOTED, "Allocated", Allocation={"AllocationDate": now}))

    call(consignments_stub, REQUESTS["AllocateConsignment"])

    upstream.next_request()
    received = upstream.next_request()
    assert received.line == f"GET /consignments/{QUOTED} HTTP/1.1"
    assert received.headers == headers(upstream, CONSIGNMENTS_KEY, "GET", b"")
    assert received.body == b""


@pytest.mark.parametrize("base", ["", "/", "/electio", "/electio/"])
def test_the_base_url_may_have_any_path_with_or_without_a_slash_at_its_end(
    configured_consignments: ConfiguredConsignments, upstream: Upstream, base: str
) -> None:
    """The path of the base URL is kept as it is, and exactly one slash follows it."""
    stub = configured_consignments(CONSIGNMENTS_BASE_URL=f"http://127.0.0.1:{upstream.port}{base}")
    upstream.answer(200, consignment("a/b", "Unallocated"))

    call(stub, pb.GetConsignmentAllocationRequest(consignment_reference="a/b"))

    assert lines(upstream) == [f"GET {base.rstrip('/')}/consignments/a%2Fb"]


def test_the_version_header_is_what_is_configured(
    configured_consignments: ConfiguredConsignments, upstream: Upstream
) -> None:
    """CONSIGNMENTS_API_VERSION is for callers who still have the first version."""
    upstream.answer(200, answer("consignment_allocated"))

    call(configured_consignments(CONSIGNMENTS_API_VERSION="1"), REQUESTS["GetConsignmentAllocation"])

    assert upstream.next_request().headers["electio-api-version"] == "1"


FILTERS: Final[dict[str, tuple[dict[str, Any], bytes]]] = {
    "only a direction": ({"direction": core_pb2.DIRECTION_INBOUND}, b'{"ServiceDirection":"Inbound"}'),
    "both false": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "pickup": False, "drop_off": False},
        b'{"ServiceDirection":"Outbound","IsPickup":false,"IsDropOff":false}',
    ),
    "both true": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "pickup": True, "drop_off": True},
        b'{"ServiceDirection":"Outbound","IsPickup":true,"IsDropOff":true}',
    ),
    "drop_off alone": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "drop_off": False},
        b'{"ServiceDirection":"Outbound","IsDropOff":false}',
    ),
    "pickup alone": (
        {"direction": core_pb2.DIRECTION_INBOUND, "pickup": True},
        b'{"ServiceDirection":"Inbound","IsPickup":true}',
    ),
}


@pytest.mark.parametrize(("filters", "sent"), FILTERS.values(), ids=FILTERS.keys())
def test_filters_that_are_unset_stay_out_of_the_body(
    consignments_stub: Stub, upstream: Upstream, filters: dict[str, Any], sent: bytes
) -> None:
    """Unset, false and true are three different things."""
    upstream.answer(200, [message("a")])

    call(
        consignments_stub,
        pb.AllocateConsignmentsWithServiceFiltersRequest(consignments=["a"], filters=pb.ConsignmentFilters(**filters)),
    )

    assert upstream.next_request().body == b'{"ConsignmentReferences":["a"],"Filters":' + sent + b"}"


@pytest.mark.parametrize("rpc", [*BULKS, "DeallocateConsignments"])
def test_references_in_a_body_are_sent_as_they_are(consignments_stub: Stub, upstream: Upstream, rpc: str) -> None:
    """A body is JSON, not a path: nothing is percent-encoded, and only what JSON asks for is escaped."""
    references = ["a/b c%2F?#", "größe", 'a"b\\c', "a\0\n\u2028b", "🚚"]
    upstream.answer(200, [message(reference) for reference in references])

    call(consignments_stub, changed(REQUESTS[rpc], consignments=references))

    sent = '["a/b c%2F?#","größe","a\\"b\\\\c","a\\u0000\\n\u2028b","🚚"]'.encode()
    assert sent in upstream.next_request().body


def test_a_service_group_and_a_carrier_service_in_a_body_are_sent_as_they_are(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Free text, chosen by the customer."""
    for rpc, field, name in (
        ("AllocateConsignmentsWithServiceGroup", "service_group", "MpdCarrierServiceGroupReference"),
        ("AllocateConsignmentsWithCarrierService", "carrier_service_reference", "MpdCarrierServiceReference"),
    ):
        upstream.answer(200, [message("a")])

        call(consignments_stub, changed(REQUESTS[rpc], consignments=["a"], **{field: 'a/"ü" '}))

        sent = f'{{"ConsignmentReferences":["a"],"{name}":"a/\\"ü\\" "}}'
        assert upstream.next_request().body == sent.encode()
