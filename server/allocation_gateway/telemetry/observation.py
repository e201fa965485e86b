"""One rpc, and one upstream request within it, as spans, metrics and log fields.

Names follow the OpenTelemetry semantic conventions for RPC and HTTP. Without a tracer no span object is made, and
without a meter nothing is measured. What only spans need is made for those that are recorded alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind, StatusCode

from allocation_gateway.telemetry.conventions import is_request_error, is_server_error, of_call, of_request, of_route

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from allocation_gateway.telemetry.conventions import Route
    from allocation_gateway.telemetry.telemetry import Telemetry


class Observation:
    """Something that makes upstream requests and is nobody's rpc: work that the gateway does of its own accord."""

    __slots__ = ("_span", "_telemetry")

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._span: Span | None = None

    def request(self, method: str, template: str, base_url: str, path: str) -> RequestObservation:
        """Starts observing an upstream request."""
        request = RequestObservation(self._telemetry, (method, template, base_url), self._span)
        if (tracer := self._tracer()) is not None:
            request.begin_span(tracer, path)
        return request

    def _tracer(self) -> Tracer | None:
        """Returns what makes the spans of requests, here each the first of its trace; None if they get none."""
        return self._telemetry.tracer


class CallObservation(Observation):
    """One rpc, from its arrival to its status."""

    __slots__ = ("_method", "started")

    def __init__(self, telemetry: Telemetry, method: str, metadata: Collection[tuple[str, str | bytes]]) -> None:
        self._telemetry = telemetry
        self._method = method
        self.started = time.perf_counter()
        self._span = telemetry.server_span(method, metadata)

    def _tracer(self) -> Tracer | None:
        return None if self._span is None or not self._span.is_recording() else self._telemetry.tracer

    def seconds(self) -> float:
        """Returns how long the rpc has taken so far."""
        return time.perf_counter() - self.started

    def log_fields(self) -> Mapping[str, str]:
        """Returns the ids that join a log line with its trace; nothing if there is none."""
        if self._span is None:
            return {}
        context = self._span.get_span_context()
        return {"trace_id": format(context.trace_id, "032x"), "span_id": format(context.span_id, "016x")}

    def finish(self, code: str) -> None:
        """Ends the rpc with a gRPC status code."""
        span = self._span
        if (durations := self._telemetry.call_duration) is not None:
            context = None if span is None else _context(span)
            durations.record((self._method, code), time.perf_counter() - self.started, context)
        if span is not None:
            span.set_attributes(of_call((self._method, code)))
            if is_server_error(code):
                span.set_status(StatusCode.ERROR)
            span.end()


class RequestObservation:
    """One upstream request, from before it is sent to its answer."""

    __slots__ = ("_parent", "_route", "_span", "_started", "_telemetry")

    def __init__(self, telemetry: Telemetry, route: Route, parent: Span | None) -> None:
        self._telemetry = telemetry
        self._route = route
        self._parent = parent
        self._span: Span | None = None
        self._started = time.perf_counter()

    def begin_span(self, tracer: Tracer, path: str) -> None:
        """Starts the request's own span."""
        method, template, base_url = self._route
        self._span = tracer.start_span(
            f"{method} {template}",
            context=None if self._parent is None else trace.set_span_in_context(self._parent),
            kind=SpanKind.CLIENT,
            attributes={**of_route(self._route), "url.full": base_url + path},
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Returns the headers that carry the trace on to upstream: also one that a caller has and nobody records."""
        span = self._span or self._parent
        if span is None:
            return []
        carrier: dict[str, str] = {}
        inject(carrier, context=trace.set_span_in_context(span))
        return [(name.encode(), value.encode()) for name, value in carrier.items()]

    def answered(self, status: int) -> None:
        """Ends the request with an HTTP status."""
        self._end(status)

    def undocumented(self, method: str, result: str) -> None:
        """Counts that the answer is not as documented, by the row that was called and by what became of it."""
        self._telemetry.answer_undocumented(method, result)

    def failed(self, error_type: str) -> None:
        """Ends the request without an answer."""
        self._end(error_type)

    def _end(self, outcome: int | str) -> None:
        span = self._span
        if (durations := self._telemetry.request_duration) is not None:
            context = None if span is None else _context(span)
            durations.record((self._route, outcome), time.perf_counter() - self._started, context)
        if span is not None:
            span.set_attributes(of_request((self._route, outcome)))
            if is_request_error(outcome):
                span.set_status(StatusCode.ERROR)
            span.end()


def _context(span: Span) -> Context | None:
    """Returns what joins a measurement with its trace; None if nobody records it."""
    return trace.set_span_in_context(span) if span.is_recording() else None
