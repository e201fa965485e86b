"""What a row of the mapping table is: a message in and the exact HTTP request out, an answer in and a message out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.version import __version__
from google.protobuf import text_format
from support.status import Failure, failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from google.protobuf.message import Message
    from support.upstream import Upstream

FIXTURES: Final = Path(__file__).parent.parent / "fixtures" / "ship"
TIMEOUT: Final = 20.0

SHIPMENT: Final = "sp_00794403010635468411384028069888"
SHIPMENTS: Final = (
    "sp_00794407328944469090495223169024",
    "sp_00794407551522883083874672967680",
    "sp_00794407763918694348566450274304",
    "sp_00794407763918694348566459974304",
)
UNALLOCATED: Final = "sp_00670934713498251534876966551552"
QUOTE: Final = "qu_00795110485512405094154213130241"
OUTBOUND: Final = core_pb2.AllocationFilters(direction=core_pb2.DIRECTION_OUTBOUND)

REQUESTS: Final[Mapping[str, Message]] = {
    "AllocateShipment": pb.AllocateShipmentRequest(shipment_reference=SHIPMENT),
    "AllocateShipmentWithServiceGroup": pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=SHIPMENT, service_group="valuableGoods"
    ),
    "AllocateShipmentWithCarrierService": pb.AllocateShipmentWithCarrierServiceRequest(
        shipment_reference=SHIPMENT, carrier_service_reference="FF_LINET-00001"
    ),
    "AllocateShipmentWithVirtualService": pb.AllocateShipmentWithVirtualServiceRequest(
        shipment_reference=SHIPMENT, virtual_service_reference="BAW_PREM_01"
    ),
    "AllocateShipmentWithQuote": pb.AllocateShipmentWithQuoteRequest(
        shipment_reference=SHIPMENT, quote_reference=QUOTE
    ),
    "AllocateShipments": pb.AllocateShipmentsRequest(shipments=SHIPMENTS),
    "AllocateShipmentsWithServiceGroup": pb.AllocateShipmentsWithServiceGroupRequest(
        shipments=SHIPMENTS, service_group="exampleSG123"
    ),
    "AllocateShipmentsWithCarrierService": pb.AllocateShipmentsWithCarrierServiceRequest(
        shipments=SHIPMENTS, carrier_service_reference="FF_LINET-00001"
    ),
    "AllocateShipmentsWithFilters": pb.AllocateShipmentsWithFiltersRequest(shipments=SHIPMENTS, filters=OUTBOUND),
    "DeallocateShipment": pb.DeallocateShipmentRequest(shipment_reference=SHIPMENT),
    "GetShipmentAllocation": pb.GetShipmentAllocationRequest(shipment_reference=SHIPMENT),
    "CreateShipmentQuotes": pb.CreateShipmentQuotesRequest(shipment_reference=SHIPMENT),
}
"""A valid request of every rpc."""

SINGLES: Final = (
    "AllocateShipment",
    "AllocateShipmentWithServiceGroup",
    "AllocateShipmentWithCarrierService",
    "AllocateShipmentWithVirtualService",
    "AllocateShipmentWithQuote",
)
BULKS: Final = ("AllocateShipments", "AllocateShipmentsWithServiceGroup", "AllocateShipmentsWithCarrierService")
WRITES: Final = (*SINGLES, *BULKS, "AllocateShipmentsWithFilters", "DeallocateShipment")

GOLDEN: Final[Mapping[str, str]] = {
    **dict.fromkeys(SINGLES, "service_group"),
    **dict.fromkeys(BULKS, "bulk_service_group"),
    "AllocateShipmentsWithFilters": "filters",
    "DeallocateShipment": "deallocated",
    "GetShipmentAllocation": "shipment_allocated",
    "CreateShipmentQuotes": "quotes",
}
"""The fixture with the answer that every valid request gets, and what becomes of it."""


def answer(name: str) -> bytes:
    """Returns the JSON of a fixture, byte for byte."""
    return (FIXTURES / f"{name}.json").read_bytes()


def expected(name: str) -> str:
    """Returns the message of a fixture as text."""
    return (FIXTURES / f"{name}.txtpb").read_text()


def response(rpc: str, text: str) -> Message:
    """Returns the response message of an rpc that a text stands for."""
    kind: type[Message] = getattr(pb, f"{rpc}Response")
    return text_format.Parse(text, kind())


def changed(request: Message, **fields: Any) -> Any:
    """Returns a copy of a request with other fields."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name, value in fields.items():
        copy.ClearField(name)
        copy.MergeFrom(type(request)(**{name: value}))
    return copy


def call(stub: ShipmentAllocationServiceStub, request: Message) -> Any:
    """Calls the rpc that a request is for."""
    return getattr(stub, request.DESCRIPTOR.name.removesuffix("Request"))(request, timeout=TIMEOUT)


def refused(stub: ShipmentAllocationServiceStub, request: Message) -> Failure:
    """Calls the rpc that a request is for, which has to fail, and returns how it did."""
    return failure(lambda: call(stub, request))


def same(actual: Message, wanted: Message) -> None:
    """Compares whole messages, in a form that shows where they differ."""
    assert text_format.MessageToString(actual) == text_format.MessageToString(wanted)
    assert type(actual) is type(wanted)
    assert actual == wanted


def headers(upstream: Upstream, key: str, method: str, body: bytes) -> dict[str, str]:
    """Returns all headers that a request to upstream has."""
    length = {} if method in {"GET", "DELETE"} else {"content-length": str(len(body))}
    return {
        "host": f"127.0.0.1:{upstream.port}",
        "x-api-key": key,
        "x-api-version": "1.1",
        "accept": "application/json",
        "content-type": "application/json",
        "accept-encoding": "gzip",
        "cache-control": "no-cache",
        "user-agent": f"allocation-gateway/{__version__}",
        **length,
    }


@dataclass(frozen=True)
class Row:
    """A row of the mapping table.

    Attributes:
        request: What the caller sends.
        line: The HTTP request line that goes out.
        body: The HTTP body that goes out, byte for byte; empty if there is none.
        status: The HTTP status that comes back.
        answer: The HTTP body that comes back, byte for byte.
        headers: Further headers that come back.
        response: What the caller gets, as text.
    """

    request: Message
    line: str
    answer: bytes
    response: str
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def check(self, stub: ShipmentAllocationServiceStub, upstream: Upstream, key: str) -> None:
        """Makes the call and compares everything that went out and came back."""
        upstream.answer(self.status, self.answer, headers=self.headers)
        got = call(stub, self.request)
        received = upstream.next_request()
        assert received.line == self.line
        assert received.body == self.body
        assert received.headers == headers(upstream, key, self.line.split(" ", 1)[0], self.body)
        same(got, response(self.request.DESCRIPTOR.name.removesuffix("Request"), self.response))
        read = {upstream.received.get().line for _ in range(upstream.received.qsize())}
        left_open = {f"GET /pro/shipments/{name} HTTP/1.1" for name in getattr(got, "unaccounted", ())}
        assert read == left_open, "a call is one request, and one for each shipment that its answer leaves open"


def ids(stub: Any, request: Any) -> list[str]:
    """Makes a call, whether or not it fails, and returns the request ids in its metadata.

    An id that the gateway made comes first of all; one of the caller's own comes with the status.
    """
    multicallable = getattr(stub, request.DESCRIPTOR.name.removesuffix("Request"))
    made: Any
    try:
        _, made = multicallable.with_call(request, timeout=TIMEOUT)
    except grpc.RpcError as error:
        made = error
    told = made.trailing_metadata() if getattr(request, "request_id", "") else made.initial_metadata()
    return [value for name, value in told if name == "allocation-request-id"]
