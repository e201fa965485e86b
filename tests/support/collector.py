"""An OTLP collector over a real socket, that tests ask what it received."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from support import canaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

TIMEOUT: Final = 20.0


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


@dataclass(frozen=True)
class Span:
    """A span that arrived.

    Attributes:
        events: The names and attributes of its events.
        links: The ids of the spans that it is linked to, and the attributes of the links.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    failed: bool
    seconds: float
    events: tuple[tuple[str, dict[str, Any]], ...] = ()
    links: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True)
class Point:
    """A data point of a metric that arrived.

    Attributes:
        traces: The ids of the traces that its exemplars name.
        is_delta: Whether it tells what is new since the last one.
        span_ns: From when to when it was measured, in nanoseconds since the epoch.
    """

    name: str
    unit: str
    attributes: dict[str, Any]
    count: int
    total: float = 0.0
    bounds: tuple[float, ...] = ()
    buckets: tuple[int, ...] = ()
    traces: tuple[str, ...] = ()
    is_delta: bool = False
    span_ns: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Record:
    """A log record that arrived."""

    event: str
    body: str
    severity: str
    severity_number: int
    trace_id: str
    span_id: str
    attributes: dict[str, Any]
    at_ns: int


@dataclass
class Collector:
    """What arrived so far."""

    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)
    # Of histograms, counters and gauges.
    points: list[Point] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take_traces(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Keeps spans."""
        with self._changed:
            for group in request.resource_spans:
                self.resources.append(_attributes(group.resource.attributes))
                self.spans += [_span(span) for scope in group.scope_spans for span in scope.spans]
            self._changed.notify_all()

    def wait_for_spans(self, count: int) -> None:
        """Waits until so many spans have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans) >= count, TIMEOUT), self.spans

    def search(self) -> None:
        """Fails if anything that has come has a secret in it."""
        for items in (self.spans, self.points, self.records, self.resources):
            for item in items:
                canaries.search("what was exported", repr(item))

    def forget(self) -> None:
        """Drops the spans so far."""
        with self._changed:
            self.spans.clear()

    def take_metrics(self, request: metrics_service_pb2.ExportMetricsServiceRequest) -> None:
        """Keeps data points."""
        with self._changed:
            for group in request.resource_metrics:
                self.resources.append(_attributes(group.resource.attributes))
                for scope in group.scope_metrics:
                    for metric in scope.metrics:
                        self.points += _points(metric)
            self._changed.notify_all()

    def take_logs(self, request: logs_service_pb2.ExportLogsServiceRequest) -> None:
        """Keeps log records."""
        with self._changed:
            for group in request.resource_logs:
                self.resources.append(_attributes(group.resource.attributes))
                self.records += [_record(record) for scope in group.scope_logs for record in scope.log_records]
            self._changed.notify_all()

    def wait_for_record(self, event: str) -> Record:
        """Waits for a log record of an event, and returns the first."""

        def found() -> list[Record]:
            return [record for record in self.records if record.event == event]

        with self._changed:
            assert self._changed.wait_for(found, TIMEOUT), self.records
            return found()[0]

    def wait_for_points(self, done: Callable[[], bool]) -> None:
        """Waits until the data points that have come make something true."""
        with self._changed:
            assert self._changed.wait_for(done, TIMEOUT), self.points

    def span(self, kind: str) -> Span:
        """Returns the only span of a kind."""
        (found,) = [span for span in self.spans if span.kind == kind]
        return found

    def of(self, name: str) -> list[Point]:
        """Returns the data points of a metric."""
        return [point for point in self.points if point.name == name]


def _span(span: SpanMessage) -> Span:
    return Span(
        span.name,
        SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        tuple((event.name, _attributes(event.attributes)) for event in span.events),
        tuple((link.span_id.hex(), _attributes(link.attributes)) for link in span.links),
    )


def _record(record: Any) -> Record:
    return Record(
        record.event_name,
        _value(record.body),
        record.severity_text,
        record.severity_number,
        record.trace_id.hex(),
        record.span_id.hex(),
        _attributes(record.attributes),
        record.time_unix_nano,
    )


def _points(metric: Any) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    for point in data.data_points:
        common: dict[str, Any] = {
            "name": metric.name,
            "unit": metric.unit,
            "attributes": _attributes(point.attributes),
            "traces": tuple(exemplar.trace_id.hex() for exemplar in point.exemplars),
            "is_delta": kind != "gauge" and data.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA,
            "span_ns": (point.start_time_unix_nano, point.time_unix_nano),
        }
        if kind == "histogram":
            shape = tuple(point.explicit_bounds), tuple(point.bucket_counts)
            yield Point(**common, count=point.count, total=point.sum, bounds=shape[0], buckets=shape[1])
        elif kind == "exponential_histogram":
            yield Point(**common, count=point.count, total=point.sum)
        else:
            yield Point(**common, count=point.as_int, total=point.as_double)


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - the service's name for it
        self._collector.take_traces(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - the service's name for it
        self._collector.take_metrics(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - the service's name for it
        self._collector.take_logs(request)
        return logs_service_pb2.ExportLogsServiceResponse()


@contextmanager
def running_collector(credentials: grpc.ServerCredentials | None = None) -> Iterator[Collector]:
    """Runs a collector that takes OTLP over gRPC, by TLS if it is given credentials."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(collector), server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(collector), server)  # type: ignore[no-untyped-call]
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Logs(collector), server)  # type: ignore[no-untyped-call]
    if credentials is None:
        collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        collector.endpoint = f"https://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
    collector.search()


@contextmanager
def running_http_collector() -> Iterator[Collector]:
    """Runs a collector that takes OTLP over HTTP with protobuf."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.paths.append(self.path)
            if self.path == "/v1/traces":
                collector.take_traces(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            elif self.path == "/v1/logs":
                collector.take_logs(logs_service_pb2.ExportLogsServiceRequest.FromString(body))
            else:
                collector.take_metrics(metrics_service_pb2.ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
    collector.search()
