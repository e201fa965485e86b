"""How a trace comes in with a call, and goes on with a request to upstream, as OTEL_PROPAGATORS says."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.propagate import extract, get_global_textmap, inject
from opentelemetry.trace import NonRecordingSpan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import SpanContext

_B3: Final = frozenset({"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"})


def fields() -> frozenset[str]:
    """Returns the metadata keys that say to which trace a call belongs."""
    found = frozenset(get_global_textmap().fields)
    # Each propagator of B3 reads both spellings, and a header for debugging that it does not list.
    return found | _B3 if found & _B3 else found


def context_of(carrier: Mapping[str, str]) -> Context:
    """Returns what a call is within, by those of its metadata."""
    return extract(carrier)


def headers(span: SpanContext) -> list[tuple[bytes, bytes]]:
    """Returns the headers by which the trace of a span goes on."""
    if span.is_valid and not span.trace_state and _is_w3c(get_global_textmap()):
        # What would be injected, without a carrier, a context and a span for it.
        return [(b"traceparent", b"00-%032x-%016x-%02x" % (span.trace_id, span.span_id, span.trace_flags))]
    carrier: dict[str, str] = {}
    inject(carrier, context=trace.set_span_in_context(NonRecordingSpan(span)))
    return [(name.encode(), value.encode()) for name, value in carrier.items()]


@lru_cache(maxsize=1)
def _is_w3c(propagator: TextMapPropagator) -> bool:
    """Returns whether traces go on by W3C trace context alone: there never is any baggage to go on."""
    return set(propagator.fields) - {"baggage"} == {"traceparent", "tracestate"}
