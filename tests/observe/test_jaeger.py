"""What a real OpenTelemetry Collector takes from the gateway, and what Jaeger then answers."""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from observe import scenes
from observe.policies import KEPT, SHARE, documented, failing
from observe.reading import GATEWAY, UPSTREAM, attempts, call, is_whole, of, requests
from observe.run import running_surroundings
from observe.scenes import Caller
from observe.traces import spans_of, told
from support.canaries import MARK
from support.jaeger import Jaeger, Options, running_jaeger
from support.prometheus import asking
from support.workers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from observe.faults import Surroundings
    from observe.traces import Span

pytestmark = pytest.mark.jaeger

SECONDS: Final = 60.0
PROTOCOLS: Final = ("grpc", "http/protobuf")
PASSWORD: Final = f"password-{MARK}"
ALONE: Final = {"WORKERS": "1"}
_CALLS: Final = 20
_REFUSALS: Final = 5


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with running_jaeger(tmp_path_factory.mktemp("jaeger")) as jaeger:
        yield jaeger


@pytest.fixture(scope="module")
def around(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    with running_surroundings(tmp_path_factory.mktemp("gateway"), jaeger.endpoint()) as around:
        yield around


@contextmanager
def calling(around: Surroundings, jaeger: Jaeger) -> Iterator[Caller]:
    """Yields a caller whose spans go to the same collector."""
    caller = Caller(around.gateway.address, jaeger.endpoint(), around.sandbox)
    try:
        yield caller
    finally:
        caller.close()


@pytest.fixture(scope="module")
def caller(around: Surroundings, jaeger: Jaeger) -> Iterator[Caller]:
    with calling(around, jaeger) as caller:
        yield caller


@pytest.fixture
def followed(jaeger: Jaeger, caller: Caller) -> Callable[[Callable[[Caller], str]], list[Span]]:
    """Plays a scene, and returns the spans of its trace, as Jaeger has them."""
    return lambda scene: whole(jaeger, scene(caller))


def known(jaeger: Jaeger, trace_id: str) -> list[Span]:
    """Returns the spans of a trace that Jaeger has, in the order in which they began."""
    spans = spans_of(jaeger.trace(trace_id).resource_spans)
    return sorted((span for span in spans if span.trace_id == trace_id), key=lambda span: span.start)


def whole(jaeger: Jaeger, trace_id: str) -> list[Span]:
    """Returns the spans of a trace, once all that there are have come, from the caller, the gateway and upstream."""
    spans: list[Span] = []

    def has_come() -> bool:
        spans[:] = known(jaeger, trace_id)
        return is_whole(spans)

    try:
        wait_until(has_come, "it does not come", SECONDS)
    except AssertionError:
        pytest.fail(f"of {trace_id} there is only:\n{told(spans)}", pytrace=False)
    assert {span.service for span in spans} <= {scenes.SERVICE, GATEWAY, UPSTREAM}
    return spans


# Each scene is one trace.


def test_plain_call_is_one_trace_from_the_caller_to_upstream(followed: Any) -> None:
    spans = followed(scenes.plain)
    assert attempts(spans) == [("first", 200)]
    assert call(spans).events == ["claimed"]
    assert len(spans) == 5
    assert not [span for span in spans if span.failed]


def test_retry_has_both_attempts(followed: Any) -> None:
    spans = followed(scenes.retry)
    assert attempts(spans) == [("first", 429), ("repeat", 200)]
    refused, repeated = requests(spans)
    assert "http.request.resend_count" not in refused.attributes
    assert repeated.attributes["http.request.resend_count"] == 1
    assert (refused.failed, refused.attributes["error.type"]) == (True, "429")
    assert (repeated.failed, call(spans).failed) == (False, False)


def test_read_back_is_told_from_the_doubt_to_its_end(followed: Any) -> None:
    spans = followed(scenes.read_back)
    made = attempts(spans)
    assert made[0] == ("first", "cut")
    assert set(made[1:]) == {("read_back", 200)}
    assert call(spans).events[:2] == ["claimed", "in_doubt"]
    assert call(spans).events[-1] == "reconciled"
    assert call(spans).attributes["allocation_gateway.write.in_doubt"] is True
    cut = requests(spans)[0]
    assert cut.failed
    assert cut.attributes["error.type"]


@pytest.mark.parametrize(("scene", "how"), [(scenes.joined, "joined"), (scenes.remembered, "remembered")])
def test_call_that_did_not_do_the_work_leads_to_the_one_that_did(
    scene: Any, how: str, followed: Any, jaeger: Jaeger
) -> None:
    spans = followed(scene)
    assert attempts(spans) == []
    (link,) = call(spans).links
    assert link.how == how
    work = whole(jaeger, link.trace_id)
    assert call(work).span_id == link.span_id
    assert attempts(work) == [("first", 200)]


def test_items_of_a_stream_lead_to_their_batches_and_these_to_upstream(followed: Any) -> None:
    spans = followed(scenes.stream)
    items = [span for span in spans if span.name == "item"]
    batches = {span.span_id: span for span in spans if span.name == "batch"}
    assert len(items) == scenes.ITEMS
    assert {span.parent_id for span in [*items, *batches.values()]} == {call(spans).span_id}
    sent_with = Counter(link.span_id for item in items for link in item.links)
    assert sent_with == {name: batch.attributes["allocation_gateway.batch.items"] for name, batch in batches.items()}
    assert {span.parent_id for span in of(spans, GATEWAY) if span.name.startswith("PUT")} == set(batches)


def test_call_that_fails_says_why(followed: Any) -> None:
    spans = followed(failing)
    failed = call(spans)
    assert failed.failed
    assert failed.attributes["error.type"] == failed.attributes["allocation_gateway.reason"]
    assert {span.attributes["error.type"] for span in requests(spans)} == {"500"}
    assert all(span.failed for span in requests(spans))


def test_traces_are_found_by_what_has_happened(followed: Any, jaeger: Jaeger) -> None:
    """By the API that Jaeger's page asks, which has the same spans."""
    spans = followed(scenes.read_back)
    assert set(jaeger.asked("services")) >= {scenes.SERVICE, GATEWAY, UPSTREAM}
    tags = '{"allocation_gateway.write.in_doubt":"true"}'
    found = {trace["traceID"]: trace for trace in jaeger.asked("traces", service=GATEWAY, tags=tags)}
    assert {span["spanID"] for span in found[spans[0].trace_id]["spans"]} == {span.span_id for span in spans}
    for trace_id in found:
        assert "in_doubt" in call(whole(jaeger, trace_id)).events
    edges = {(one["parent"], one["child"]) for one in jaeger.asked("dependencies", endTs=f"{time.time() * 1000:.0f}")}
    assert edges >= {(scenes.SERVICE, GATEWAY), (GATEWAY, UPSTREAM)}


# Ways to send.


def exporting(jaeger: Jaeger, protocol: str, compression: str = "none", headers: str = "") -> Mapping[str, str]:
    """Returns the settings of a gateway that sends everything by a protocol."""
    return {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "",
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.endpoint(protocol),
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        "OTEL_EXPORTER_OTLP_HEADERS": headers,
        "OTEL_METRICS_EXPORTER": "otlp,prometheus",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        **ALONE,
    }


@pytest.mark.parametrize(
    ("protocol", "compression"),
    [*((protocol, how) for protocol in PROTOCOLS for how in ("none", "gzip")), ("http/protobuf", "deflate")],
)
def test_spans_metrics_and_log_records_arrive(protocol: str, compression: str, tmp_path: Path) -> None:
    """By HTTP they have to be compressed as the gateway was told. By gRPC, a collector takes them either way."""
    encodings = () if "none" in compression or protocol == "grpc" else (compression,)
    with (
        running_jaeger(tmp_path, Options(encodings=encodings)) as jaeger,
        running_surroundings(
            tmp_path, jaeger.endpoint(), exporting(jaeger, protocol, compression=compression)
        ) as around,
        calling(around, jaeger) as caller,
    ):
        trace_id = scenes.plain(caller)
        assert attempts(whole(jaeger, trace_id)) == [("first", 200)]
        wait_until(lambda: f"Trace ID: {trace_id}" in jaeger.log, "its log line does not come", SECONDS)
        page = around.gateway.wait_for("prometheus_listening")["address"]

        def same_names() -> bool:
            with asking(f"http://{page}") as client:
                return bool(own := families(client.get("/metrics").text)) and families(jaeger.page("metrics")) == own

        wait_until(same_names, "the collector has other metrics than the gateway's own page", SECONDS)
        assert f'rpc_method="{call(whole(jaeger, trace_id)).name}"' in jaeger.page("metrics")


def families(page: str) -> set[tuple[str, str]]:
    """Returns the names and kinds of the metrics of a page for Prometheus, but of those about the target."""
    found = set(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))
    return {(name, kind) for name, kind in found if name != "target_info"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_gateway_that_the_collector_refuses_goes_on_and_says_so_once(protocol: str, tmp_path: Path) -> None:
    with running_jaeger(tmp_path, Options(password=f"gateway:{PASSWORD}")) as jaeger:
        wrong = exporting(jaeger, protocol, headers=authorization("gateway:wrong"))
        with (
            running_surroundings(tmp_path, jaeger.endpoint(), wrong) as around,
            calling(around, jaeger) as caller,
        ):

            def refused() -> bool:
                scenes.plain(caller)
                return refusals(jaeger, protocol) >= _REFUSALS

            wait_until(refused, "the collector refuses nothing", SECONDS)
            said = [(line["logger"], line["message"]) for line in around.gateway.lines if line["event"] == "library"]
            assert said
            assert len(said) == len(dict(said)) <= len(("traces", "metrics", "logs")), said
            assert around.gateway.stop() == 0
        right = exporting(jaeger, protocol, headers=authorization(f"gateway:{PASSWORD}"))
        with running_surroundings(tmp_path, jaeger.endpoint(), right) as around, calling(around, jaeger) as caller:
            trace_id = scenes.plain(caller)
            wait_until(lambda: len(of(known(jaeger, trace_id), GATEWAY)) == 2, "the spans do not come", SECONDS)


def authorization(credentials: str) -> str:
    """Returns the header of somebody with a name and a password, as the variables have it."""
    return f"authorization=Basic%20{base64.b64encode(credentials.encode()).decode()}"


def refusals(jaeger: Jaeger, protocol: str) -> float:
    """Returns how many requests a collector has refused that the gateway alone makes."""
    name, *labels = {
        "grpc": ("rpc_server_duration_milliseconds", 'rpc_grpc_status_code="16"', "MetricsService"),
        "http/protobuf": ("http_server_request_duration_seconds", 'http_response_status_code="401"'),
    }[protocol]
    found = re.findall(rf"^{name}_count\{{([^}}]*)\}} (\S+)$", jaeger.page("own"), re.MULTILINE)
    return sum(float(count) for text, count in found if all(label in text for label in labels))


# What a collector keeps.


@pytest.mark.parametrize("name", [*KEPT, "all of them"])
def test_ordinary_call_is_dropped_and_the_others_are_kept(name: str, tmp_path: Path) -> None:
    """By each policy alone, beside a share of nothing, and by all of them."""
    processor, policies = documented()
    chosen = [policies[one] for one in KEPT if name in (one, "all of them")]
    none = {**policies[SHARE], "probabilistic": {"sampling_percentage": 0}}
    tail = {**processor, "decision_wait": "5s", "policies": [*chosen, none]}
    with (
        running_jaeger(tmp_path, Options(processors={"tail_sampling": tail})) as jaeger,
        running_surroundings(tmp_path, jaeger.endpoint(), ALONE) as around,
        calling(around, jaeger) as caller,
    ):
        ordinary = scenes.plain(caller)
        wanted = [KEPT[policy["name"]](caller) for policy in chosen]
        for trace_id in wanted:
            call(whole(jaeger, trace_id))
        # It is older than those, and so was decided upon before.
        assert known(jaeger, ordinary) == []
        decided = decisions(jaeger)
        assert decided["true"] == len(wanted)
        assert decided["false"] >= 1


def decisions(jaeger: Jaeger) -> dict[str, int]:
    """Returns how many traces were sampled, and how many were not."""
    name = "otelcol_processor_tail_sampling_global_count_traces_sampled_total"
    found = re.findall(rf'^{name}\{{[^}}]*sampled="(\w+)"[^}}]*\}} (\S+)$', jaeger.page("own"), re.MULTILINE)
    return {sampled: int(float(count)) for sampled, count in found}


def test_share_of_everything_keeps_the_ordinary_call(tmp_path: Path) -> None:
    processor, policies = documented()
    everything = {**policies[SHARE], "probabilistic": {"sampling_percentage": 100}}
    tail = {**processor, "decision_wait": "1s", "policies": [everything]}
    with (
        running_jaeger(tmp_path, Options(processors={"tail_sampling": tail})) as jaeger,
        running_surroundings(tmp_path, jaeger.endpoint(), ALONE) as around,
        calling(around, jaeger) as caller,
    ):
        assert attempts(whole(jaeger, scenes.plain(caller))) == [("first", 200)]


# Last, since the collector forgets what the others have sent it.


def test_calls_go_on_while_the_collector_is_away_and_their_traces_arrive_again(
    jaeger: Jaeger, caller: Caller, followed: Any
) -> None:
    followed(scenes.plain)
    jaeger.kill()
    away = [caller.shipment() for _ in range(_CALLS)]
    for shipment in away:
        caller.allocate(shipment, str(uuid.uuid4()))
    assert {caller.sandbox.bookings(shipment) for shipment in away} == {(1, 0)}
    jaeger.start()

    def arrives() -> bool:
        return is_whole(known(jaeger, scenes.plain(caller)))

    wait_until(arrives, "no trace arrives any more", SECONDS)
    assert attempts(followed(scenes.plain)) == [("first", 200)]
