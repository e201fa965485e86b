"""Whatever one upstream answers, within the limits of size: nobody else waits for it, and it takes no end of memory.

While a call gets the worst documents that we could think of, another connection asks for health and a third one
allocates. What is asserted is the best of several tries, beyond what the same two wait for just before: others use the
machine too, and what keeps the event loop from turning does so each time.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from support.front import KEY
from support.gateway import running_gateway
from support.status import failure
from support.upstream import Reply, running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.gateway import Gateway
    from support.upstream import Received, Upstream
pytestmark = pytest.mark.slow

LONGEST: Final = 0.1
TRIES: Final = 6
# For so long it is measured what others wait for in any case.
CALM: Final = 0.3
TIMEOUT: Final = 30.0
MOST_MEMORY: Final = 160_000_000
SHIP_LIMIT: Final = 4_194_304
LIMIT: Final = 16_777_216
# As many values as are read, with what little else the documents have.
MANY: Final = 59_900
SHIPMENT: Final = "sp_of_the_large_answer"
CONSIGNMENT: Final = "EC-LAR-GEA-NSW"
OPTIONS: Final = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


def with_items(source: dict[str, Any], key: str, item: str, count: int) -> bytes:
    """Returns an object that has so many of something below a key."""
    head = json.dumps(source)[:-1]
    return f'{head}, "{key}": [{",".join([item] * count)}]}}'.encode()


def with_text(source: dict[str, Any], key: str, text: bytes) -> bytes:
    """Returns an object that has a text below a key, as it stands in JSON."""
    return json.dumps(source)[:-1].encode() + b', "' + key.encode() + b'": "' + text + b'"}'


def filled(limit: int, document: Callable[[int], bytes], size: int) -> bytes:
    """Returns the largest document of a kind that is within a limit, of pieces of a size."""
    return document((limit - len(document(0)) - 16) // size)


ALLOCATED: Final = {"shipment_reference": SHIPMENT, "state": "allocated"}
STANDING: Final = {"reference": SHIPMENT, "state": "allocated"}
SUMMARY: Final = {"StatusCode": 200, "CarrierServiceReference": "MPD_1", "CarrierServiceName": "One"}
DEALLOCATED: Final = {"reference": SHIPMENT}
EXCLUSION: Final = '{"carrier":{"name":"a"},"exclusion":{"code":"ex_tag"}}'
FAILED: Final = {"code": "allocation_failed"}
LABELS: Final = {"LabelType": "Consignment", "StatusCode": 200, "Result": "ConsignmentAllocated"}


def labels(content: bytes) -> bytes:
    return b'{"Responses": [' + with_text(LABELS, "LabelContent", content) + b"]}"


ZIPPED: Final = {"content-encoding": "gzip"}
ALLOCATE: Final = "AllocateShipment"
READ: Final = "GetShipmentAllocation"
QUOTES: Final = "CreateShipmentQuotes"
BULK: Final = "AllocateShipments"
SUMMARIZE: Final = "AllocateConsignment"
WITH_LABELS: Final = "AllocateConsignmentWithLabels"
SHOW: Final = "GetConsignmentAllocation"

REQUESTS: Final[dict[str, Any]] = {
    ALLOCATE: pb.AllocateShipmentRequest(shipment_reference=SHIPMENT),
    READ: pb.GetShipmentAllocationRequest(shipment_reference=SHIPMENT),
    QUOTES: pb.CreateShipmentQuotesRequest(shipment_reference=SHIPMENT),
    BULK: pb.AllocateShipmentsRequest(shipments=[SHIPMENT]),
    "DeallocateShipment": pb.DeallocateShipmentRequest(shipment_reference=SHIPMENT),
    SUMMARIZE: consignments_pb.AllocateConsignmentRequest(consignment_reference=CONSIGNMENT),
    "AllocateConsignments": consignments_pb.AllocateConsignmentsRequest(consignments=[CONSIGNMENT]),
    WITH_LABELS: consignments_pb.AllocateConsignmentWithLabelsRequest(
        consignment_reference=CONSIGNMENT, label_format=consignments_pb.LABEL_FORMAT_PDF
    ),
    SHOW: consignments_pb.GetConsignmentAllocationRequest(consignment_reference=CONSIGNMENT),
    "GetConsignmentQuotes": consignments_pb.GetConsignmentQuotesRequest(consignment_reference=CONSIGNMENT),
}


def the_worst() -> Iterator[tuple[str, str, Callable[[], Reply]]]:
    """Returns the worst documents: a name, the rpc that gets it, and the answer, which is made when it is needed."""

    def row(name: str, rpc: str, document: Callable[[], bytes], status: int = 200, **more: Any) -> Any:
        return name, rpc, lambda: Reply(status, document(), **more)

    items = with_items
    yield row("as many empty links as are read", ALLOCATE, lambda: items(ALLOCATED, "_links", "{}", MANY // 2))
    yield row("links of the wrong kind", ALLOCATE, lambda: items(ALLOCATED, "_links", "1", MANY))
    yield row("many exclusions", ALLOCATE, lambda: items(ALLOCATED, "excluded_services", EXCLUSION, MANY // 4))
    yield row(
        "many exclusions of a failure", ALLOCATE, lambda: items(FAILED, "excluded_services", "{}", MANY // 2), 521
    )
    yield row("many complaints", ALLOCATE, lambda: items({"code": "validation_error"}, "details", "{}", MANY // 2), 400)
    yield row(
        "far too many links",
        ALLOCATE,
        lambda: filled(SHIP_LIMIT, lambda count: items(ALLOCATED, "_links", "{}", count), 3),
    )
    yield row("many numbers with exponents", READ, lambda: items(STANDING, "x", "1e1", MANY))
    yield row("a number of millions of digits", READ, lambda: items(STANDING, "x", "1." + "1" * 4_000_000, 1))
    yield row("deep arrays", READ, lambda: b"[" * (SHIP_LIMIT - 8))
    yield row("deep objects", READ, lambda: b'{"a":' * (SHIP_LIMIT // 5 - 8))
    yield row("as deep as can be read, many times", READ, lambda: items(STANDING, "x", "[" * 40 + "]" * 40, MANY // 41))
    yield row("a text of escapes", READ, lambda: with_text(STANDING, "x", rb"\u0041" * (SHIP_LIMIT // 6 - 16)))
    yield row("a text of other letters", READ, lambda: with_text(STANDING, "x", "é".encode() * (SHIP_LIMIT // 2 - 40)))
    yield row("many quotes", QUOTES, lambda: items({"reference": "qr_1"}, "quotes", "{}", MANY // 2), 201)
    yield row("a list of empty results", BULK, lambda: b"[" + b",".join([b"{}"] * (MANY // 2)) + b"]", 202)
    yield row("many rejections", BULK, lambda: items({"queued": []}, "rejected", "{}", MANY // 2), 202)
    yield row("links of a de-allocation", "DeallocateShipment", lambda: items(DEALLOCATED, "_links", "{}", MANY // 2))
    yield row("compressed to nothing", READ, lambda: gzip.compress(b" " * (SHIP_LIMIT - 2) + b"{}"), headers=ZIPPED)

    yield row("bytes in chunks of their own", READ, lambda: b" " * 300_000, chunks=1)

    yield row("links of a consignment", SUMMARIZE, lambda: items(SUMMARY, "ApiLinks", "{}", MANY // 2))
    yield row("legs of a consignment", SUMMARIZE, lambda: items(SUMMARY, "ConsignmentLegs", "{}", MANY // 2))
    yield row(
        "millions of links",
        SUMMARIZE,
        lambda: filled(LIMIT, lambda count: items(SUMMARY, "ApiLinks", "{}", count), 3),
    )
    yield row(
        "a description of blanks",
        SUMMARIZE,
        lambda: filled(LIMIT, lambda count: with_text(SUMMARY, "Description", b"Consignment x" + b" " * count), 1),
    )
    yield row(
        "an address of slashes",
        SUMMARIZE,
        lambda: filled(LIMIT, lambda count: items(SUMMARY, "ApiLinks", '{"Href":"/' + "/" * count + '"}', 1), 1),
    )
    yield row("as many summaries", "AllocateConsignments", lambda: b"[" + b",".join([b"{}"] * (MANY // 2)) + b"]")
    yield row("a large label", WITH_LABELS, lambda: filled(LIMIT, lambda count: labels(b"QUJD" * count), 4))
    yield row("a label with blanks", WITH_LABELS, lambda: filled(LIMIT, lambda count: labels(b"Q U " * count), 4))
    yield row("a label of escapes", WITH_LABELS, lambda: labels(rb"\/" * 1_900_000))
    yield row("a label of nothing but escapes", WITH_LABELS, lambda: labels(rb"\/" * (LIMIT // 2 - 100)))
    yield row(
        "escapes of a consignment", SHOW, lambda: with_text({"Reference": CONSIGNMENT}, "x", rb"\u0041" * 2_790_000)
    )
    yield row("a page of another kind", SHOW, lambda: b"<" * (LIMIT - 8), 502)
    yield row("a compressed label", SHOW, lambda: gzip.compress(b" " * (LIMIT - 2) + b"{}"), headers=ZIPPED)
    yield row("a bomb", SHOW, lambda: gzip.compress(b" " * (20 * LIMIT), 1), headers=ZIPPED)
    yield row("many quotes", "GetConsignmentQuotes", lambda: items({"Message": ""}, "Quotes", "{}", MANY // 2))


@dataclass
class Place:
    """A gateway in front of an upstream that answers one shipment and one consignment as a test wants."""

    gateway: Gateway
    upstream: Upstream
    channel: grpc.Channel
    reply: Reply | None = None
    is_read: bool = False

    def answer(self, received: Received) -> Reply:
        """Answers as is wanted what is about the large answer, and everything else as usual."""
        method, path, _ = received.line.split(" ")
        about_it = (
            SHIPMENT in received.line + received.body.decode() or CONSIGNMENT in received.line + received.body.decode()
        )
        if not about_it:
            return shipped(received)
        # What an earlier write may have read before or after it does not get it.
        if self.reply is not None and (method == "GET") == self.is_read:
            reply, self.reply = self.reply, None
            return reply
        # A write whose answer cannot be used is read back.
        now = datetime.now(UTC).isoformat()
        if method == "GET" and "/shipments/" in path:
            return Reply(200, {"reference": SHIPMENT, "state": "allocated", "allocation": {"allocation_date": now}})
        allocation = {"MpdCarrierServiceReference": "MPD_1", "AllocationDate": now}
        return Reply(200, {"Reference": CONSIGNMENT, "ConsignmentState": "Allocated", "Allocation": allocation})

    def call(self, rpc: str, reply: Reply) -> None:
        """Makes the call that gets an answer. What it comes to does not matter here, but that it ends does."""
        request = type(REQUESTS[rpc])()
        request.CopyFrom(REQUESTS[rpc])
        self.reply, self.is_read = reply, rpc.startswith("Get")
        kind = "Consignment" if isinstance(request, tuple(_messages(consignments_pb))) else "Shipment"
        method = f"/allocation.v1.{kind}AllocationService/{rpc}"
        # Its response is not looked at: that would take the time of this process, which measures.
        make: Any = self.channel.unary_unary(method, request_serializer=type(request).SerializeToString)
        ended = make.future(request, timeout=TIMEOUT).exception(TIMEOUT)
        assert ended is None or ended.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


def _messages(module: Any) -> Iterator[type]:
    for name in module.DESCRIPTOR.message_types_by_name:
        yield getattr(module, name)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running_upstream() as upstream:
        settings = {
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": upstream.url,
            "SHIP_API_KEY": KEY,
            "SHIP_MAX_ATTEMPTS": "1",
            "SHIP_READ_BEFORE_WRITE": "false",
            "SHIP_BREAKER_MIN_CALLS": "1000000",
            "CONSIGNMENTS_BASE_URL": f"http://127.0.0.1:{upstream.port}",
            "CONSIGNMENTS_API_KEY": KEY,
            "CONSIGNMENTS_MAX_ATTEMPTS": "1",
            "CONSIGNMENTS_READ_BEFORE_WRITE": "false",
            "CONSIGNMENTS_BREAKER_MIN_CALLS": "1000000",
        }
        with running_gateway(settings) as gateway, grpc.insecure_channel(gateway.address, OPTIONS) as channel:
            place = Place(gateway, upstream, channel)
            upstream.default = place.answer
            yield place


@contextmanager
def others(gateway: Gateway) -> Iterator[Callable[[], float]]:
    """Has two others call all the time. Yields what returns the longest time in which one of them got nothing."""
    stop = threading.Event()
    longest = [0.0, 0.0]
    begun = threading.Barrier(3)

    def ask(number: int, call: Callable[[], object]) -> None:
        call()
        begun.wait(TIMEOUT)
        while not stop.is_set():
            started = time.perf_counter()
            call()
            longest[number] = max(longest[number], time.perf_counter() - started)

    with (
        grpc.insecure_channel(gateway.address, OPTIONS) as one,
        grpc.insecure_channel(gateway.address, OPTIONS) as other,
    ):
        health: Any = HealthStub(one)
        shipments = ShipmentAllocationServiceStub(other)

        def check() -> None:
            health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
            time.sleep(0.002)  # so that it does not use up what it measures

        def allocate() -> None:
            reference = f"sp_{uuid.uuid4().hex}"
            shipments.AllocateShipment(pb.AllocateShipmentRequest(shipment_reference=reference), timeout=TIMEOUT)
            time.sleep(0.002)

        threads = [threading.Thread(target=ask, args=row, daemon=True) for row in enumerate((check, allocate))]
        for thread in threads:
            thread.start()
        begun.wait(TIMEOUT)
        try:
            yield lambda: max(longest)
        finally:
            stop.set()
            for thread in threads:
                thread.join(TIMEOUT)


def memory(gateway: Gateway, kind: str) -> int:
    """Returns the memory that the gateway has, `VmRSS`, or has had at most, `VmHWM`."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition(f"{kind}:")[2].split()[0]) * 1024


def forget_most_memory(gateway: Gateway) -> None:
    Path(f"/proc/{gateway.process.pid}/clear_refs").write_text("5")


@pytest.mark.parametrize(("name", "rpc", "make"), [pytest.param(*row, id=f"{row[1]}, {row[0]}") for row in the_worst()])
def test_nobody_waits_for_a_large_answer_to_somebody_else(
    place: Place, name: str, rpc: str, make: Callable[[], Reply]
) -> None:
    """Neither a health check nor an allocation of something else, and it has an end itself."""
    del name
    reply = make()
    found = []
    forget_most_memory(place.gateway)
    before = memory(place.gateway, "VmRSS")
    for _ in range(TRIES):
        with others(place.gateway) as longest:
            threading.Event().wait(CALM)
            in_any_case = longest()
            place.call(rpc, reply)
            found.append(longest() - in_any_case)
        if found[-1] < LONGEST:
            break
    assert min(found) < LONGEST, found
    assert memory(place.gateway, "VmHWM") - before < MOST_MEMORY


@pytest.mark.parametrize(
    ("rpc", "document", "told"),
    [
        (ALLOCATE, lambda: with_items(ALLOCATED, "_links", "{}", MANY), "more than 60000 values"),
        (ALLOCATE, lambda: with_text(ALLOCATED, "x", rb"\u0041" * 600_000), None),
        (SUMMARIZE, lambda: with_items(SUMMARY, "ApiLinks", "{}", MANY), "more than 60000 values"),
        (SUMMARIZE, lambda: with_text(SUMMARY, "x", rb"\\" * 2_000_000), "more than 2000000 bytes of escapes"),
    ],
)
def test_a_write_whose_answer_is_too_much_is_read_back(
    place: Place, rpc: str, document: Callable[[], bytes], told: str | None
) -> None:
    """As one whose answer cannot be read: the caller gets what is there."""
    place.reply, place.is_read = Reply(200, document()), False
    reconciled = told is not None
    response: Any
    if rpc == ALLOCATE:
        response = ShipmentAllocationServiceStub(place.channel).AllocateShipment(REQUESTS[rpc], timeout=TIMEOUT)
    else:
        response = ConsignmentAllocationServiceStub(place.channel).AllocateConsignment(REQUESTS[rpc], timeout=TIMEOUT)
    assert response.allocation.reconciled == reconciled


def test_a_read_whose_answer_is_too_much_says_so(place: Place) -> None:
    """What it is made of too much of, and nothing of what it says."""
    place.reply, place.is_read = Reply(200, with_items(STANDING, "_links", "{}", MANY)), True
    stub = ShipmentAllocationServiceStub(place.channel)
    found = failure(lambda: stub.GetShipmentAllocation(REQUESTS[READ], timeout=TIMEOUT))
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_CONTRACT_BROKEN")
    assert "the body is too much to be read: it has more than 60000 values" in found.message
