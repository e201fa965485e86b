"""Calls and upstream requests that have spans.

Names follow the OpenTelemetry semantic conventions for RPC and HTTP. A call that belongs to no trace and begins none
has no span object at all. What only spans need is made for recorded spans alone.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.telemetry import propagation
from allocation_gateway.telemetry.conventions import (
    ERROR_TYPE,
    REASON,
    RPC_METHOD,
    SCOPE,
    AttemptKind,
    call_attributes,
    is_request_fault,
    is_server_error,
    request_attributes,
    route_attributes,
    rpc_attributes,
)
from allocation_gateway.telemetry.observation import CallObservation, Observation, RequestObservation
from allocation_gateway.telemetry.sampling import root_sampling
from allocation_gateway.telemetry.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from opentelemetry.sdk.trace import TracerProvider

    from allocation_gateway.telemetry.conventions import Attributes, Route
    from allocation_gateway.telemetry.instruments import Instruments
    from allocation_gateway.telemetry.spans import Span

    Metadata = Collection[tuple[str, str | bytes]]

_WRITE_EVENTS: Final = "allocation_gateway.write"
_LINK: Final = "allocation_gateway.link"
_DETACHED: Final = "detached write"
# So many items of one call have a span each.
_MOST_ITEMS: Final = 1000
_LINK_TARGET: Final = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")


class NoTracing:
    """Starts observations while traces are off."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def call(self, method: str, metadata: Metadata) -> CallObservation:
        """Starts observing an rpc."""
        del metadata
        return CallObservation(self._instruments, method, time.perf_counter())

    def background(self) -> Observation:
        """Starts observing what the gateway does of its own accord."""
        return Observation(self._instruments)


class Tracing:
    """Starts observations that have spans, as far as they are sampled."""

    def __init__(self, instruments: Instruments, provider: TracerProvider) -> None:
        self._instruments = instruments
        self._spans = Spans(provider, SCOPE)
        self._propagated = propagation.fields()
        self._begins_trace = root_sampling(provider)

    def call(self, method: str, metadata: Metadata) -> CallObservation:
        """Starts observing an rpc, with a span if it belongs to a trace or begins one."""
        started = time.perf_counter()
        for key, _ in metadata:
            if key in self._propagated:
                return self._traced_call(method, metadata, started)
        if self._begins_trace(method):
            span = self._spans.start(method, None, SpanKind.SERVER, rpc_attributes(method))
            return self._observed(method, started, span)
        return CallObservation(self._instruments, method, started)

    def _traced_call(self, method: str, metadata: Iterable[tuple[str, str | bytes]], started: float) -> CallObservation:
        carrier = {key: value for key, value in metadata if key in self._propagated and isinstance(value, str)}
        span = self._spans.start(method, propagation.context_of(carrier), SpanKind.SERVER, rpc_attributes(method))
        return self._observed(method, started, span)

    def _observed(self, method: str, started: float, span: Span) -> CallObservation:
        if not isinstance(span, NonRecordingSpan):
            return RecordedCall(self._instruments, method, started, span, self._spans)
        return PropagatedCall(self._instruments, method, started, span)

    def background(self) -> Observation:
        """Starts observing what the gateway does of its own accord: each of its requests begins a trace."""
        return RecordedBackground(self._instruments, self._spans)


def _ids(context: SpanContext) -> Mapping[str, str]:
    """Returns the ids of a span as log lines have them."""
    return {"trace_id": format(context.trace_id, "032x"), "span_id": format(context.span_id, "016x")}


class PropagatedCall(CallObservation):
    """An rpc of a trace that is not recorded here, but carried on to upstream and named in the log."""

    __slots__ = ("_span",)

    def __init__(self, instruments: Instruments, method: str, started: float, span: Span) -> None:
        super().__init__(instruments, method, started)
        self._span = span

    @property
    def span_context(self) -> SpanContext:
        """What names the span to others."""
        return self._span.get_span_context()

    def log_fields(self) -> Mapping[str, str]:
        """See Observation."""
        return _ids(self.span_context)

    def request(
        self,
        method: str,
        template: str,
        base_url: str,
        path: str,
        kind: AttemptKind = AttemptKind.FIRST,
        resends: int = 0,
        account: str = DEFAULT_ACCOUNT,
    ) -> RequestObservation:
        """See Observation."""
        del path, resends
        return PropagatedRequest(self._instruments, (method, template, base_url, kind, account), self._span)


class RecordedCall(PropagatedCall):
    """An rpc whose trace is recorded."""

    __slots__ = ("_items", "_live", "_spans")

    def __init__(self, instruments: Instruments, method: str, started: float, span: Span, spans: Spans) -> None:
        super().__init__(instruments, method, started, span)
        self._spans = spans
        self._items = 0
        # The span that has what happens now: that of the call, or of what goes on after it.
        self._live = span

    def request(
        self,
        method: str,
        template: str,
        base_url: str,
        path: str,
        kind: AttemptKind = AttemptKind.FIRST,
        resends: int = 0,
        account: str = DEFAULT_ACCOUNT,
    ) -> RequestObservation:
        """See Observation. A request that is made for nothing that still goes on has no span."""
        if not self._live.is_recording():
            return super().request(method, template, base_url, path, kind, resends, account)
        route = (method, template, base_url, kind, account)
        name, attributes = _request_start(route, path, resends)
        span = self._spans.child(name, self._live, SpanKind.CLIENT, attributes)
        return RecordedRequest(self._instruments, route, span)

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """See Observation. What happens when nothing goes on any more is in no trace: the SDK would complain."""
        if self._live.is_recording():
            self._live.add_event(f"{_WRITE_EVENTS}.{name}", attributes)

    def mark(self, name: str) -> None:
        """See Observation."""
        self.event(name)
        if self._live.is_recording():
            self._live.set_attribute(f"{_WRITE_EVENTS}.{name}", True)

    def detach(self) -> None:
        """See Observation."""
        if self._live is not self._span or not self._span.is_recording():
            return
        # By it a collector keeps the trace that decides before the write has ended.
        self.mark("detached")
        self._live = self._spans.child(_DETACHED, self._span, attributes={RPC_METHOD: self._method})

    def end_detached(self, code: str, reason: str = "") -> None:
        """See Observation."""
        if self._live is not self._span:
            _end(self._live, code, reason)

    @property
    def link_target(self) -> str:
        """See Observation."""
        context = self.span_context
        return f"{context.trace_id:032x}-{context.span_id:016x}" if context.trace_flags.sampled else ""

    def joins(self, other: Observation) -> None:
        """See Observation."""
        if isinstance(other, PropagatedCall):
            self._link(other.span_context, "joined")

    def follows(self, link_target: str, how: str) -> None:
        """See Observation."""
        if _LINK_TARGET.fullmatch(link_target):
            trace_id, span_id = (int(part, 16) for part in link_target.split("-"))
            flags = TraceFlags(TraceFlags.SAMPLED)
            self._link(SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags), how)

    def _link(self, context: SpanContext, how: str) -> None:
        if self._live.is_recording():
            self._live.add_link(context, {_LINK: how})

    def item(self, reference: str) -> Observation:
        """See Observation. Of very many items, the further ones have no span of their own."""
        if self._items >= _MOST_ITEMS:
            return self
        self._items += 1
        return self._part("item", {"allocation_gateway.item.reference": reference})

    def batch(self, items: int) -> Observation:
        """See Observation."""
        return self._part("batch", {"allocation_gateway.batch.items": items})

    def _part(self, name: str, attributes: Attributes) -> Observation:
        if not self._span.is_recording():
            return self
        span = self._spans.child(name, self._span, attributes=attributes)
        return RecordedPart(self._instruments, self._method, self.started, span, self._spans)

    def finish(self, code: str, reason: str = "", account: str = DEFAULT_ACCOUNT) -> None:
        """See CallObservation."""
        span, call = self._span, (self._method, code, reason, account)
        self._instruments.call_duration.record(call, time.perf_counter() - self.started, span.get_span_context())
        span.set_attributes(call_attributes(call))
        if is_server_error(code):
            span.set_status(StatusCode.ERROR)
        span.end()


class RecordedPart(RecordedCall):
    """An item or a batch of a call that lasts."""

    __slots__ = ()

    def sent_with(self, batch: Observation) -> None:
        """See Observation."""
        if isinstance(batch, RecordedPart):
            self._link(batch.span_context, "batch")

    def end_part(self, code: str, reason: str = "") -> None:
        """See Observation."""
        _end(self._span, code, reason)


def _end(span: Span, code: str, reason: str) -> None:
    """Ends the span of something that is no rpc, with a gRPC status code all the same."""
    if reason:
        span.set_attribute(REASON, reason)
    if is_server_error(code):
        span.set_attribute(ERROR_TYPE, reason or code)
        span.set_status(StatusCode.ERROR)
    span.end()


class RecordedBackground(Observation):
    """Work that the gateway does of its own accord, whose requests are recorded as far as they are sampled."""

    __slots__ = ("_serves", "_spans")

    def __init__(self, instruments: Instruments, spans: Spans) -> None:
        super().__init__(instruments)
        self._spans = spans
        self._serves: list[SpanContext] = []

    def serves(self, other: Observation) -> None:
        """See Observation."""
        if isinstance(other, RecordedCall):
            self._serves.append(other.span_context)

    def request(
        self,
        method: str,
        template: str,
        base_url: str,
        path: str,
        kind: AttemptKind = AttemptKind.FIRST,
        resends: int = 0,
        account: str = DEFAULT_ACCOUNT,
    ) -> RequestObservation:
        """See Observation."""
        route = (method, template, base_url, kind, account)
        name, attributes = _request_start(route, path, resends)
        span = self._spans.start(name, None, SpanKind.CLIENT, attributes)
        for context in self._serves:
            span.add_link(context, {_LINK: "serves"})
        return RecordedRequest(self._instruments, route, span)


class PropagatedRequest(RequestObservation):
    """An upstream request of a trace that is not recorded here."""

    __slots__ = ("_span",)

    def __init__(self, instruments: Instruments, route: Route, span: Span) -> None:
        super().__init__(instruments, route)
        self._span = span

    def headers(self) -> list[tuple[bytes, bytes]]:
        """See RequestObservation."""
        return propagation.headers(self._span.get_span_context())

    def log_fields(self) -> Mapping[str, str]:
        """See RequestObservation."""
        return _ids(self._span.get_span_context())


class RecordedRequest(PropagatedRequest):
    """An upstream request with a span of its own, which may not be sampled."""

    __slots__ = ()

    def _end(self, outcome: int | str) -> None:
        span, request = self._span, (self._route, outcome)
        context = span.get_span_context() if span.is_recording() else None
        self._instruments.request_duration.record(request, time.perf_counter() - self._started, context)
        span.set_attributes(request_attributes(request))
        if is_request_fault(outcome):
            span.set_status(StatusCode.ERROR)
        span.end()


def _request_start(route: Route, path: str, resends: int) -> tuple[str, Attributes]:
    """Returns the name of the span of a request, and the attributes that it begins with."""
    method, template, base_url, _, _ = route
    resent = {"http.request.resend_count": resends} if resends else {}
    return f"{method} {template}", {**route_attributes(route), "url.full": base_url + path, **resent}
