"""Spans that cost little: each is kept as plain values, which the SDK is given when it ends.

The SDK's own spans are made for any number of threads and for values of any kind: each of them, its attributes and its
lists have a lock, and each value is looked at when it is set. Spans of the gateway belong to its event loop, and it
chooses their values itself. What the standard variables decide is left to the SDK: the sampler, the ids, the limits,
and where a span goes that has ended.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from allocation_gateway.telemetry.sampling import KnownSampling
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Tracer, TracerProvider
    from opentelemetry.util.types import Attributes, AttributeValue

    Span: TypeAlias = "RecordedSpan | NonRecordingSpan"

_UNSET: Final = Status(StatusCode.UNSET)
# By whether a trace is sampled, and whether its id is random.
_FLAGS: Final = {
    (sampled, random): TraceFlags(sampled * TraceFlags.SAMPLED | random * TraceFlags.RANDOM_TRACE_ID)
    for sampled in (False, True)
    for random in (False, True)
}


class Spans:
    """Starts the spans of one instrumentation scope.

    Attributes:
        scope: That scope.
        limits: How much a span may hold.
        tracer: The one of the SDK, which knows where spans come from and where they go.
    """

    def __init__(self, provider: TracerProvider, scope: str) -> None:
        """Has started none yet.

        Args:
            provider: What the standard variables ask for.
            scope: The name of the scope.
        """
        self.scope = InstrumentationScope(scope, __version__)
        self.limits = SpanLimits()
        self.tracer = cast("Tracer", provider.get_tracer(scope, __version__))
        self._known = KnownSampling(provider.sampler)

    def start(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
    ) -> Span:
        """Starts a span, which is recorded if the sampler says so.

        Args:
            name: Its name.
            context: What it is within; None if it begins a trace.
            kind: Its kind.
            attributes: Those that it begins with. Samplers see them.
        """
        parent = None if context is None else trace.get_current_span(context).get_span_context()
        if parent is not None and parent.is_valid:
            return self._ask(name, parent, parent.trace_id, context, kind, attributes)
        trace_id = self.tracer.id_generator.generate_trace_id()
        bound = self._known.root_bound
        if bound is None:
            return self._ask(name, None, trace_id, context, kind, attributes)
        is_sampled = trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < bound
        flags = _FLAGS[is_sampled, self.tracer.id_generator.is_trace_id_random()]
        own = SpanContext(trace_id, self.tracer.id_generator.generate_span_id(), is_remote=False, trace_flags=flags)
        return RecordedSpan(self, name, own, None, kind, attributes) if is_sampled else NonRecordingSpan(own)

    def child(self, name: str, within: Span, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes = None) -> Span:
        """Starts a span within another one that was started here: see start()."""
        parent = within.get_span_context()
        if not (self._known.keeps_children and parent.trace_flags.sampled):
            context = trace.set_span_in_context(NonRecordingSpan(parent))
            return self._ask(name, parent, parent.trace_id, context, kind, attributes)
        span_id = self.tracer.id_generator.generate_span_id()
        own = SpanContext(parent.trace_id, span_id, False, parent.trace_flags, parent.trace_state)
        return RecordedSpan(self, name, own, parent, kind, attributes)

    def _ask(
        self,
        name: str,
        parent: SpanContext | None,
        trace_id: int,
        context: Context | None,
        kind: SpanKind,
        attributes: Attributes,
    ) -> Span:
        """Starts a span as the sampler says, and as the SDK does."""
        ids = self.tracer.id_generator
        result = self.tracer.sampler.should_sample(context, trace_id, name, kind, attributes, ())
        is_random = ids.is_trace_id_random() if parent is None else parent.trace_flags.random_trace_id
        flags = _FLAGS[result.decision is Decision.RECORD_AND_SAMPLE, is_random]
        own = SpanContext(trace_id, ids.generate_span_id(), False, flags, result.trace_state)
        if result.decision is Decision.DROP:
            return NonRecordingSpan(own)
        return RecordedSpan(self, name, own, parent, kind, result.attributes)


class RecordedSpan:
    """A span that is recorded, with those methods of OpenTelemetry's that the gateway needs."""

    __slots__ = (
        "_attributes",
        "_context",
        "_events",
        "_has_ended",
        "_kind",
        "_links",
        "_name",
        "_parent",
        "_spans",
        "_started",
        "_status",
    )

    def __init__(
        self,
        spans: Spans,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
    ) -> None:
        """Begins now.

        Args:
            spans: What has started it.
            name: Its name.
            context: Its ids.
            parent: Those of the span that it is within; None if it begins the trace.
            kind: Its kind.
            attributes: Those that it begins with.
        """
        self._spans = spans
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._attributes = dict(attributes or {})
        self._events: BoundedList[Event] | None = None
        self._links: BoundedList[Link] | None = None
        self._status = _UNSET
        self._has_ended = False
        self._started = time_ns()

    def get_span_context(self) -> SpanContext:
        """Returns its ids."""
        return self._context

    def is_recording(self) -> bool:
        """Returns whether it goes on. What is told of it later is lost."""
        return not self._has_ended

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Sets an attribute."""
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets attributes."""
        self._attributes.update(attributes)

    def add_event(self, name: str, attributes: Attributes = None) -> None:
        """Adds what happens now."""
        limits = self._spans.limits
        if self._events is None:
            self._events = BoundedList(limits.max_events)
        self._events.append(Event(name, limited(attributes, limits.max_event_attributes, limits.max_attribute_length)))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Adds a link to another span."""
        limits = self._spans.limits
        if self._links is None:
            self._links = BoundedList(limits.max_links)
        self._links.append(Link(context, limited(attributes, limits.max_link_attributes, limits.max_attribute_length)))

    def set_status(self, code: StatusCode) -> None:
        """Sets the status."""
        self._status = Status(code)

    def end(self) -> None:
        """Ends now, and goes to where spans are exported."""
        if self._has_ended:
            return
        self._has_ended = True
        spans = self._spans
        limits = spans.limits
        spans.tracer.span_processor.on_end(
            ReadableSpan(
                self._name,
                self._context,
                self._parent,
                spans.tracer.resource,
                limited(self._attributes, limits.max_span_attributes, limits.max_span_attribute_length),
                self._events or (),
                self._links or (),
                self._kind,
                None,
                self._status,
                self._started,
                time_ns(),
                spans.scope,
            )
        )


def limited(attributes: Attributes, most: int | None, longest: int | None) -> Attributes:
    """Returns attributes within limits: the same where nothing has to go, as the SDK otherwise.

    Args:
        attributes: The attributes. They are not changed any more.
        most: How many there may be; None if any.
        longest: How long a text may be; None if any.
    """
    if longest is None and (most is None or len(attributes or ()) <= most):
        return attributes or {}
    return BoundedAttributes(most, attributes, max_value_len=longest)
