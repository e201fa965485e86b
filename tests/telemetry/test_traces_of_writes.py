"""What a trace tells of a write: each attempt and why it was made, what happened, and who waited for whom."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from support.collector import Collector, running_collector
from support.front import LONG, another_write, running_front
from support.status import failure
from support.upstream import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.collector import Span
    from support.front import Front

EVENTS: Final = "allocation_gateway.write"


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Front, Collector]]:
    """A gateway that exports its spans at once, and for which a doubt is soon over."""
    with running_collector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "SHIP_TIMEOUT": "2",
            "SHIP_SETTLE_TIME": "2",
            "SHIP_BREAKER_MIN_CALLS": "1000000",
        }
        with running_front(settings=settings) as front:
            yield front, collector


@pytest.fixture
def front(shared: tuple[Front, Collector]) -> Front:
    shared[0].upstream.forget()
    return shared[0]


@pytest.fixture
def spans(shared: tuple[Front, Collector]) -> Collector:
    shared[1].forget()
    return shared[1]


def wait_for_calls(collector: Collector, count: int = 1) -> None:
    """Waits for the spans of so many calls, which end after those of their requests."""
    collector.wait_for_points(lambda: sum(span.kind == "SERVER" for span in collector.spans) == count)


def attempts(collector: Collector) -> list[tuple[str, int]]:
    """Returns the kind of each request and how often the same was sent before, in the order of their ends."""
    return [
        (span.attributes["allocation_gateway.attempt.kind"], span.attributes.get("http.request.resend_count", 0))
        for span in collector.spans
        if span.kind == "CLIENT"
    ]


def detached_part(collector: Collector, call: Span) -> Span:
    """Waits for the span of what has gone on after a call, among those of earlier tests that end late."""

    def found() -> list[Span]:
        parts = [span for span in list(collector.spans) if span.name == "detached write"]
        return [span for span in parts if span.parent_id == call.span_id]

    collector.wait_for_points(lambda: bool(found()))
    (part,) = found()
    return part


def happened(span: Span) -> list[str]:
    return [name.removeprefix(f"{EVENTS}.") for name, _ in span.events]


def marks(span: Span) -> dict[str, bool]:
    return {name.removeprefix(f"{EVENTS}."): value for name, value in span.attributes.items() if EVENTS in name}


def test_plain_write_is_claimed_and_sent_once(front: Front, spans: Collector) -> None:
    front.stub.AllocateShipment(another_write(), timeout=LONG)
    wait_for_calls(spans)
    assert attempts(spans) == [("first", 0)]
    assert happened(spans.span("SERVER")) == ["claimed"]
    assert marks(spans.span("SERVER")) == {}


def test_repeat_of_what_was_refused_for_a_moment_is_counted(front: Front, spans: Collector) -> None:
    front.upstream.answer(429, {"code": "too_many_requests"}, to="PUT")
    front.upstream.answer(429, {"code": "too_many_requests"}, to="PUT")
    front.stub.AllocateShipment(another_write(), timeout=LONG)
    wait_for_calls(spans)
    assert attempts(spans) == [("first", 0), ("repeat", 1), ("repeat", 2)]


def test_read_that_is_repeated_is_counted_too(front: Front, spans: Collector) -> None:
    front.upstream.answer(503, to="GET")
    front.stub.GetShipmentAllocation(pb.GetShipmentAllocationRequest(shipment_reference="sp_1"), timeout=LONG)
    wait_for_calls(spans)
    assert attempts(spans) == [("first", 0), ("repeat", 1)]


def test_doubt_is_told_from_its_beginning_to_its_end(front: Front, spans: Collector) -> None:
    front.upstream.answer(raw=b"", close=True, to="PUT")
    front.stub.AllocateShipment(another_write(), timeout=LONG)
    wait_for_calls(spans)
    made = attempts(spans)
    assert (made[0], made[-1]) == (("first", 0), ("repeat", 1))
    assert set(made[1:-1]) == {("read_back", 0)}
    server = spans.span("SERVER")
    told = happened(server)
    assert told[:3] == ["claimed", "in_doubt", "read_back"]
    assert told[-2:] == ["read_back", "sent_again"]
    conclusions = [said["allocation_gateway.conclusion"] for name, said in server.events if name.endswith("read_back")]
    assert set(conclusions[:-1]) == {"unresolved"}
    assert conclusions[-1] == "without_effect"
    assert marks(server) == {"in_doubt": True, "sent_again": True}


def test_call_that_joins_another_is_linked_to_it(front: Front, spans: Collector) -> None:
    request = another_write()
    request.request_id = str(uuid.uuid4())
    release = front.upstream.hold(200, {"shipment_reference": request.shipment_reference, "state": "allocated"})
    first = front.stub.AllocateShipment.future(request, timeout=LONG)
    front.upstream.next_request("PUT")
    second = front.stub.AllocateShipment.future(request, timeout=0.5)
    assert second.code() is grpc.StatusCode.UNKNOWN
    release.set()
    first.result(LONG)
    wait_for_calls(spans, 2)
    joined, worked = sorted((span for span in spans.spans if span.kind == "SERVER"), key=lambda span: not span.links)
    assert joined.links == ((worked.span_id, {"allocation_gateway.link": "joined"}),)
    assert marks(joined) == {"joined": True}
    assert joined.attributes["error.type"] == joined.attributes["allocation_gateway.reason"] == "OUTCOME_UNKNOWN"
    assert spans.span("CLIENT").parent_id == worked.span_id
    assert worked.links == ()


def test_call_that_gets_a_remembered_answer_is_linked_to_the_call_that_did_the_work(
    front: Front, spans: Collector
) -> None:
    request = another_write()
    request.request_id = str(uuid.uuid4())
    for _ in range(2):
        front.stub.AllocateShipment(request, timeout=LONG)
    wait_for_calls(spans, 2)
    worked, remembered = (span for span in spans.spans if span.kind == "SERVER")
    assert worked.links == ()
    assert remembered.links == ((worked.span_id, {"allocation_gateway.link": "remembered"}),)
    assert spans.span("CLIENT").parent_id == worked.span_id


def test_call_that_takes_over_a_doubt_is_linked_to_the_call_that_left_it(front: Front, spans: Collector) -> None:
    """Its shipment cannot be read, so that nobody finds out what became of it."""
    front.upstream.answer(raw=b"", close=True, to="PUT")
    request = another_write()
    request.shipment_reference = UNREADABLE + request.shipment_reference
    request.request_id = str(uuid.uuid4())
    failure(lambda: front.stub.AllocateShipment(request, timeout=0.3))
    front.gateway.wait_for("detached_write_failed", reference=request.shipment_reference)
    other = pb.AllocateShipmentRequest(shipment_reference=request.shipment_reference)
    failure(lambda: front.stub.AllocateShipment(other, timeout=0.3))
    failure(lambda: front.stub.AllocateShipment(request, timeout=0.3))
    wait_for_calls(spans, 3)
    left, in_the_way, taken_over = (span for span in spans.spans if span.kind == "SERVER")
    detached = detached_part(spans, left)
    assert marks(detached)["left_in_doubt"]
    assert left.links == ()
    assert in_the_way.links == ((left.span_id, {"allocation_gateway.link": "in_the_way"}),)
    assert taken_over.links == ((left.span_id, {"allocation_gateway.link": "taken_over"}),)
    assert marks(taken_over)["taken_over"]


def test_call_without_a_trace_leaves_none_to_link_to(front: Front, spans: Collector) -> None:
    request = another_write()
    request.request_id = str(uuid.uuid4())
    front.stub.AllocateShipment(request, timeout=LONG, metadata=(("traceparent", f"00-{1:032x}-{1:016x}-00"),))
    front.stub.AllocateShipment(request, timeout=LONG)
    wait_for_calls(spans)
    assert spans.span("SERVER").links == ()
    assert marks(spans.span("SERVER")) == {"remembered": True}


def test_what_becomes_of_a_write_after_its_caller_has_gone_is_told_in_its_trace(front: Front, spans: Collector) -> None:
    """The commonest doubt of all: the caller's deadline passes before there is an answer, or none."""
    release = front.upstream.hold(raw=b"", close=True, to="PUT")
    request = another_write()
    call = front.stub.AllocateShipment.future(request, timeout=0.5)
    front.upstream.next_request("PUT")
    assert call.code() is grpc.StatusCode.UNKNOWN
    front.gateway.wait_for("write_detached", reference=request.shipment_reference)
    release.set()
    front.gateway.wait_for("detached_write_failed", reference=request.shipment_reference)
    wait_for_calls(spans)
    server = spans.span("SERVER")
    detached = detached_part(spans, server)
    assert detached.trace_id == server.trace_id
    assert happened(server) == ["claimed", "detached"]
    assert marks(server) == {"detached": True}
    assert [name for name in happened(detached) if name != "read_back"] == ["in_doubt", "settled"]
    assert marks(detached) == {"in_doubt": True, "settled": True}
    assert detached.attributes["rpc.method"] == server.attributes["rpc.method"]
    assert detached.attributes["allocation_gateway.reason"] == "OUTCOME_UNKNOWN"
    own = [span for span in spans.spans if span.trace_id == server.trace_id]
    readings = [span for span in own if span.attributes.get("allocation_gateway.attempt.kind") == "read_back"]
    assert {span.parent_id for span in readings} == {detached.span_id}


def test_what_happens_after_its_call_has_ended_is_no_complaint_of_the_library(front: Front, spans: Collector) -> None:
    """The SDK logs a warning if a span is told something after its end."""
    front.upstream.answer(raw=b"", close=True, to="PUT")
    request = another_write()
    failure(lambda: front.stub.AllocateShipment(request, timeout=0.15))
    front.gateway.wait_for("detached_write_failed", reference=request.shipment_reference)
    assert not [line for line in list(front.gateway.lines) if line["event"] == "library"]
