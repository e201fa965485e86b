"""What a trace tells of a stream, and of the sandbox: each item, the batch that it was sent with, where that ends."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.collector import Collector, running_collector
from support.front import LONG
from support.gateway import running_gateway
from support.sandbox import Sandbox, running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.collector import Span

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = "b7ad6b7169203331"
SAMPLED: Final = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
SHIPMENTS: Final = 20


class Scene:
    """A gateway and its sandbox, which export to one collector."""

    def __init__(self, stub: ShipmentAllocationServiceStub, sandbox: Sandbox, collector: Collector) -> None:
        self.stub = stub
        self.sandbox = sandbox
        self.collector = collector

    def streamed(self, shipments: Sequence[str]) -> list[Span]:
        """Allocates shipments by a stream, and returns all spans of it."""
        job = job_pb2.AllocationJob(job_id=str(uuid.uuid4()), wait_for=job_pb2.WAIT_FOR_QUEUED)
        items = [pb.ShipmentItem(shipment_reference=shipment) for shipment in shipments]
        requests = [pb.AllocateShipmentStreamRequest(job=job), pb.AllocateShipmentStreamRequest(items=items)]
        for _ in self.stub.AllocateShipmentStream(iter(requests), timeout=LONG, metadata=SAMPLED):
            pass
        return self.spans()

    def spans(self) -> list[Span]:
        """Returns all spans, once those that end last have come: the call's, and of each request that of upstream."""

        def have_come() -> bool:
            spans = list(self.collector.spans)
            sent = {span.span_id for span in spans if span.kind == "CLIENT"}
            answered = {span.parent_id for span in spans if span.kind == "SERVER"}
            return PARENT in answered and sent <= answered

        self.collector.wait_for_points(have_come)
        return list(self.collector.spans)


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    with running_collector() as collector:
        exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        with running_sandbox("--shipments", str(SHIPMENTS), extra=exported) as sandbox:
            settings = {
                **exported,
                "OTEL_METRICS_EXPORTER": "none",
                "ALLOW_PLAINTEXT": "true",
                "SHIP_BASE_URL": f"{sandbox.url}/pro",
                "SHIP_API_KEY": "sandbox-key",
            }
            with running_gateway(settings) as gateway, grpc.insecure_channel(gateway.address) as channel:
                yield Scene(ShipmentAllocationServiceStub(channel), sandbox, collector)


@pytest.fixture
def scene(shared: Scene) -> Scene:
    shared.sandbox.call("POST", "reset")
    shared.collector.forget()
    return shared


def shipment(number: int) -> str:
    return f"sp_{number:032d}"


def test_trace_goes_from_the_caller_through_the_gateway_to_upstream(scene: Scene) -> None:
    request = pb.AllocateShipmentRequest(shipment_reference=shipment(1))
    scene.stub.AllocateShipment(request, timeout=LONG, metadata=SAMPLED)
    by_parent = {span.parent_id: span for span in scene.spans()}
    call = by_parent[PARENT]
    attempt = by_parent[call.span_id]
    answered = by_parent[attempt.span_id]
    assert [span.trace_id for span in (call, attempt, answered)] == [TRACE] * 3
    assert answered.name == "PUT /shipments/{reference}/allocate"
    assert answered.attributes["http.response.status_code"] == 200
    assert {"allocation-gateway", "sandbox"} <= {resource["service.name"] for resource in scene.collector.resources}


def test_answer_that_upstream_fails_to_give_is_an_error_of_its_span(scene: Scene) -> None:
    for action in ({"type": "drop", "when": "before"}, {"type": "status", "status": 503}):
        scene.sandbox.call("POST", "faults", {"match": {"method": "GET"}, "count": 1, "action": action})
    request = pb.GetShipmentAllocationRequest(shipment_reference=shipment(1))
    scene.stub.GetShipmentAllocation(request, timeout=LONG, metadata=SAMPLED)
    answered = [span for span in scene.spans() if span.name == "GET /shipments/{reference}"]
    told = [span.attributes.get("http.response.status_code", span.attributes.get("error.type")) for span in answered]
    assert told == ["connection_cut", 503, 200]
    assert [span.failed for span in answered] == [True, True, False]


def test_each_item_of_a_stream_is_linked_to_the_batch_that_it_was_sent_with(scene: Scene) -> None:
    shipments = [shipment(number) for number in range(1, SHIPMENTS + 1)]
    spans = scene.streamed(shipments)
    (call,) = [span for span in spans if span.parent_id == PARENT]
    items = [span for span in spans if span.name == "item"]
    batches = {span.span_id: span for span in spans if span.name == "batch"}
    assert {span.parent_id for span in (*items, *batches.values())} == {call.span_id}
    assert sorted(item.attributes["allocation_gateway.item.reference"] for item in items) == shipments
    assert all([name for name, _ in item.events] == ["allocation_gateway.write.claimed"] for item in items)
    linked = [link for item in items for link in item.links]
    assert [how for _, how in linked] == [{"allocation_gateway.link": "batch"}] * SHIPMENTS
    for span_id, batch in batches.items():
        count = batch.attributes["allocation_gateway.batch.items"]
        assert count == sum(target == span_id for target, _ in linked)
    # Beside what is read of a shipment that another test has allocated, the requests are those of the batches.
    sent = [span for span in spans if span.kind == "CLIENT" and span.name.startswith("PUT")]
    assert {span.parent_id for span in sent} == set(batches)


def test_batch_that_is_sent_again_as_a_whole_says_so(scene: Scene) -> None:
    refused = {"type": "status", "status": 429, "body": {"code": "too_many_requests"}}
    scene.sandbox.call("POST", "faults", {"match": {"method": "PUT"}, "count": 1, "action": refused})
    spans = scene.streamed([shipment(1), shipment(2)])
    sent = [span for span in spans if span.kind == "CLIENT" and span.name.startswith("PUT")]
    kinds = [
        (span.attributes["allocation_gateway.attempt.kind"], span.attributes.get("http.request.resend_count"))
        for span in sent
    ]
    assert kinds == [("first", None), ("repeat", 1)]


def test_item_that_fails_says_why_and_is_no_error_if_its_caller_is_at_fault(scene: Scene) -> None:
    spans = scene.streamed([shipment(1), unknown := shipment(9999)])
    failed = [span for span in spans if span.attributes.get("allocation_gateway.item.reference") == unknown]
    assert {span.attributes["allocation_gateway.reason"] for span in failed} == {"SHIPMENT_NOT_FOUND"}
    assert not any(span.failed for span in failed)


def test_reading_is_linked_to_the_watch_that_waits_for_it() -> None:
    with running_collector() as collector, running_sandbox("--shipments", "2") as sandbox:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_TRACES_SAMPLER": "parentbased_always_on",
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": f"{sandbox.url}/pro",
            "SHIP_API_KEY": "sandbox-key",
        }
        with running_gateway(settings) as gateway, grpc.insecure_channel(gateway.address) as channel:
            stub = ShipmentAllocationServiceStub(channel)
            stub.AllocateShipment(pb.AllocateShipmentRequest(shipment_reference=shipment(1)), timeout=LONG)
            watch = pb.WatchShipmentAllocationsRequest(shipment_references=[shipment(1)])
            for _ in stub.WatchShipmentAllocations(watch, timeout=LONG, metadata=SAMPLED):
                pass
            collector.wait_for_points(lambda: PARENT in {span.parent_id for span in collector.spans})
        (call,) = [span for span in collector.spans if span.parent_id == PARENT]
        read = [span for span in collector.spans if span.attributes.get("allocation_gateway.attempt.kind") == "watch"]
    assert read
    assert all(not span.parent_id and span.trace_id != TRACE for span in read)
    assert [span.links for span in read] == [((call.span_id, {"allocation_gateway.link": "serves"}),)] * len(read)


def test_of_very_many_items_the_further_ones_have_no_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    call = Telemetry(tracer_provider=provider).call("a/b", [])
    for number in range(1005):
        item = call.item(f"sp_{number}")
        item.sent_with(call.batch(1))
        item.end_part("OK")
    call.finish("OK")
    spans = exporter.get_finished_spans()
    provider.shutdown()
    assert sum(span.name == "item" for span in spans) == 1000
    (server,) = [span for span in spans if span.name == "a/b"]
    assert server.links == ()


def test_item_that_ends_after_its_call_is_in_no_trace() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    call = Telemetry(tracer_provider=provider).call("a/b", [])
    call.finish("OK")
    call.item("sp_1").end_part("OK")
    provider.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["a/b"]
