"""Spans of the requests that the sandbox answers: where a trace through a gateway ends.

The standard OTEL_* variables say where they go. Without an exporter or an endpoint for them there are none.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

SERVICE: Final = "sandbox"
_FIRST_ERROR_STATUS: Final = 500


class Spans(Protocol):
    """Makes spans."""

    def request(
        self, method: str, template: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Callable[[int | None], None]]:
        """Observe one request. What is yielded takes the status of its answer; None if the connection was cut."""

    def close(self) -> None:
        """Send off what is left."""


class NoSpans:
    """Makes none."""

    @contextmanager
    def request(self, method: str, template: str, headers: Mapping[str, str]) -> Iterator[Callable[[int | None], None]]:
        """Observe nothing."""
        del method, template, headers
        yield lambda _: None

    def close(self) -> None:
        """Nothing is left."""


class RecordedSpans:
    """Makes a span for each request of a trace that is sampled."""

    def __init__(self, provider: Any) -> None:
        """Takes an SDK's TracerProvider."""
        self._provider = provider
        self._tracer = provider.get_tracer("allocation_gateway.sandbox")

    @contextmanager
    def request(self, method: str, template: str, headers: Mapping[str, str]) -> Iterator[Callable[[int | None], None]]:
        """See Spans."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode

        carrier = {name.lower(): value for name, value in headers.items()}
        asked = {"http.request.method": method, "http.route": template}
        with self._tracer.start_as_current_span(
            f"{method} {template}", extract(carrier), SpanKind.SERVER, attributes=asked
        ) as span:

            def ended(status: int | None) -> None:
                if status is None:
                    span.set_attribute("error.type", "connection_cut")
                else:
                    span.set_attribute("http.response.status_code", status)
                if status is None or status >= _FIRST_ERROR_STATUS:
                    span.set_status(StatusCode.ERROR)

            yield ended

    def close(self) -> None:
        """See Spans."""
        self._provider.shutdown()


def from_environment(environ: Mapping[str, str]) -> Spans:
    """Return what the variables ask for."""
    wanted = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if is_off or (wanted or "otlp") != "otlp" or not (wanted or any(environ.get(name) for name in endpoints)):
        return NoSpans()
    # On demand: few sandboxes are traced.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": SERVICE}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return RecordedSpans(provider)
