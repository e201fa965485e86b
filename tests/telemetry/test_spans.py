"""Spans and their encoding are the same as those of the SDK, which they are made instead of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway.telemetry import exporters, propagation, variables
from allocation_gateway.telemetry.sampling import KnownSampling, TraceIds
from allocation_gateway.telemetry.span_encoding import encode_spans
from allocation_gateway.telemetry.spans import Spans
from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_exporter
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_exporter
from opentelemetry.propagators.b3 import B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

SCOPE: Final = "test"
LINKED: Final = SpanContext(17, 4, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
REMOTE: Final = SpanContext(5, 6, True, TraceFlags(TraceFlags.SAMPLED), TraceState([("vendor", "x")]))


class Odd(Sampler):
    """Keeps what it likes, in a way that its description does not tell."""

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        del parent_context, trace_id, kind, attributes, links, trace_state
        decision = Decision.RECORD_AND_SAMPLE if "kept" in name else Decision.DROP
        return SamplingResult(decision, {"added": 1}, TraceState([("odd", "1")]))

    def get_description(self) -> str:
        return "Odd"


class Pipe:
    """Where spans go."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler, shutdown_on_exit=False, id_generator=TraceIds())
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.ours = Spans(self.provider, SCOPE)
        self.sdk = self.provider.get_tracer(SCOPE)

    def ended(self) -> Sequence[ReadableSpan]:
        found = self._exporter.get_finished_spans()
        self._exporter.clear()
        return found


def whole(span: Any) -> None:
    """Gives a span all that spans have."""
    span.set_attribute("b", True)
    span.set_attributes({"c": "text " * 10, "d": "x"})
    span.add_event("plain")
    span.add_event("told", {"e": "text " * 10, "f": 2})
    span.add_event("again")
    span.add_link(LINKED, {"g": "text " * 10, "h": "x"})
    span.add_link(LINKED, {"g": "y"})
    span.set_status(StatusCode.ERROR)
    span.end()


def seen(span: ReadableSpan) -> dict[str, Any]:
    """Returns what does not differ from span to span."""
    return {
        "name": span.name,
        "kind": span.kind,
        "status": span.status.status_code,
        "attributes": dict(span.attributes or {}),
        "events": [(event.name, dict(event.attributes or {}), event.dropped_attributes) for event in span.events],
        "links": [(link.context, dict(link.attributes or {}), link.dropped_attributes) for link in span.links],
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "flags": span.context.trace_flags,
        "state": dict(span.context.trace_state),
        "parent": span.parent is not None,
        "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
        "resource": span.resource,
    }


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7"},
        {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7"},
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "2"},
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "1"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "2", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "1"},
        {"OTEL_SPAN_LINK_COUNT_LIMIT": "1", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "1"},
    ],
)
def test_span_is_what_the_sdk_would_have_made_of_it(limits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    pipe = Pipe()
    given = {"a": 1, "b": False}
    for context in (None, trace.set_span_in_context(NonRecordingSpan(REMOTE))):
        whole(pipe.ours.start("name", context, SpanKind.SERVER, given))
        whole(pipe.sdk.start_span("name", context, SpanKind.SERVER, given))
        ours, sdk = pipe.ended()
        assert seen(ours) == seen(sdk)
        assert 0 < (ours.start_time or 0) <= (ours.end_time or 0)
        assert encode_spans([ours, sdk, ours]) == trace_encoder.encode_spans([ours, sdk, ours])


@pytest.mark.parametrize(
    "sampler",
    [
        ALWAYS_ON,
        ALWAYS_OFF,
        DEFAULT_ON,
        DEFAULT_OFF,
        TraceIdRatioBased(0.5),
        ParentBasedTraceIdRatio(0.5),
        ParentBasedTraceIdRatio(0.0),
        ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF),
        ParentBased(TraceIdRatioBased(0.5), remote_parent_sampled=ALWAYS_OFF),
        Odd(),
    ],
    ids=lambda sampler: sampler.get_description(),
)
def test_what_is_kept_is_what_the_sampler_says(sampler: Sampler) -> None:
    """Also where it is known without asking."""
    pipe = Pipe(sampler)
    unsampled = SpanContext(9, 8, is_remote=True, trace_flags=TraceFlags(TraceFlags.DEFAULT))
    contexts = [None, *(trace.set_span_in_context(NonRecordingSpan(each)) for each in (REMOTE, unsampled))]
    ids = pipe.provider.id_generator
    assert isinstance(ids, TraceIds)
    for number in range(32):
        for context in contexts:
            made = []
            for start in (pipe.ours.start, pipe.sdk.start_span):
                ids.reserve((number << 64 | number << 59) + 1)
                made.append(start("kept" if number % 2 else "other", context, SpanKind.SERVER, {"a": 1}))
            ours, sdk = (span.get_span_context() for span in made)
            same = [(each.trace_id, each.trace_flags, dict(each.trace_state)) for each in (ours, sdk)]
            # An id that was reserved and not needed must not be taken by the next span.
            ids.generate_trace_id()
            assert same[0] == same[1]
            assert made[0].is_recording() == made[1].is_recording()
            if not made[0].is_recording():
                continue
            ours_child = pipe.ours.child("kept", made[0])  # type: ignore[arg-type]
            sdk_child = pipe.sdk.start_span("kept", trace.set_span_in_context(made[1]))  # type: ignore[arg-type]
            assert ours_child.get_span_context().trace_flags == sdk_child.get_span_context().trace_flags
            assert dict(ours_child.get_span_context().trace_state) == dict(sdk_child.get_span_context().trace_state)
            assert ours_child.is_recording() == sdk_child.is_recording()


def test_samplers_of_the_standard_variables_are_known() -> None:
    """Of those that are not, each span asks: right, and dearer."""
    for sampler in (ALWAYS_ON, DEFAULT_ON, TraceIdRatioBased(0.01), ParentBasedTraceIdRatio(0.01)):
        known = KnownSampling(sampler)
        assert known.root_bound
        assert known.keeps_children
    assert KnownSampling(Odd()).root_bound is None
    assert not KnownSampling(Odd()).keeps_children


def test_spans_are_encoded_as_by_the_sdk() -> None:
    pipe = Pipe()
    assert encode_spans([]) == trace_encoder.encode_spans([])
    for number in range(3):
        span = pipe.ours.start("call", None, SpanKind.SERVER, {"number": number, "is": True, "one": 1, "text": "é"})
        child = pipe.ours.child("part", span, SpanKind.CLIENT, {"number": number})
        child.add_event("plain")
        child.set_status(StatusCode.ERROR)
        child.end()
        span.end()
        pipe.sdk.start_span("list", attributes={"list": ["a", "b"], "float": 1.5}).end()
    spans = pipe.ended()
    assert encode_spans(spans) == trace_encoder.encode_spans(spans)
    assert encode_spans(spans[:1]) == trace_encoder.encode_spans(spans[:1])
    other = Pipe()
    other.ours.start("another").end()
    both = [*spans, *other.ended()]
    assert encode_spans(both) == trace_encoder.encode_spans(both)


@pytest.fixture
def own_propagator() -> Iterator[None]:
    before = propagate.get_global_textmap()
    yield
    propagate.set_global_textmap(before)


@pytest.mark.usefixtures("own_propagator")
def test_trace_goes_on_by_the_header_that_the_propagator_would_write() -> None:
    w3c = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
    for propagator in (w3c, TraceContextTextMapPropagator(), B3SingleFormat(), CompositePropagator([])):
        propagate.set_global_textmap(propagator)
        for context in (LINKED, REMOTE, SpanContext(1, 2, is_remote=False), INVALID_SPAN_CONTEXT):
            carrier: dict[str, str] = {}
            propagator.inject(carrier, trace.set_span_in_context(NonRecordingSpan(context)))
            assert dict(propagation.headers(context)) == {k.encode(): v.encode() for k, v in carrier.items()}


def test_exporters_encode_spans_so() -> None:
    for protocol, module in (("grpc", grpc_exporter), ("http/protobuf", http_exporter)):
        exporters.span_exporter("otlp", {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}).shutdown()
        assert vars(module)["encode_spans"] is encode_spans
    assert variables.HTTP == "http/protobuf"
