"""One rpc, and one upstream request within it, as spans, metrics and log fields.

Names follow the OpenTelemetry semantic conventions for RPC and HTTP. Without a tracer no span object is made, and
without a meter nothing is measured.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import SpanKind, StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from allocation_gateway.telemetry.telemetry import Telemetry

# The convention paints a server span red only for what is the server's own fault.
_SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_HTTP_ERROR: Final = 400
# Current names of the conventions, in one place because they are still moving.
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"


def is_server_error(code: str) -> bool:
    """Tells whether a gRPC status code is the server's fault rather than its caller's."""
    return code in _SERVER_ERRORS


class Observation:
    """Something that makes upstream requests and is nobody's rpc: work that the gateway does of its own accord."""

    __slots__ = ("_span", "_telemetry")

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._span: Span | None = None

    def request(self, method: str, template: str, base_url: str, path: str) -> RequestObservation:
        """Starts observing an upstream request."""
        return RequestObservation(self._telemetry, self._span, (method, template), base_url, path)


class CallObservation(Observation):
    """One rpc, from its arrival to its status."""

    __slots__ = ("_attributes", "started")

    def __init__(self, telemetry: Telemetry, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        super().__init__(telemetry)
        self._attributes: dict[str, str | int] = {RPC_SYSTEM: "grpc", RPC_METHOD: method}
        self.started = time.perf_counter()
        if telemetry.tracer is not None:
            carrier = {key: value for key, value in metadata if key in telemetry.propagated and isinstance(value, str)}
            if carrier or telemetry.begins_trace(method, self._attributes):
                self._span = telemetry.tracer.start_span(
                    method, context=extract(carrier), kind=SpanKind.SERVER, attributes=self._attributes
                )

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
        attributes = self._attributes
        attributes[RPC_STATUS] = code
        if code in _SERVER_ERRORS:
            attributes[ERROR_TYPE] = code
        if self._telemetry.call_duration is not None:
            self._telemetry.call_duration.record(self.seconds(), attributes, context=_context(self._span))
        if self._span is not None:
            self._span.set_attributes(attributes)
            if code in _SERVER_ERRORS:
                self._span.set_status(StatusCode.ERROR)
            self._span.end()


class RequestObservation:
    """One upstream request, from before it is sent to its answer."""

    __slots__ = ("_attributes", "_parent", "_span", "_started", "_telemetry")

    def __init__(
        self, telemetry: Telemetry, parent: Span | None, route: tuple[str, str], base_url: str, path: str
    ) -> None:
        method, template = route
        self._telemetry = telemetry
        self._attributes = dict(telemetry.request_attributes(method, template, base_url))
        self._parent = parent
        self._span: Span | None = None
        if telemetry.tracer is not None and (parent is None or parent.is_recording()):
            self._span = telemetry.tracer.start_span(
                f"{method} {template}",
                context=None if parent is None else trace.set_span_in_context(parent),
                kind=SpanKind.CLIENT,
                attributes={**self._attributes, "url.full": base_url + path},
            )
        self._started = time.perf_counter()

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
        self._attributes["http.response.status_code"] = status
        self._end(str(status) if status >= _HTTP_ERROR else "")

    def failed(self, error_type: str) -> None:
        """Ends the request without an answer."""
        self._end(error_type)

    def _end(self, error_type: str) -> None:
        if error_type:
            self._attributes[ERROR_TYPE] = error_type
        if self._telemetry.request_duration is not None:
            duration = time.perf_counter() - self._started
            self._telemetry.request_duration.record(duration, self._attributes, context=_context(self._span))
        if self._span is not None:
            self._span.set_attributes(self._attributes)
            if error_type:
                self._span.set_status(StatusCode.ERROR)
            self._span.end()


def _context(span: Span | None) -> Context | None:
    """Returns what joins a measurement with its trace; None if nobody records one."""
    return None if span is None or not span.is_recording() else trace.set_span_in_context(span)
