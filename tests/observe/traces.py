"""A collector of spans over OTLP, and traces as a person reads them."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_SECONDS: Final = 20.0
_MOST_TRACES: Final = 2000
_EVENTS: Final = "allocation_gateway.write."
# What is told of a span beside its name, by attribute.
_TOLD: Final = {
    "rpc.response.status_code": "",
    "http.response.status_code": "",
    "allocation_gateway.attempt.kind": "",
    "http.request.resend_count": "resent ",
    "allocation_gateway.item.reference": "",
    "allocation_gateway.batch.items": "items ",
    "error.type": "error ",
}


@dataclass(frozen=True)
class Link:
    """A link to another span."""

    trace_id: str
    span_id: str
    how: str


@dataclass(frozen=True)
class Span:
    """A span, with times in nanoseconds since the epoch, and the names of what has happened to a write."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    failed: bool
    start: int
    end: int
    attributes: Mapping[str, Any]
    events: Sequence[str]
    links: Sequence[Link]


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    """The traces that have come last.

    Attributes:
        endpoint: Where they are sent by OTLP over gRPC.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self._traces: OrderedDict[str, list[Span]] = OrderedDict()
        self._changed = threading.Condition()

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - the service's name for it
        """Takes spans."""
        with self._changed:
            for span in spans_of(request.resource_spans):
                self._traces.setdefault(span.trace_id, []).append(span)
            while len(self._traces) > _MOST_TRACES:
                self._traces.popitem(last=False)
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace_id: str, is_whole: Callable[[list[Span]], bool]) -> list[Span]:
        """Returns the spans of a trace in the order in which they began, once all that are waited for have come.

        Raises:
            TimeoutError: They do not come.
        """

        def found() -> list[Span]:
            return sorted(self._traces.get(trace_id, ()), key=lambda span: span.start)

        with self._changed:
            if not self._changed.wait_for(lambda: is_whole(found()), _SECONDS):
                raise TimeoutError(f"of {trace_id} there is only:\n{told(found())}")
            return found()

    def known(self, trace_id: str) -> list[Span]:
        """Returns the spans of a trace that have come so far.

        Raises:
            KeyError: None has.
        """
        with self._changed:
            return sorted(self._traces[trace_id], key=lambda span: span.start)

    def newest(self, most: int) -> list[list[Span]]:
        """Returns the traces that have come last, the newest first."""
        with self._changed:
            return [list(spans) for spans in list(self._traces.values())[: -most - 1 : -1]]


@contextmanager
def running_traces() -> Iterator[Traces]:
    """Runs the collector."""
    traces = Traces()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(traces, server)  # type: ignore[no-untyped-call]
    traces.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield traces
    finally:
        server.stop(None).wait()


def spans_of(resources: Iterable[Any]) -> Iterator[Span]:
    """Returns spans that came by OTLP."""
    for resource in resources:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    service,
                    span.name,
                    SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.status.code == Status.STATUS_CODE_ERROR,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _attributes(span.attributes),
                    [event.name.removeprefix(_EVENTS) for event in span.events],
                    [
                        Link(
                            link.trace_id.hex(),
                            link.span_id.hex(),
                            _attributes(link.attributes).get("allocation_gateway.link", ""),
                        )
                        for link in span.links
                    ],
                )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


def told(spans: Sequence[Span]) -> str:
    """Returns a trace as lines of text: each span below its parent, with what has happened, and with its links."""
    children = defaultdict(list)
    known = {span.span_id for span in spans}
    for span in spans:
        children[span.parent_id if span.parent_id in known else ""].append(span)
    return "\n".join(_lines(children, "", 0, min((span.start for span in spans), default=0)))


def _lines(children: Mapping[str, Sequence[Span]], parent: str, depth: int, began: int) -> Iterator[str]:
    for span in children.get(parent, ()):
        facts = [f"{words}{span.attributes[name]}" for name, words in _TOLD.items() if name in span.attributes]
        facts += [f"[{', '.join(span.events)}]"] if span.events else []
        facts += [f"{link.how} -> {link.span_id} of {link.trace_id}" for link in span.links]
        times = f"{(span.start - began) / 1e6:8.1f} +{(span.end - span.start) / 1e6:.1f} ms"
        yield f"{times:24}{'  ' * depth}{span.service}: {span.name}  {'; '.join(facts)}  ({span.span_id})"
        yield from _lines(children, span.span_id, depth + 1, began)
