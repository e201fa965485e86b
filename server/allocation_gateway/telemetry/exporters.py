"""The exporters of spans, metrics and log records that the standard variables name.

Exporters are imported on demand: they cost start-up time and memory that a process without telemetry does not need.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import structlog

from allocation_gateway.telemetry import pages, variables
from allocation_gateway.telemetry.conventions import WORKER
from allocation_gateway.telemetry.histograms import MergingReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, MetricsData
    from opentelemetry.sdk.trace.export import SpanExporter
    from prometheus_client import Metric

    from allocation_gateway.telemetry.histograms import HistogramAggregation
    from allocation_gateway.telemetry.pages import SharedPage

_log = structlog.get_logger()
# What both exporters of spans call by the name under which they have imported it: they take no other one. An exporter
# that does not call it any more encodes spans as the SDK does, which is dearer and as good.
_ENCODER: Final = "encode_spans"


def span_exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    """Makes an exporter of spans: `otlp` or `console`, which writes one JSON object a line to standard output."""
    if name == variables.CONSOLE:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stdout, formatter=lambda span: span.to_json(indent=None) + "\n")
    from allocation_gateway.telemetry.span_encoding import encode_spans

    if variables.protocol("TRACES", environ) == variables.HTTP:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

        setattr(http, _ENCODER, encode_spans)
        return http.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

    setattr(grpc, _ENCODER, encode_spans)
    return grpc.OTLPSpanExporter(**_grpc_options("TRACES", environ))


def log_exporter(name: str, environ: Mapping[str, str]) -> LogRecordExporter:
    """Makes an exporter of log records: `otlp` or `console`, which writes one JSON object a line to standard output."""
    if name == variables.CONSOLE:
        from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

        return ConsoleLogRecordExporter(out=sys.stdout, formatter=lambda record: record.to_json(indent=None) + "\n")
    if variables.protocol("LOGS", environ) == variables.HTTP:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    return OTLPLogExporter(**_grpc_options("LOGS", environ))


def metric_reader(
    name: str,
    environ: Mapping[str, str],
    aggregation: HistogramAggregation,
    shared: SharedPage | None = None,
    worker: int = 0,
) -> MetricReader:
    """Makes a reader that collects metrics and exports them: `otlp`, `prometheus` or `console`.

    Args:
        name: Which one.
        environ: The variables.
        aggregation: The durations that are aggregated outside of the SDK.
        shared: The page for Prometheus that workers share; None if this is the only process.
        worker: The number of this worker.

    Raises:
        ConfigurationError: The address for Prometheus cannot be listened on.
    """
    if name == variables.PROMETHEUS:
        return _prometheus_reader(environ, aggregation, shared, worker)
    return MergingReader(_metric_exporter(name, environ), aggregation)


def _metric_exporter(name: str, environ: Mapping[str, str]) -> MetricExporter:
    if name == variables.CONSOLE:
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter(out=sys.stdout, formatter=lambda data: data.to_json(indent=None) + "\n")
    if variables.protocol("METRICS", environ) == variables.HTTP:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(**_grpc_options("METRICS", environ))


def _grpc_options(signal: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Returns the options that the SDK reads differently from the specification.

    Those are compression `none`, PEM files, and whether TLS is spoken, which a URL with a scheme decides alone.
    """
    import grpc

    compression = variables.setting(signal, "COMPRESSION", environ)[1].lower()
    options: dict[str, Any] = {
        "compression": grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
    }
    if variables.setting(signal, "ENDPOINT", environ)[1].lower().startswith("http://"):
        options["insecure"] = True
    names = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    files = [variables.setting(signal, name, environ)[1] for name in names]
    if any(files):
        authorities, key, chain = (Path(file).read_bytes() if file else None for file in files)
        options["credentials"] = grpc.ssl_channel_credentials(authorities, key, chain)
    return options


class _Families:
    """Metrics of Prometheus that were collected, as its encoders take them."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Returns them."""
        return self._families


def _prometheus_reader(
    environ: Mapping[str, str], aggregation: HistogramAggregation, shared: SharedPage | None, worker: int
) -> MetricReader:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    from allocation_gateway.telemetry.exemplars import with_exemplars
    from allocation_gateway.telemetry.page_server import PageServer

    sockets = pages.bind(environ, reserved=None if shared is None else shared.port)
    registry = CollectorRegistry()
    # Two scrapes at once would each be told a part.
    one_at_a_time = Lock()

    class PrometheusReader(PrometheusMetricReader):
        """Serves what the SDK has collected, with the aggregated durations added, until it is shut down."""

        def __init__(self) -> None:
            # Samples of different workers differ by what tells these apart.
            super().__init__(registry=registry, resource_attribute_filter=lambda name: name == WORKER)
            self._collected: MetricsData | None = None
            self._server = PageServer(sockets, self._page, shared, worker)
            _log.info("prometheus_listening", address=self._server.address)

        def _receive_metrics(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> None:
            self._collected = metrics_data
            super()._receive_metrics(aggregation.merged_into(metrics_data), timeout_millis, **kwargs)

        def _page(self, accepted: str) -> tuple[bytes, str]:
            encoder, content_type = choose_encoder(accepted)
            with one_at_a_time:
                families = list(registry.collect())
                return encoder(_Families(with_exemplars(families, self._collected))), content_type

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            self._server.close()
            super().shutdown(timeout_millis, **kwargs)

    return PrometheusReader()
