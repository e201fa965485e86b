"""The quirks of what is sent: paths, spellings, bodies and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from conftest import KEY
from mapping.table import BULKS, GOLDEN, REQUESTS, SHIPMENT, SHIPMENTS, Row, answer, call, changed, expected, headers

if TYPE_CHECKING:
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from mapping.conftest import Configured
    from support.upstream import Upstream

SEGMENTS: Final = {
    "plain": ("valuableGoods", "valuableGoods"),
    "unreserved": ("aZ09-._~", "aZ09-._~"),
    "space": ("next day", "next%20day"),
    "spaces at the ends": (" a ", "%20a%20"),
    "slash": ("a/b", "a%2Fb"),
    "only a slash": ("/", "%2F"),
    "backslash": ("a\\b", "a%5Cb"),
    "percent sign": ("100%", "100%25"),
    "plus": ("a+b", "a%2Bb"),
    "question mark": ("a?b=c", "a%3Fb%3Dc"),
    "hash": ("a#b", "a%23b"),
    "semicolon": ("a;b", "a%3Bb"),
    "colon, at and ampersand": ("a:b@c&d", "a%3Ab%40c%26d"),
    "quotes and brackets": ("\"'()[]{}<>", "%22%27%28%29%5B%5D%7B%7D%3C%3E"),
    "sub-delimiters": ("!$*,|^`", "%21%24%2A%2C%7C%5E%60"),
    "umlaut": ("größe", "gr%C3%B6%C3%9Fe"),
    "composed and decomposed": ("é e\u0301", "%C3%A9%20e%CC%81"),
    "emoji": ("🚚", "%F0%9F%9A%9A"),
    "right to left": ("\u202eabc", "%E2%80%AEabc"),
    "already encoded slash": ("a%2Fb", "a%252Fb"),
    "already encoded dots": ("%2e%2E", "%252e%252E"),
    "dots inside": ("a/../b", "a%2F..%2Fb"),
    "three dots": ("...", "..."),
    "control characters": ("a\r\n\t\0b", "a%0D%0A%09%00b"),
    "longest": ("é" * 255, "%C3%A9" * 255),
}

# Each rpc with a reference in its path, the field, and the line around it.
PLACES: Final = (
    ("AllocateShipment", "shipment_reference", "PUT /pro/shipments/{}/allocate HTTP/1.1"),
    (
        "AllocateShipmentWithServiceGroup",
        "shipment_reference",
        "PUT /pro/shipments/{}/allocate/service_group/valuableGoods HTTP/1.1",
    ),
    (
        "AllocateShipmentWithServiceGroup",
        "service_group",
        f"PUT /pro/shipments/{SHIPMENT}/allocate/service_group/{{}} HTTP/1.1",
    ),
    (
        "AllocateShipmentWithCarrierService",
        "carrier_service_reference",
        f"PUT /pro/shipments/{SHIPMENT}/allocate/service/{{}} HTTP/1.1",
    ),
    (
        "AllocateShipmentWithVirtualService",
        "virtual_service_reference",
        f"PUT /pro/shipments/{SHIPMENT}/allocate/virtual_service/{{}} HTTP/1.1",
    ),
    (
        "AllocateShipmentWithQuote",
        "quote_reference",
        f"PUT /pro/shipments/{SHIPMENT}/allocate/quote/{{}} HTTP/1.1",
    ),
    ("DeallocateShipment", "shipment_reference", "DELETE /pro/shipments/{}/allocation HTTP/1.1"),
    ("GetShipmentAllocation", "shipment_reference", "GET /pro/shipments/{} HTTP/1.1"),
    ("CreateShipmentQuotes", "shipment_reference", "POST /pro/shipments/{}/quote HTTP/1.1"),
)


@pytest.mark.parametrize(("reference", "segment"), SEGMENTS.values(), ids=SEGMENTS.keys())
@pytest.mark.parametrize(("rpc", "field", "line"), PLACES, ids=[f"{rpc}.{field}" for rpc, field, _ in PLACES])
def test_a_reference_is_one_path_segment_whatever_is_in_it(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    field: str,
    line: str,
    reference: str,
    segment: str,
) -> None:
    """Every character that is not unreserved is percent-encoded, and what looks encoded is encoded again."""
    shipment = reference if field == "shipment_reference" else SHIPMENT
    upstream.answer(200, {"shipment_reference": shipment, "reference": shipment, "state": "allocated"})

    call(stub, changed(REQUESTS[rpc], **{field: reference}))

    assert upstream.next_request().line == line.format(segment)


@pytest.mark.parametrize("rpc", REQUESTS)
def test_every_request_has_the_required_headers(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """The key, the version, JSON both ways and gzip: on every method, with and without a body."""
    upstream.answer(200, answer(GOLDEN[rpc]))

    call(stub, REQUESTS[rpc])

    received = upstream.next_request()
    assert received.headers == headers(upstream, KEY, received.line.split(" ")[0], received.body)
    assert received.headers["x-api-version"] == "1.1"
    assert received.headers["accept-encoding"] == "gzip"


SPELLINGS: Final = {
    ("AllocateShipment", "default"): f"PUT /pro/shipments/{SHIPMENT}/allocate",
    (
        "AllocateShipmentWithServiceGroup",
        "default",
    ): f"PUT /pro/shipments/{SHIPMENT}/allocate/service_group/valuableGoods",
    (
        "AllocateShipmentWithCarrierService",
        "default",
    ): f"PUT /pro/shipments/{SHIPMENT}/allocate/service/FF_LINET-00001",
    (
        "AllocateShipmentWithVirtualService",
        "default",
    ): f"PUT /pro/shipments/{SHIPMENT}/allocate/virtual_service/BAW_PREM_01",
    (
        "AllocateShipmentWithQuote",
        "default",
    ): f"PUT /pro/shipments/{SHIPMENT}/allocate/quote/qu_00795110485512405094154213130241",
    (
        "AllocateShipmentWithQuote",
        "allocate_first",
    ): f"PUT /pro/shipments/allocate/{SHIPMENT}/quote/qu_00795110485512405094154213130241",
    ("AllocateShipments", "allocate"): "PUT /pro/shipments/allocate",
    ("AllocateShipments", "allocation"): "PUT /pro/shipments/allocation",
    ("AllocateShipmentsWithServiceGroup", "allocate"): "PUT /pro/shipments/allocate/service_group",
    ("AllocateShipmentsWithServiceGroup", "allocation"): "PUT /pro/shipments/allocation/service_group",
    ("AllocateShipmentsWithCarrierService", "allocate"): "PUT /pro/shipments/allocate/service",
    ("AllocateShipmentsWithCarrierService", "allocation"): "PUT /pro/shipments/allocation/service",
    ("AllocateShipmentsWithFilters", "allocate"): "PUT /pro/shipments/allocate/filters",
    ("AllocateShipmentsWithFilters", "allocation"): "PUT /pro/shipments/allocation/filters",
    ("DeallocateShipment", "default"): f"DELETE /pro/shipments/{SHIPMENT}/allocation",
    ("GetShipmentAllocation", "default"): f"GET /pro/shipments/{SHIPMENT}",
    ("CreateShipmentQuotes", "post"): f"POST /pro/shipments/{SHIPMENT}/quote",
    ("CreateShipmentQuotes", "get"): f"GET /pro/shipments/{SHIPMENT}/quote",
}


def _routes(first: bool) -> str:
    """Returns a setting that chooses the first, or the last, spelling of every operation by its name."""
    chosen: dict[str, str] = {}
    for rpc, spelling in SPELLINGS:
        chosen[rpc] = chosen.get(rpc, spelling) if first else spelling
    return ", ".join(f"{rpc}={spelling}" for rpc, spelling in chosen.items())


@pytest.mark.parametrize(("choice", "line"), SPELLINGS.items(), ids=["=".join(choice) for choice in SPELLINGS])
def test_every_documented_spelling_can_be_chosen_by_its_name(
    configured: Configured, upstream: Upstream, choice: tuple[str, str], line: str
) -> None:
    """SHIP_ROUTES decides on the path and the method of each operation, and on nothing else."""
    rpc, spelling = choice
    first = next(name for name in SPELLINGS if name[0] == rpc) == choice
    stub = configured(SHIP_ROUTES=_routes(first))
    assert f"{rpc}={spelling}" in _routes(first)

    row = Row(
        request=REQUESTS[rpc],
        line=f"{line} HTTP/1.1",
        body=_BODIES.get(rpc, b""),
        answer=answer(GOLDEN[rpc]),
        response=expected(GOLDEN[rpc]),
    )
    row.check(stub, upstream, KEY)


_REFERENCES: Final = b'"shipments":["' + b'","'.join(reference.encode() for reference in SHIPMENTS) + b'"]'
_BODIES: Final = {
    "AllocateShipments": b"{" + _REFERENCES + b"}",
    "AllocateShipmentsWithServiceGroup": b"{" + _REFERENCES + b',"service_group":"exampleSG123"}',
    "AllocateShipmentsWithCarrierService": b"{" + _REFERENCES + b',"carrier_service_reference":"FF_LINET-00001"}',
    "AllocateShipmentsWithFilters": b"{" + _REFERENCES + b',"filters":{"direction":"outbound"}}',
}


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ("", "GET /shipments/a%2Fb HTTP/1.1"),
        ("/", "GET /shipments/a%2Fb HTTP/1.1"),
        ("/prosandbox", "GET /prosandbox/shipments/a%2Fb HTTP/1.1"),
        ("/prosandbox/", "GET /prosandbox/shipments/a%2Fb HTTP/1.1"),
        ("/a%20b/pro", "GET /a%20b/pro/shipments/a%2Fb HTTP/1.1"),
    ],
)
def test_the_base_url_may_have_any_path_with_or_without_a_slash_at_its_end(
    configured: Configured, upstream: Upstream, base: str, line: str
) -> None:
    """The path of the base URL is kept as it is, and exactly one slash follows it."""
    stub = configured(SHIP_BASE_URL=f"http://127.0.0.1:{upstream.port}{base}")
    upstream.answer(200, b'{"reference":"a/b","state":"unallocated"}')

    stub.GetShipmentAllocation(pb.GetShipmentAllocationRequest(shipment_reference="a/b"))

    assert upstream.next_request().line == line


def test_the_version_header_is_what_is_configured(configured: Configured, upstream: Upstream) -> None:
    """SHIP_API_VERSION is for the day on which upstream has another one."""
    upstream.answer(200, answer("shipment_allocated"))

    call(configured(SHIP_API_VERSION="1.2"), REQUESTS["GetShipmentAllocation"])

    assert upstream.next_request().headers["x-api-version"] == "1.2"


_POD: Final = core_pb2.ServiceCapability(type="proof_of_delivery", value="require")
_OTHER: Final = core_pb2.ServiceCapability(type="a type", value='"é"')


@pytest.mark.parametrize("rpc", BULKS)
@pytest.mark.parametrize(
    ("shape", "capabilities", "sent"),
    [
        ("array", [], b""),
        ("array", [_POD], b'[{"type":"proof_of_delivery","value":"require"}]'),
        (
            "array",
            [_POD, _OTHER],
            b'[{"type":"proof_of_delivery","value":"require"},{"type":"a type","value":"\\"\xc3\xa9\\""}]',
        ),
        ("object", [], b""),
        ("object", [_POD], b'{"type":"proof_of_delivery","value":"require"}'),
    ],
)
def test_capabilities_are_sent_in_the_configured_shape_and_only_if_there_are_any(
    configured: Configured,
    upstream: Upstream,
    rpc: str,
    shape: str,
    capabilities: list[core_pb2.ServiceCapability],
    sent: bytes,
) -> None:
    """No source shows the shape on the wire: a setting decides between an array and one object."""
    suffix = b',"capabilities":' + sent + b"}" if sent else b"}"
    row = Row(
        request=changed(REQUESTS[rpc], capabilities=capabilities),
        line=SPELLINGS[rpc, "allocate"] + " HTTP/1.1",
        body=_BODIES[rpc][:-1] + suffix,
        status=202,
        answer=answer(GOLDEN[rpc]),
        response=expected(GOLDEN[rpc]),
    )

    row.check(configured(SHIP_CAPABILITIES_SHAPE=shape), upstream, KEY)


FILTERS: Final = {
    "only a direction": (
        {"direction": core_pb2.DIRECTION_INBOUND},
        b'{"direction":"inbound"}',
    ),
    "both false": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "pickup": False, "drop_off": False},
        b'{"direction":"outbound","pickup":false,"drop_off":false}',
    ),
    "both true": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "pickup": True, "drop_off": True},
        b'{"direction":"outbound","pickup":true,"drop_off":true}',
    ),
    "drop_off false, pickup unset": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "drop_off": False},
        b'{"direction":"outbound","drop_off":false}',
    ),
    "pickup true, drop_off unset": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "pickup": True},
        b'{"direction":"outbound","pickup":true}',
    ),
    "tags": (
        {"direction": core_pb2.DIRECTION_OUTBOUND, "tags": ["a b", "é", '"']},
        b'{"direction":"outbound","tags":["a b","\xc3\xa9","\\""]}',
    ),
}


@pytest.mark.parametrize(("filters", "sent"), FILTERS.values(), ids=FILTERS.keys())
def test_filters_that_are_unset_stay_out_of_the_body(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, filters: dict[str, Any], sent: bytes
) -> None:
    """Upstream takes an absent drop_off as true, so unset, false and true are three different things."""
    row = Row(
        request=pb.AllocateShipmentsWithFiltersRequest(
            shipments=["a"], filters=core_pb2.AllocationFilters(**filters), request_id=""
        ),
        line="PUT /pro/shipments/allocate/filters HTTP/1.1",
        body=b'{"shipments":["a"],"filters":' + sent + b"}",
        status=202,
        answer=answer("filters"),
        response=expected("filters"),
    )

    row.check(stub, upstream, KEY)


def test_references_in_a_body_are_sent_as_they_are(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """A body is JSON, not a path: nothing is percent-encoded, and only what JSON asks for is escaped."""
    references = ["a/b c%2F?#", "größe", 'a"b\\c', "a\0\n\u2028b", "🚚", ".a"]
    upstream.answer(202, {"message": "", "queued": references})

    stub.AllocateShipmentsWithCarrierService(
        pb.AllocateShipmentsWithCarrierServiceRequest(shipments=references, carrier_service_reference="a/ü")
    )

    assert (
        upstream.next_request().body
        == (
            '{"shipments":["a/b c%2F?#","größe","a\\"b\\\\c","a\\u0000\\n\u2028b","🚚",".a"],'
            '"carrier_service_reference":"a/ü"}'
        ).encode()
    )
