"""The exporters of spans, metrics and log records that the standard variables name.

Exporters are imported on demand: they cost start-up time and memory that a process without telemetry does not need.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from allocation_gateway import ports
from allocation_gateway.settings import ConfigurationError
from allocation_gateway.telemetry import variables
from allocation_gateway.telemetry.histograms import MergingReader

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from wsgiref.simple_server import WSGIServer

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader
    from opentelemetry.sdk.trace.export import SpanExporter

    from allocation_gateway.telemetry.histograms import HistogramAggregation

# The defaults of the specification, except that `localhost` may resolve to an address that nobody scrapes.
_HOST: Final = "127.0.0.1"
_PORT: Final = "9464"
_log = structlog.get_logger()


def span_exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    """Makes an exporter of spans: `otlp` or `console`, which writes one JSON object a line to standard output."""
    if name == variables.CONSOLE:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stdout, formatter=lambda span: span.to_json(indent=None) + "\n")
    if variables.protocol("TRACES", environ) == variables.HTTP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(**_grpc_options("TRACES", environ))


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


def metric_reader(name: str, environ: Mapping[str, str], aggregation: HistogramAggregation) -> MetricReader:
    """Makes a reader that collects metrics and exports them: `otlp`, `prometheus` or `console`.

    Raises:
        ConfigurationError: The address for Prometheus cannot be listened on.
    """
    if name == variables.PROMETHEUS:
        return _prometheus_reader(environ, aggregation)
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
    """Returns the options that the SDK reads differently from the specification: compression `none`, and PEM files."""
    import grpc

    compression = variables.setting(signal, "COMPRESSION", environ)[1].lower()
    options: dict[str, Any] = {
        "compression": grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
    }
    names = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    files = [variables.setting(signal, name, environ)[1] for name in names]
    if any(files):
        authorities, key, chain = (Path(file).read_bytes() if file else None for file in files)
        options["credentials"] = grpc.ssl_channel_credentials(authorities, key, chain)
    return options


def _prometheus_reader(environ: Mapping[str, str], aggregation: HistogramAggregation) -> MetricReader:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    host = environ.get(variables.PROMETHEUS_HOST) or _HOST
    port = int(environ.get(variables.PROMETHEUS_PORT) or _PORT)

    class Reader(PrometheusMetricReader):
        """Serves what the SDK has collected, with the aggregated durations added, until it is shut down."""

        def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
            super().__init__(registry=registry)
            self._server = server
            self._thread = thread

        def _receive_metrics(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> None:
            super()._receive_metrics(aggregation.merged_into(metrics_data), timeout_millis, **kwargs)

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            super().shutdown(timeout_millis, **kwargs)

    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        where = variables.PROMETHEUS_HOST if isinstance(error, socket.gaierror) else variables.PROMETHEUS_PORT
        raise ConfigurationError(f"{where}: {host}:{port}: {error.strerror}") from error
    address, bound_port = str(server.server_address[0]), server.server_address[1]
    _log.info("prometheus_listening", address=f"{ports.bracketed(address)}:{bound_port}")
    return Reader(server, thread)
