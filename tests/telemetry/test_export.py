"""What the gateway tells about itself, read by an OTLP collector over a real socket."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.telemetry import providers
from allocation_gateway.telemetry.histograms import NoOpDurations
from allocation_gateway.version import __version__
from opentelemetry.sdk.resources import Resource
from support.collector import Collector, running_collector, running_http_collector
from support.front import LONG, READ, SERVICE, SHIPMENT, WRITE, running_front
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.front import Front

READ_RPC: Final = f"{SERVICE}/GetShipmentAllocation"
WRITE_RPC: Final = f"{SERVICE}/AllocateShipment"
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT: Final = "00f067aa0ba902b7"
SAMPLED: Final = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=value"))
NOT_SAMPLED: Final = (("traceparent", f"00-{TRACE}-{PARENT}-00"),)
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Front, Collector]]:
    """A gateway that exports its spans at once."""
    with running_collector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": "my.service.name=mine",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "SHIP_TIMEOUT": "1",
            "SHIP_MAX_ATTEMPTS": "1",
            "SHIP_BREAKER_MIN_CALLS": "1000000",
        }
        with running_front(settings=settings) as front:
            yield front, collector


@pytest.fixture
def front(shared: tuple[Front, Collector]) -> Front:
    shared[0].upstream.forget()
    shared[0].gateway.forget()
    return shared[0]


@pytest.fixture
def spans(shared: tuple[Front, Collector]) -> Collector:
    """The collector of that gateway, empty. A test has to wait for all of its spans."""
    shared[1].forget()
    return shared[1]


def observed(collector: Collector, work: Callable[[Front], None], **settings: str) -> Front:
    """Runs a gateway that exports to a collector, does some work with it, and stops it: which sends everything off."""
    with running_front(settings={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **settings}) as front:
        work(front)
        assert front.gateway.stop() == 0
    return front


def read(front: Front, metadata: tuple[tuple[str, str], ...] = ()) -> None:
    front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=metadata)


def test_one_trace_leads_from_the_caller_to_upstream(front: Front, spans: Collector) -> None:
    """Caller, server span, client span, upstream: each is the parent of the next, and all are of one trace."""
    read(front, SAMPLED)
    spans.wait_for_spans(2)
    server, client = spans.span("SERVER"), spans.span("CLIENT")
    assert server.trace_id == client.trace_id == TRACE
    assert server.parent_id == PARENT
    assert client.parent_id == server.span_id
    received = front.upstream.next_request().headers
    assert received["traceparent"] == f"00-{TRACE}-{client.span_id}-01"
    assert received["tracestate"] == "vendor=value"


def test_call_without_a_trace_begins_one(front: Front, spans: Collector) -> None:
    read(front)
    spans.wait_for_spans(2)
    server, client = spans.span("SERVER"), spans.span("CLIENT")
    assert server.parent_id == ""
    assert client.parent_id == server.span_id
    _, trace, parent, flags = front.upstream.next_request().headers["traceparent"].split("-")
    assert (trace, parent) == (server.trace_id, client.span_id)
    assert int(flags, 16) & 1, "it is not sampled"


def test_traceparent_that_is_nonsense_is_ignored(front: Front, spans: Collector) -> None:
    read(front, (("traceparent", "00-nonsense"),))
    spans.wait_for_spans(2)
    assert spans.span("SERVER").parent_id == ""


def test_baggage_of_callers_stays_here(front: Front, spans: Collector) -> None:
    """It is of the caller's organisation, and upstream is another one."""
    read(front, (("baggage", "customer=7"),))
    spans.wait_for_spans(2)
    assert "baggage" not in front.upstream.next_request().headers


def test_spans_have_the_names_and_attributes_of_the_conventions(front: Front, spans: Collector) -> None:
    read(front)
    spans.wait_for_spans(2)
    server, client = spans.span("SERVER"), spans.span("CLIENT")
    assert server.name == READ_RPC
    assert server.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": READ_RPC,
        "rpc.response.status_code": "OK",
    }
    assert client.name == "GET /shipments/{shipment_reference}"
    assert client.attributes == {
        "http.request.method": "GET",
        "url.template": "/shipments/{shipment_reference}",
        "url.full": f"{front.upstream.url}/shipments/{SHIPMENT}",
        "server.address": "127.0.0.1",
        "server.port": front.upstream.port,
        "http.response.status_code": 200,
        "allocation_gateway.attempt.kind": "first",
    }
    assert not server.failed
    assert not client.failed
    assert 0 < client.seconds <= server.seconds < LONG


# What upstream answers, the status of the call, its reason, whether the fault is the server's, the error type of the
# request.
ENDS: Final = [
    ((404, {"code": "not_found"}), "NOT_FOUND", "RESOURCE_NOT_FOUND", False, "404"),
    ((429, {"code": "too_many_requests"}), "RESOURCE_EXHAUSTED", "UPSTREAM_THROTTLED", False, "429"),
    ((409, {"code": "conflict"}), "FAILED_PRECONDITION", "UPSTREAM_CONFLICT", False, "409"),
    ((500, {"code": "internal_server_error"}), "INTERNAL", "UPSTREAM_FAILED", True, "500"),
    ((503, b""), "UNAVAILABLE", "UPSTREAM_UNAVAILABLE", True, "503"),
    ((200, b"not JSON"), "INTERNAL", "UPSTREAM_CONTRACT_BROKEN", True, None),
]


@pytest.mark.parametrize(("answer", "code", "reason", "failed", "error_type"), ENDS)
def test_status_of_spans_follows_the_conventions(
    answer: tuple[int, object],
    code: str,
    reason: str,
    failed: bool,
    error_type: str | None,
    front: Front,
    spans: Collector,
) -> None:
    """The server span is an error only if the fault is the server's; the client span for every status from 400 on.

    The reason is there whoever is at fault.
    """
    front.upstream.answer(*answer)
    failure(lambda: read(front))
    spans.wait_for_spans(2)
    server, client = spans.span("SERVER"), spans.span("CLIENT")
    assert server.attributes["rpc.response.status_code"] == code
    assert server.failed is failed
    assert server.attributes["allocation_gateway.reason"] == reason
    assert server.attributes.get("error.type") == (reason if failed else None)
    assert client.attributes["http.response.status_code"] == answer[0]
    assert client.failed is (error_type is not None)
    assert client.attributes.get("error.type") == error_type


@pytest.mark.parametrize(
    ("deadline", "closed", "error_type", "code"),
    [
        (LONG, True, "ConnectionResetError", "UNAVAILABLE"),
        (0.5, False, "deadline_exceeded", "DEADLINE_EXCEEDED"),
        (LONG, False, "timeout", "UNAVAILABLE"),
    ],
    ids=["lost", "deadline", "time-out"],
)
def test_request_without_an_answer_says_why(
    deadline: float, closed: bool, error_type: str, code: str, front: Front, spans: Collector
) -> None:
    if closed:
        front.upstream.answer(raw=b"", close=True)
    else:
        front.upstream.hold()
    failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=deadline))
    spans.wait_for_spans(2)
    client = spans.span("CLIENT")
    assert client.attributes["error.type"] == error_type
    assert client.failed
    assert "http.response.status_code" not in client.attributes
    assert spans.span("SERVER").attributes["rpc.response.status_code"] == code


def test_call_that_never_reaches_upstream_has_a_span_of_its_own_only(front: Front, spans: Collector) -> None:
    failure(lambda: front.stub.GetShipmentAllocation(pb.GetShipmentAllocationRequest(), timeout=LONG))
    spans.wait_for_spans(1)
    assert [span.kind for span in spans.spans] == ["SERVER"]
    assert spans.span("SERVER").attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"


def test_cancelled_call_ends_its_spans(front: Front, spans: Collector) -> None:
    front.upstream.hold()
    call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
    front.upstream.next_request()
    call.cancel()
    spans.wait_for_spans(2)
    assert spans.span("SERVER").attributes["rpc.response.status_code"] == "CANCELLED"
    assert not spans.span("SERVER").failed
    # What nobody waits for says nothing of upstream.
    assert spans.span("CLIENT").attributes["error.type"] == "cancelled"
    assert not spans.span("CLIENT").failed


def test_log_lines_of_a_call_name_its_trace(front: Front, spans: Collector) -> None:
    read(front, SAMPLED)
    spans.wait_for_spans(2)
    front.gateway.wait_for("call", trace_id=TRACE, span_id=spans.span("SERVER").span_id)


def test_resource_names_the_gateway(front: Front, spans: Collector) -> None:
    """An attribute whose name only ends alike does not count as the name of the service."""
    read(front)
    spans.wait_for_spans(2)
    assert spans.resources[-1]["service.name"] == "allocation-gateway"
    assert spans.resources[-1]["my.service.name"] == "mine"


def test_detached_write_is_counted_and_keeps_its_place_in_the_trace(collector: Collector) -> None:
    """Its request ends after its call."""

    def work(front: Front) -> None:
        release = front.upstream.hold(body={"shipment_reference": SHIPMENT, "state": "allocated"})
        call = front.stub.AllocateShipment.future(WRITE, timeout=LONG, metadata=SAMPLED)
        front.upstream.next_request()
        call.cancel()
        front.gateway.wait_for("write_detached", trace_id=TRACE)
        release.set()
        front.gateway.wait_for("detached_write_done", trace_id=TRACE)

    observed(collector, work)
    server, client = collector.span("SERVER"), collector.span("CLIENT")
    assert (client.trace_id, client.parent_id) == (TRACE, server.span_id)
    assert client.attributes["http.response.status_code"] == 200
    (point,) = collector.of("allocation_gateway.detached_writes")
    assert (point.count, point.unit, point.attributes) == (1, "{write}", {"rpc.method": WRITE_RPC})


def test_an_answer_that_is_not_as_documented_is_counted_and_logged_once(collector: Collector) -> None:
    """By what became of it, whichever part of it it is and however many there are."""

    def work(front: Front) -> None:
        known = {"reference": SHIPMENT, "state": "allocated"}
        front.upstream.answer(200, {**known, "_links": [{"href": 7}, 7], "paperless_documents": 7})
        read(front)
        front.upstream.answer(200, {**known, "state": 7, "_links": 7})
        failure(lambda: read(front))
        front.upstream.answer(200, known)
        read(front)

    front = observed(collector, work)
    points = collector.of("allocation_gateway.upstream.undocumented")
    assert {(point.attributes["result"], point.count, point.unit) for point in points} == {
        ("read", 1, "{answer}"),
        ("refused", 1, "{answer}"),
    }
    assert {point.attributes["rpc.method"] for point in points} == {READ_RPC}
    lines = [line for line in front.gateway.lines if line["event"] == "upstream_contract_broken"]
    traces = {span.trace_id for span in collector.spans}
    assert {(line["rpc"], line["reference"]) for line in lines} == {("GetShipmentAllocation", SHIPMENT)}
    assert len({line["trace_id"] for line in lines} & traces) == 2
    assert [line["findings"] for line in lines] == [
        "_links[0].href: expected a string, got a number; _links[1]: expected an object, got a number; "
        "paperless_documents: expected an object, got a number",
        "state: expected a string, got a number; _links: expected an array, got a number",
    ]


def test_nothing_that_callers_or_upstream_write_becomes_a_series(collector: Collector) -> None:
    """What they write is marked here, and there is as much of it as they like."""
    mark = "mark"

    def work(front: Front) -> None:
        for number in range(8):
            text = f"{mark}{number}"
            front.upstream.answer(200, {"reference": text, "state": text})
            front.upstream.answer(400, {"code": text, "message": text})
            metadata = ((f"x-{text}", text), ("user-agent", text))
            of_account = (("allocation-account", text),)
            front.stub.GetShipmentAllocation.future(READ, timeout=LONG, metadata=of_account).exception(LONG)
            for request in (
                pb.GetShipmentAllocationRequest(shipment_reference=text),
                pb.AllocateShipmentRequest(shipment_reference=text, request_id=text),
                pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=text, service_group=text),
            ):
                rpc = getattr(front.stub, request.DESCRIPTOR.name.removesuffix("Request"))
                rpc.future(request, timeout=LONG, metadata=metadata).exception(LONG)

    observed(collector, work)
    assert len(collector.of("rpc.server.call.duration")) >= 3
    found = [point for point in collector.points if mark in f"{point.attributes}"]
    assert found == []


def test_durations_are_measured_in_the_buckets_of_the_conventions(collector: Collector) -> None:
    def work(front: Front) -> None:
        for _ in range(3):
            read(front)
        front.upstream.answer(503)
        failure(lambda: read(front))

    front = observed(collector, work, SHIP_MAX_ATTEMPTS="1")
    calls = {point.attributes["rpc.response.status_code"]: point for point in collector.of("rpc.server.call.duration")}
    requests = {
        point.attributes["http.response.status_code"]: point for point in collector.of("http.client.request.duration")
    }
    call = {"rpc.system.name": "grpc", "rpc.method": READ_RPC}
    request = {
        "http.request.method": "GET",
        "url.template": "/shipments/{shipment_reference}",
        "server.address": "127.0.0.1",
        "server.port": front.upstream.port,
        "allocation_gateway.attempt.kind": "first",
    }
    assert {code: point.attributes for code, point in calls.items()} == {
        "OK": {**call, "rpc.response.status_code": "OK"},
        "UNAVAILABLE": {
            **call,
            "rpc.response.status_code": "UNAVAILABLE",
            "error.type": "UPSTREAM_UNAVAILABLE",
            "allocation_gateway.reason": "UPSTREAM_UNAVAILABLE",
        },
    }
    assert {status: point.attributes for status, point in requests.items()} == {
        200: {**request, "http.response.status_code": 200},
        503: {**request, "http.response.status_code": 503, "error.type": "503"},
    }
    for point in (*calls.values(), *requests.values()):
        assert point.unit == "s"
        assert point.bounds == BUCKETS
        assert 0 < point.total < LONG
    assert (calls["OK"].count, calls["UNAVAILABLE"].count) == (requests[200].count, requests[503].count) == (3, 1)


@pytest.mark.parametrize("preference", ["", "delta", "lowmemory"])
def test_calls_are_counted_once_by_the_temporality_that_the_collector_prefers(
    preference: str, collector: Collector
) -> None:
    """Over several exports: each tells what is new since the last one, or all of it again."""

    def count() -> int:
        counts = [point.count for point in collector.of("rpc.server.call.duration")]
        return sum(counts) if preference else max(counts, default=0)

    def work(front: Front) -> None:
        for calls in (4, 8, 12):
            for _ in range(4):
                read(front)
            collector.wait_for_points(lambda calls=calls: count() >= calls)  # type: ignore[misc]

    variables = {"OTEL_METRIC_EXPORT_INTERVAL": "100", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference}
    observed(collector, work, **{name: value for name, value in variables.items() if value})
    points = collector.of("rpc.server.call.duration")
    assert count() == 12
    assert len(points) >= 3
    assert {point.is_delta for point in points} == {preference != ""}
    assert all(sum(point.buckets) == point.count for point in points)
    starts = [point.span_ns[0] for point in points]
    ends = [point.span_ns[1] for point in points]
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    if preference:
        assert all(start >= end for start, end in zip(starts[1:], ends[:-1], strict=True)), "points overlap"
    else:
        assert len(set(starts)) == 1


def test_durations_of_traced_calls_name_their_traces(collector: Collector) -> None:
    def work(front: Front) -> None:
        for metadata in ((), (), SAMPLED, NOT_SAMPLED, ()):
            read(front, metadata)

    observed(collector, work, OTEL_TRACES_SAMPLER="parentbased_always_off")
    for name in ("rpc.server.call.duration", "http.client.request.duration"):
        (point,) = collector.of(name)
        assert (point.count, point.traces) == (5, (TRACE,))


@pytest.mark.parametrize(
    ("variable", "value", "exemplars"),
    [
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", False),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_on", True),
    ],
    ids=["exponential", "exemplars"],
)
def test_what_only_the_sdk_can_do_is_left_to_it(
    variable: str, value: str, exemplars: bool, collector: Collector
) -> None:
    """Buckets that move, and exemplars without a trace, which name none."""

    def work(front: Front) -> None:
        for _ in range(5):
            read(front)

    observed(collector, work, OTEL_TRACES_EXPORTER="none", **{variable: value})
    (point,) = collector.of("rpc.server.call.duration")
    assert point.count == 5
    assert (point.bounds == BUCKETS) is exemplars
    assert set(point.traces) == ({""} if exemplars else set())


def test_no_attribute_of_a_metric_comes_from_a_caller(collector: Collector) -> None:
    """References and the like would make a time series each."""

    def work(front: Front) -> None:
        for name in ("one", "two", "three"):
            front.upstream.answer(200, {"reference": name, "state": "unallocated"})
            asked = pb.GetShipmentAllocationRequest(shipment_reference=name)
            front.stub.GetShipmentAllocation(asked, timeout=LONG, metadata=(("x-caller", name),))

    observed(collector, work)
    assert len(collector.of("rpc.server.call.duration")) == 1
    assert len(collector.of("http.client.request.duration")) == 1


def test_lookups_of_service_groups_are_counted_by_their_result(collector: Collector) -> None:
    """A code from the configuration hits, a new one misses, and hits once an allocation with it has worked."""

    def work(front: Front) -> None:
        for group in ("configured", "new", "new"):
            asked = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=SHIPMENT, service_group=group)
            front.stub.AllocateShipmentWithServiceGroup(asked, timeout=LONG)

    observed(collector, work, SERVICE_GROUPS="configured")
    lookups = collector.of("allocation_gateway.service_group.lookups")
    assert {point.attributes["result"]: point.count for point in lookups} == {"hit": 2, "miss": 1}
    assert {point.unit for point in lookups} == {"{lookup}"}


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_SERVICE_NAME": "shipping"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=shipping,service.version=7"}],
    ids=["by its variable", "by the attributes"],
)
def test_resource_can_be_named_by_the_standard_variables(variables: dict[str, str], collector: Collector) -> None:
    observed(collector, read, **variables)
    assert len(collector.resources) >= 2, "not both signals have come"
    assert {resource["service.name"] for resource in collector.resources} == {"shipping"}
    versions = {resource["service.version"] for resource in collector.resources}
    assert versions == ({__version__} if "OTEL_SERVICE_NAME" in variables else {"7"})


def test_parent_that_is_not_sampled_exports_nothing_and_says_so_upstream(collector: Collector) -> None:
    front = observed(collector, lambda front: read(front, NOT_SAMPLED))
    assert collector.spans == []
    flags = front.upstream.next_request().headers["traceparent"].split("-")
    assert (flags[1], flags[3]) == (TRACE, "00")
    assert collector.of("rpc.server.call.duration")[0].count == 1


@pytest.mark.parametrize(
    ("sampler", "argument", "spans"),
    [("always_off", "", 0), ("parentbased_traceidratio", "1", 2)],
)
def test_sampler_of_the_standard_variables_is_respected(
    sampler: str, argument: str, spans: int, collector: Collector
) -> None:
    observed(collector, read, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert len(collector.spans) == spans


@pytest.mark.parametrize(
    ("variables", "description"),
    [
        ({}, "ParentBased{root:TraceIdRatioBased{0.01}"),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.25"}, "ParentBased{root:TraceIdRatioBased{0.25}"),
    ],
)
def test_of_traces_that_begin_here_a_share_is_kept_unless_a_sampler_is_named(
    variables: dict[str, str], description: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share is one in a hundred. What a caller has decided counts."""
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)
    provider = providers._tracer_provider([], variables, Resource({}))
    assert provider.sampler.get_description().startswith(description)
    provider.shutdown()


def test_sampled_trace_of_a_caller_is_kept_by_default(collector: Collector) -> None:
    def work(front: Front) -> None:
        read(front, SAMPLED)
        read(front)

    observed(collector, work, OTEL_TRACES_SAMPLER="", OTEL_TRACES_SAMPLER_ARG="0")
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert len(collector.spans) == 2


def test_call_that_nobody_traces_begins_no_trace_upstream(collector: Collector) -> None:
    """Its request has no trace of its own to begin, and none to hand on."""
    front = observed(collector, read, OTEL_TRACES_SAMPLER="parentbased_always_off")
    assert collector.spans == []
    assert "traceparent" not in front.upstream.next_request().headers


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_share_of_the_calls_is_traced_as_a_whole(sampler: str, collector: Collector) -> None:
    """A trace has the span of the call and that of its request, or there is none."""

    def work(front: Front) -> None:
        for _ in range(60):
            read(front)

    front = observed(collector, work, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.5")
    servers = {span.span_id for span in collector.spans if span.kind == "SERVER"}
    clients = {span.parent_id for span in collector.spans if span.kind == "CLIENT"}
    assert servers == clients
    assert 0 < len(servers) < 60
    sent = [front.upstream.next_request().headers.get("traceparent", "") for _ in range(60)]
    assert sorted(text.split("-")[1] for text in sent if text) == sorted({span.trace_id for span in collector.spans})
    assert collector.of("rpc.server.call.duration")[0].count == 60


def test_signals_can_be_switched_off_one_by_one(collector: Collector) -> None:
    front = observed(collector, read, OTEL_TRACES_EXPORTER="none")
    assert not collector.spans
    assert collector.points
    assert "traceparent" not in front.upstream.next_request().headers
    collector.points.clear()
    observed(collector, read, OTEL_METRICS_EXPORTER="none")
    assert collector.spans
    assert not collector.points


def test_a_url_says_by_its_scheme_whether_tls_is_spoken_whatever_else_says(collector: Collector) -> None:
    def work(front: Front) -> None:
        read(front)

    observed(collector, work, OTEL_EXPORTER_OTLP_INSECURE="false", OTEL_EXPORTER_OTLP_METRICS_INSECURE="false")
    assert collector.span("SERVER").name == READ_RPC
    assert collector.of("rpc.server.call.duration")


def test_otlp_over_http_is_spoken_too() -> None:
    with running_http_collector() as collector:
        observed(collector, read, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
        assert set(collector.paths) == {"/v1/traces", "/v1/metrics"}
        assert collector.span("CLIENT").parent_id == collector.span("SERVER").span_id
        assert collector.of("rpc.server.call.duration")[0].count == 1


def threads(front: Front) -> int:
    return len(list(Path(f"/proc/{front.gateway.process.pid}/task").iterdir()))


@pytest.mark.parametrize("disabled", [False, True], ids=["not asked for", "disabled"])
def test_off_means_no_thread_no_span_and_no_header(
    disabled: bool, front: Front, spans: Collector, collector: Collector
) -> None:
    """Without variables, and with OTEL_SDK_DISABLED, nothing is left of telemetry."""
    read(front)
    spans.wait_for_spans(2)
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_SDK_DISABLED": "true"} if disabled else {}
    with running_front(settings=settings) as off:
        read(off)
        assert threads(off) < threads(front)
        assert "traceparent" not in off.upstream.next_request().headers
        assert "trace_id" not in off.gateway.wait_for("call")
        assert off.gateway.stop() == 0
    assert (collector.spans, collector.points) == ([], [])


@pytest.mark.parametrize(
    "environ", [{}, {"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_off_makes_no_provider_and_no_thread(environ: dict[str, str]) -> None:
    before = {thread.name for thread in threading.enumerate()}
    off = providers.from_environment(environ)
    assert {thread.name for thread in threading.enumerate()} == before
    assert isinstance(off.metrics.call_duration, NoOpDurations)
    assert isinstance(off.metrics.request_duration, NoOpDurations)
    call = off.call("a/b", [("traceparent", f"00-{TRACE}-{PARENT}-01")])
    request = call.request("GET", "/x", "http://127.0.0.1", "/x")
    assert request.headers() == []
    assert call.log_fields() == {}
    request.answered(200)
    request.undocumented("a/b", "read")
    call.finish("OK")
    off.metrics.group_lookup(known=True)
    off.metrics.group_part("cache", usable=True)
    off.metrics.write_detached("a/b")
    off.metrics.queue_waited("ship", "write", 0.1)
    assert off.background().request("GET", "/x", "http://127.0.0.1", "/x").headers() == []


def test_collector_that_goes_away_disturbs_no_call() -> None:
    with running_collector() as collector:
        endpoint = collector.endpoint
    with running_front(
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_SCHEDULE_DELAY="50", TELEMETRY_FLUSH_TIMEOUT="0.5"
    ) as front:
        for _ in range(20):
            read(front)
        front.gateway.wait_for("library")
        read(front)
        assert front.gateway.stop() == 0
    assert not [line for line in front.gateway.lines if line["event"] == "text"], "a log line that is not JSON"
    assert grpc.StatusCode.OK.name in {line.get("code") for line in front.gateway.lines}
