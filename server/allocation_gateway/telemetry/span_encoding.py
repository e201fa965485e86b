"""Encodes spans for OTLP as the SDK does, in a third of its time.

The SDK makes several messages for each attribute of each span. Most attributes are the same from span to span, and
bytes that were encoded once can be merged into a message again. What goes around the spans is left to the SDK, and so
are spans that are not plain.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanKind, StatusCode

# So many different attributes, such as that the status was 200, are kept as they were encoded.
_KEPT: Final = 4096
_LOCAL: Final = trace_pb2.SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = _LOCAL | trace_pb2.SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


def encode_spans(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Returns the request that exports spans, as the function of the SDK that has this name does."""
    request = trace_encoder.encode_spans(spans[:1])
    if len(spans) < 2:
        return request
    first, *others = spans
    encoded = request.resource_spans[0].scope_spans[0].spans
    for span in others:
        if span.resource is not first.resource or span.instrumentation_scope != first.instrumentation_scope:
            return trace_encoder.encode_spans(spans)
        encoded.append(_plain(span) or _by_sdk(span))
    return request


def _by_sdk(span: ReadableSpan) -> Span:
    return trace_encoder.encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]


def _plain(span: ReadableSpan) -> Span | None:
    """Returns a span that has no more than most have; None if it has."""
    context, parent, events = span.context, span.parent, span.events
    if context.trace_state or span.links or span.dropped_attributes or span.dropped_events or span.dropped_links:
        return None
    parts = [_constant(span.name, span.kind, span.status.status_code, span.status.description)]
    for key, value in (span.attributes or {}).items():
        if not isinstance(value, (str, int)):
            return None
        parts.append(_attribute(key, value))
    encoded = Span(
        trace_id=context.trace_id.to_bytes(16, "big"),
        span_id=context.span_id.to_bytes(8, "big"),
        parent_span_id=b"" if parent is None else parent.span_id.to_bytes(8, "big"),
        start_time_unix_nano=span.start_time or 0,
        end_time_unix_nano=span.end_time or 0,
        flags=_LOCAL if parent is None or not parent.is_remote else _REMOTE,
    )
    for event in events:
        if event.attributes:
            return None
        encoded.events.add(name=event.name, time_unix_nano=event.timestamp)
    encoded.MergeFromString(b"".join(parts))
    return encoded


@lru_cache(maxsize=_KEPT)
def _constant(name: str, kind: SpanKind, status: StatusCode, description: str | None) -> bytes:
    """Returns what spans of a name have in common."""
    told = Status(code=Status.StatusCode.Value(f"STATUS_CODE_{status.name}"), message=description or "")
    return Span(name=name, kind=Span.SpanKind.Value(f"SPAN_KIND_{kind.name}"), status=told).SerializeToString()


# 1 and True are the same key otherwise.
@lru_cache(maxsize=_KEPT, typed=True)
def _attribute(key: str, value: str | int) -> bytes:
    """Returns a span that has only this attribute: merged into another one, it adds the attribute."""
    if isinstance(value, str):
        told = AnyValue(string_value=value)
    else:
        told = AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(int_value=value)
    return Span(attributes=[KeyValue(key=key, value=told)]).SerializeToString()
