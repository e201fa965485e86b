"""The OpenTelemetry providers of a process: made from the standard OTEL_* variables, closed last of all."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from allocation_gateway.settings import ConfigurationError
from allocation_gateway.telemetry.observation import CallObservation, Observation
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import Counter, Histogram, Meter
    from opentelemetry.metrics import _Gauge as Gauge
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

SCOPE: Final = "allocation_gateway"
# The buckets that both conventions advise, in seconds.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Telemetry:
    """Where observations go. Made without arguments it is off: no exporter, no thread, no span.

    Attributes:
        tracer: Makes spans; None if traces are off.
        call_duration: `rpc.server.call.duration`; None if metrics are off.
        request_duration: `http.client.request.duration`; None if metrics are off.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self.tracer: Tracer | None = None
        self.call_duration: Histogram | None = None
        self.request_duration: Histogram | None = None
        self._lookups: Counter | None = None
        self._events: Counter | None = None
        self._usable: Gauge | None = None
        self._detached: Counter | None = None
        if tracer_provider is not None:
            self.tracer = tracer_provider.get_tracer(SCOPE, __version__)
        if meter_provider is not None:
            self._make_instruments(meter_provider.get_meter(SCOPE, __version__))

    def _make_instruments(self, meter: Meter) -> None:
        self.call_duration = meter.create_histogram(
            "rpc.server.call.duration",
            unit="s",
            description="How long calls take.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self.request_duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="How long requests to upstream take.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._lookups = meter.create_counter(
            "allocation_gateway.service_group.lookups",
            unit="{lookup}",
            description="Service-group codes looked up, by whether they were known.",
        )
        self._events = meter.create_counter(
            "allocation_gateway.service_group.events",
            unit="{event}",
            description="What happened to the sources of service groups and to the cache that replicas share.",
        )
        self._usable = meter.create_gauge(
            "allocation_gateway.service_group.usable",
            unit="1",
            description="1 while the catalogue file as it is is in use, or the shared cache answers; else 0.",
        )
        self._detached = meter.create_counter(
            "allocation_gateway.detached_writes",
            unit="{write}",
            description="Writes that went on after their caller had gone or its deadline had passed.",
        )

    def call(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> CallObservation:
        """Starts observing an rpc."""
        return CallObservation(self, method, metadata)

    def group_lookup(self, known: bool) -> None:
        """Counts a lookup of a service-group code."""
        if self._lookups is not None:
            self._lookups.add(1, {"result": "hit" if known else "miss"})

    def group_event(self, event: str) -> None:
        """Counts something that happened to the sources of service groups or to the cache that replicas share."""
        if self._events is not None:
            self._events.add(1, {"event": event})

    def group_part(self, part: str, *, usable: bool) -> None:
        """Records whether a part that service groups come from can be used: `catalogue` or `cache`."""
        if self._usable is not None:
            self._usable.set(int(usable), {"part": part})

    def background(self) -> Observation:
        """Starts observing what the gateway does of its own accord."""
        return Observation(self)

    def write_detached(self, method: str) -> None:
        """Counts a write that goes on although nobody waits for it."""
        if self._detached is not None:
            self._detached.add(1, {"rpc.method": method})

    @staticmethod
    @lru_cache(maxsize=16)
    def server_of(base_url: str) -> Mapping[str, str | int]:
        """Returns the address and port of an upstream as attributes."""
        parts = urlsplit(base_url)
        default = 443 if parts.scheme == "https" else 80
        return {"server.address": parts.hostname or "", "server.port": parts.port or default}

    async def close(self, bound: float) -> None:
        """Sends off what is left, within a bound in seconds even if nobody takes it."""
        providers = [provider for provider in (self._tracer_provider, self._meter_provider) if provider is not None]
        if providers:
            await asyncio.wait([_shut_down(provider) for provider in providers], timeout=bound)


def _shut_down(provider: TracerProvider | MeterProvider) -> asyncio.Future[None]:
    """Shuts a provider down in a thread of its own. Exporters retry on their own clock: it may be left behind."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def work() -> None:
        try:
            provider.shutdown()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finish)

    threading.Thread(target=work, daemon=True).start()
    return done


def from_environment(environ: Mapping[str, str]) -> Telemetry:
    """Makes what the standard variables ask for: a signal is exported over OTLP if its exporter or an endpoint is set.

    Raises:
        ConfigurationError: A variable asks for an exporter or a protocol that the gateway does not have.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Telemetry()
    traces, metrics = _wanted("TRACES", environ), _wanted("METRICS", environ)
    if not traces and not metrics:
        return Telemetry()
    ours = Resource.create({"service.name": "allocation-gateway", "service.version": __version__})
    resource = ours.merge(OTELResourceDetector().detect())
    tracer_provider = meter_provider = None
    if traces:
        tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracer_provider.add_span_processor(BatchSpanProcessor(_span_exporter(environ)))
    if metrics:
        reader = PeriodicExportingMetricReader(_metric_exporter(environ))
        meter_provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    return Telemetry(tracer_provider, meter_provider)


def _wanted(signal: str, environ: Mapping[str, str]) -> bool:
    name = f"OTEL_{signal}_EXPORTER"
    exporter = environ.get(name, "").strip().lower()
    if exporter not in {"", "none", "otlp"}:
        raise ConfigurationError(f"{name}: the gateway exports by otlp or none")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return exporter == "otlp" or (exporter == "" and any(environ.get(endpoint) for endpoint in endpoints))


def _is_http(signal: str, environ: Mapping[str, str]) -> bool:
    name = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    name = name if environ.get(name) else "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environ.get(name, "").strip().lower() or "grpc"
    if protocol not in {"grpc", "http/protobuf"}:
        raise ConfigurationError(f"{name}: the gateway speaks grpc or http/protobuf")
    return protocol == "http/protobuf"


def _span_exporter(environ: Mapping[str, str]) -> SpanExporter:
    # Imported on demand: an exporter costs start-up time and memory that a process without telemetry should not pay.
    if _is_http("TRACES", environ):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _metric_exporter(environ: Mapping[str, str]) -> MetricExporter:
    if _is_http("METRICS", environ):
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter()
