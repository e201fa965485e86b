"""The mapping table's parts for the Consignments API: its requests, its golden answers and how they are compared."""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from allocation_gateway.version import __version__
from google.protobuf import text_format
from mapping.table import TIMEOUT, changed, same
from support.status import Failure, failure
from support.upstream import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from google.protobuf.message import Message
    from support.upstream import Received, Upstream

FIXTURES: Final = Path(__file__).parent.parent / "fixtures" / "consignments"

# References as the vendor's guides have them.
CONSIGNMENT: Final = "EC-000-05B-MMA"
QUOTED: Final = "EC-000-05B-N40"
QUOTE: Final = "112236d5-4460-492f-a6bd-aa3f00f62dfb"
SERVICE: Final = "EDC5_UPSHSTDCS"
SERVICE_NAME: Final = "UPS STANDARD (Delivery Confirmation Signature Required)"
CONSIGNMENTS: Final = ("EC-000-05B-MMA", "EC-000-083-45D", "EC-000-A04-0DV")
DEALLOCATED: Final = ("EC-000-05D-EP2", "EC-000-05D-ENQ", "EC-000-05D-ENG")
OUTBOUND: Final = pb.ConsignmentFilters(direction=core_pb2.DIRECTION_OUTBOUND)

REQUESTS: Final[Mapping[str, Message]] = {
    "AllocateConsignment": pb.AllocateConsignmentRequest(consignment_reference=QUOTED),
    "AllocateConsignmentWithServiceGroup": pb.AllocateConsignmentWithServiceGroupRequest(
        consignment_reference=QUOTED, service_group="valuableGoods"
    ),
    "AllocateConsignmentWithQuote": pb.AllocateConsignmentWithQuoteRequest(
        consignment_reference=QUOTED, quote_reference=QUOTE
    ),
    "AllocateConsignments": pb.AllocateConsignmentsRequest(consignments=CONSIGNMENTS),
    "AllocateConsignmentsWithServiceGroup": pb.AllocateConsignmentsWithServiceGroupRequest(
        consignments=CONSIGNMENTS, service_group="SGREF01"
    ),
    "AllocateConsignmentsWithCarrierService": pb.AllocateConsignmentsWithCarrierServiceRequest(
        consignments=CONSIGNMENTS, carrier_service_reference="Example-Carrier-Service"
    ),
    "AllocateConsignmentsWithServiceFilters": pb.AllocateConsignmentsWithServiceFiltersRequest(
        consignments=CONSIGNMENTS, filters=OUTBOUND
    ),
    "AllocateConsignmentWithLabels": pb.AllocateConsignmentWithLabelsRequest(
        consignment_reference=CONSIGNMENT, label_format=pb.LABEL_FORMAT_PDF
    ),
    "DeallocateConsignment": pb.DeallocateConsignmentRequest(consignment_reference=CONSIGNMENT),
    "DeallocateConsignments": pb.DeallocateConsignmentsRequest(consignments=DEALLOCATED),
    "GetConsignmentAllocation": pb.GetConsignmentAllocationRequest(consignment_reference=CONSIGNMENT),
    "GetConsignmentQuotes": pb.GetConsignmentQuotesRequest(consignment_reference=QUOTED),
}
"""A valid request of every rpc."""

SINGLES: Final = ("AllocateConsignment", "AllocateConsignmentWithServiceGroup", "AllocateConsignmentWithQuote")
BULKS: Final = (
    "AllocateConsignments",
    "AllocateConsignmentsWithServiceGroup",
    "AllocateConsignmentsWithCarrierService",
    "AllocateConsignmentsWithServiceFilters",
)
LABELS: Final = "AllocateConsignmentWithLabels"
WRITES: Final = (*SINGLES, *BULKS, LABELS, "DeallocateConsignment", "DeallocateConsignments")
READS: Final = ("GetConsignmentAllocation", "GetConsignmentQuotes")

GOLDEN: Final[Mapping[str, str]] = {
    **dict.fromkeys(SINGLES, "allocated"),
    **dict.fromkeys(BULKS, "allocated_bulk"),
    LABELS: "labels",
    "DeallocateConsignment": "deallocated",
    "DeallocateConsignments": "deallocated_list",
    "GetConsignmentAllocation": "consignment_allocated",
    "GetConsignmentQuotes": "quotes",
}
"""The fixture with the answer that every valid request gets, and what becomes of it."""

_OTHERS: Final = itertools.count(1)
BODIES: Final[Mapping[str, bytes]] = {
    "AllocateConsignments": b'{"ConsignmentReferences":["EC-000-05B-MMA","EC-000-083-45D","EC-000-A04-0DV"]}',
    "AllocateConsignmentsWithServiceGroup": (
        b'{"ConsignmentReferences":["EC-000-05B-MMA","EC-000-083-45D","EC-000-A04-0DV"],'
        b'"MpdCarrierServiceGroupReference":"SGREF01"}'
    ),
    "AllocateConsignmentsWithCarrierService": (
        b'{"ConsignmentReferences":["EC-000-05B-MMA","EC-000-083-45D","EC-000-A04-0DV"],'
        b'"MpdCarrierServiceReference":"Example-Carrier-Service"}'
    ),
    "AllocateConsignmentsWithServiceFilters": (
        b'{"ConsignmentReferences":["EC-000-05B-MMA","EC-000-083-45D","EC-000-A04-0DV"],'
        b'"Filters":{"ServiceDirection":"Outbound"}}'
    ),
    "DeallocateConsignments": b'["EC-000-05D-EP2","EC-000-05D-ENQ","EC-000-05D-ENG"]',
}
"""The HTTP body that each valid request becomes; those that are not here have none."""


def answer(name: str) -> bytes:
    """Returns the body of a fixture, byte for byte: JSON, or nothing."""
    file = FIXTURES / f"{name}.json"
    return file.read_bytes() if file.exists() else b""


def expected(name: str) -> str:
    """Returns the message of a fixture as text."""
    return (FIXTURES / f"{name}.txtpb").read_text()


def response(rpc: str, text: str) -> Message:
    """Returns the response message of an rpc that a text stands for."""
    kind: type[Message] = getattr(pb, f"{rpc}Response")
    return text_format.Parse(text, kind())


def call(stub: Stub, request: Message, timeout: float = TIMEOUT) -> Any:
    """Calls the rpc that a request is for."""
    return getattr(stub, request.DESCRIPTOR.name.removesuffix("Request"))(request, timeout=timeout)


def call_for_others(stub: Stub, upstream: Upstream, rpc: str, status: int, body: object) -> Any:
    """Makes the golden bulk call for consignments that no other names, and returns its response in the golden names.

    What upstream leaves open keeps a consignment for a while: nobody else is to wait for it.
    """
    ours, others = "EC-000-", f"EC-{next(_OTHERS):03d}-"
    request: Any = changed(REQUESTS[rpc])
    request.consignments[:] = [reference.replace(ours, others) for reference in request.consignments]
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    upstream.answer(status, text.replace(ours.encode(), others.encode()))
    with answering(upstream, lambda _: Reply(503)):
        got = call(stub, request)
    return type(got).FromString(got.SerializeToString().replace(others.encode(), ours.encode()))


def refused(stub: Stub, request: Message, timeout: float = TIMEOUT) -> Failure:
    """Calls the rpc that a request is for, which has to fail, and returns how it did."""
    return failure(lambda: call(stub, request, timeout))


def check(stub: Stub, rpc: str, wanted: str) -> None:
    """Makes the golden request of an rpc and compares the whole response."""
    same(call(stub, REQUESTS[rpc]), response(rpc, wanted))


def headers(upstream: Upstream, key: str, method: str, body: bytes) -> dict[str, str]:
    """Returns all headers that a request to upstream has."""
    length = {} if method == "GET" else {"content-length": str(len(body))}
    return {
        "host": f"127.0.0.1:{upstream.port}",
        "ocp-apim-subscription-key": key,
        "electio-api-version": "1.1",
        "accept": "application/json",
        "content-type": "application/json",
        "accept-encoding": "gzip",
        "cache-control": "no-cache",
        "user-agent": f"allocation-gateway/{__version__}",
        **length,
    }


@contextmanager
def answering(upstream: Upstream, default: Callable[[Received], Reply]) -> Iterator[None]:
    """Has upstream answer in a way of its own what is not scripted."""
    before = upstream.default
    upstream.default = default
    try:
        yield
    finally:
        upstream.default = before


def lines(upstream: Upstream) -> list[str]:
    """Returns the method and the path of every request that upstream has received and nobody has looked at."""
    found = []
    while not upstream.received.empty():
        found.append(upstream.received.get_nowait().line.removesuffix(" HTTP/1.1"))
    return found


def summary(reference: str, **changes: Any) -> dict[str, Any]:
    """Returns an AllocationSummary as the guides show it, with some fields changed; those that are `...` left out."""
    item: dict[str, Any] = {
        "StatusCode": 200,
        "ApiLinks": [
            {"Rel": "detail", "Href": f"https://api.electioapp.com/consignments/{reference}"},
            {"Rel": "label", "Href": f"https://api.electioapp.com/labels/{reference}"},
        ],
        "Description": f"Consignment {reference} has been successfully allocated with Carrier X Next Day Super "
        "for shipping on 18/06/2019 17:00:00 +00:00",
        "ConsignmentLegs": [],
        "CarrierReference": "CARRIER_X",
        "CarrierName": "Carrier X",
        "CarrierServiceReference": f"service of {reference}",
        "CarrierServiceName": "Next Day Super",
        **changes,
    }
    return {name: value for name, value in item.items() if value is not ...}


def message(reference: str | None, *, success: bool = True, text: str = "Done.", **changes: Any) -> dict[str, Any]:
    """Returns a WithMessage."""
    return {"IsSuccess": success, "Message": text, "Data": reference, "ApiLinks": None, **changes}


def consignment(reference: str, state: str, **changes: Any) -> dict[str, Any]:
    """Returns a consignment as a GET gives it."""
    return {"Reference": reference, "ConsignmentState": state, "Allocation": None, "FailedAllocation": None, **changes}


def api_error(code: str = "SomethingNewException", text: str = "Item not found") -> dict[str, Any]:
    """Returns an ApiError whose text misleads: whoever decides by it gets it wrong."""
    return {"Code": code, "Message": text, "CorrelationId": "f94c7dbc-c542-40b9-b6da-bd98aa110939", "Details": None}


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

    def check(self, stub: Stub, upstream: Upstream, key: str) -> None:
        """Makes the call and compares everything that went out and came back."""
        upstream.answer(self.status, self.answer, headers=self.headers)
        got = call(stub, self.request)
        received = upstream.next_request()
        assert received.line == self.line
        assert received.body == self.body
        assert received.headers == headers(upstream, key, self.line.split(" ", 1)[0], self.body)
        same(got, response(self.request.DESCRIPTOR.name.removesuffix("Request"), self.response))
        assert upstream.received.empty(), "a call is one request"
