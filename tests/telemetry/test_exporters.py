"""Every exporter and propagator of the standard variables, read where it ends: a collector, a scrape, the console."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.certificates import Authority
from support.collector import running_collector, running_http_collector
from support.front import KEY, LONG, READ, SERVICE, running_front
from support.gateway import COMMAND, EVERY_TRACE, environment, running_gateway
from support.status import failure
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from support.collector import Collector
    from support.front import Front

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT: Final = "00f067aa0ba902b7"
SAMPLED: Final = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)


def read(front: Front, metadata: tuple[tuple[str, str], ...] = ()) -> None:
    front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=metadata)


# Propagators.

B3: Final = {
    "b3": (("b3", f"{TRACE}-{PARENT}-1"),),
    "b3multi": (("x-b3-traceid", TRACE), ("x-b3-spanid", PARENT), ("x-b3-sampled", "1")),
    "b3multi, debugging": (("x-b3-traceid", TRACE), ("x-b3-spanid", PARENT), ("x-b3-flags", "1")),
    "tracecontext": SAMPLED,
}


@pytest.mark.parametrize(
    "propagators", ["tracecontext,b3multi", "b3,tracecontext,baggage", "b3multi, tracecontext ,b3"]
)
def test_callers_join_the_trace_in_the_format_that_they_speak(propagators: str) -> None:
    with running_collector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_PROPAGATORS": propagators,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        with running_front(settings=settings) as front:
            for callers, metadata in B3.items():
                collector.forget()
                read(front, (*metadata, ("baggage", "customer=7")))
                headers = front.upstream.next_request().headers
                collector.wait_for_spans(2)
                server, client = collector.span("SERVER"), collector.span("CLIENT")
                assert (server.trace_id, server.parent_id, client.trace_id) == (TRACE, PARENT, TRACE), callers
                assert "baggage" not in headers, callers
                sent = {"traceparent": f"00-{TRACE}-{client.span_id}-01"}
                if "b3multi" in propagators:
                    sent |= {"x-b3-traceid": TRACE, "x-b3-spanid": client.span_id, "x-b3-sampled": "1"}
                if re.search(r"\bb3\b", propagators):
                    sent |= {"b3": f"{TRACE}-{client.span_id}-1"}
                assert sent.items() <= headers.items(), callers
            assert front.gateway.stop() == 0


# Log records.


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_log_lines_are_sent_as_records_with_their_trace(protocol: str, form: str) -> None:
    running: Callable[[], AbstractContextManager[Collector]] = running_collector
    if protocol != "grpc":
        running = running_http_collector
    with running() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
        }
        before = time.time_ns()
        with running_front(settings=settings) as front:
            read(front, SAMPLED)
            front.upstream.answer(500, {"code": "internal_server_error"})
            failure(lambda: read(front))
            record = collector.wait_for_record("call")
            line = front.gateway.wait_for("call")
            assert front.gateway.stop() == 0
    assert (record.body, record.severity, record.severity_number) == ("call", "info", 9)
    (server,) = [span for span in collector.spans if (span.kind, span.trace_id) == ("SERVER", TRACE)]
    assert (record.trace_id, record.span_id) == (TRACE, server.span_id)
    assert before < record.at_ns < time.time_ns()
    told = {
        name: value
        for name, value in line.items()
        if name not in {"event", "level", "timestamp", "trace_id", "span_id"}
    }
    assert record.attributes == told
    assert {"listening", "call", "draining"} <= {each.event for each in collector.records}
    assert {each.severity_number for each in collector.records if each.attributes.get("code") == "INTERNAL"} == {17}
    assert {resource["service.name"] for resource in collector.resources} == {"allocation-gateway"}
    assert KEY not in f"{collector.records}"


def test_an_endpoint_for_all_signals_sends_no_log_lines_unless_asked() -> None:
    with running_collector() as collector:
        with running_front(settings={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}) as front:
            read(front)
            assert front.gateway.stop() == 0
        assert not collector.records
        with running_front(settings={"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": collector.endpoint}) as front:
            read(front)
            assert front.gateway.stop() == 0
        assert collector.records
        assert len(collector.spans) == 2


def test_records_that_nobody_takes_disturb_no_call_and_make_no_further_records() -> None:
    with running_collector() as collector:
        endpoint = collector.endpoint
    settings = {
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2",
        "OTEL_BLRP_SCHEDULE_DELAY": "50",
        "TELEMETRY_FLUSH_TIMEOUT": "0.5",
    }
    with running_front(settings=settings) as front:
        for _ in range(5):
            read(front)
        front.gateway.wait_for("library")
        read(front)
        assert front.gateway.stop() == 0
    assert not [line for line in front.gateway.lines if line["event"] == "text"], "a log line that is not JSON"


# Prometheus.


def scrape(front: Front) -> dict[str, float]:
    """Returns the samples of a scrape by their name and labels, without those of the library."""
    address = front.gateway.wait_for("prometheus_listening")["address"]
    assert address.startswith("127.0.0.1:")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=LONG) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        lines = answer.read().decode().splitlines()
    samples = {}
    for line in lines:
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            samples[re.sub(r'otel_scope_\w+="[^"]*",?', "", name)] = float(value)
    return samples


PROMETHEUS: Final = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}


def test_metrics_can_be_scraped_and_count_every_call_once() -> None:
    with running_front(settings=PROMETHEUS) as front:
        for calls in (3, 6, 300):
            for _ in range(calls - int(counted(scrape(front)))):
                read(front)
            samples = scrape(front)
            assert counted(samples) == calls
            assert sum(1 for name in samples if name.startswith("rpc_server_call_duration_seconds_bucket")) == 15
        assert 'service_name="allocation-gateway"' in next(name for name in samples if name.startswith("target_info"))
        assert "traceparent" not in front.upstream.next_request().headers
        assert front.gateway.stop() == 0


def test_openmetrics_name_the_traces_of_durations_by_exemplars() -> None:
    """In the bucket that the duration has fallen into, and of the call with that trace alone."""
    with running_collector() as collector:
        settings = {
            **PROMETHEUS,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        }
        with running_front(settings=settings) as front:
            for metadata in ((), SAMPLED, ()):
                read(front, metadata)
            address = front.gateway.wait_for("prometheus_listening")["address"]
            accept = {"accept": "application/openmetrics-text; version=1.0.0"}
            with urllib.request.urlopen(
                urllib.request.Request(f"http://{address}/metrics", headers=accept), timeout=LONG
            ) as answer:
                families = list(text_string_to_metric_families(answer.read().decode()))  # type: ignore[no-untyped-call]
            samples = [sample for family in families for sample in family.samples if sample.exemplar]
            assert {sample.name for sample in samples} == {
                "rpc_server_call_duration_seconds_bucket",
                "http_client_request_duration_seconds_bucket",
            }
            assert len(samples) == 2
            for sample in samples:
                assert sample.exemplar is not None
                assert sample.exemplar.labels["trace_id"] == TRACE
                assert 0 < sample.exemplar.value <= float(sample.labels["le"])
            assert front.gateway.stop() == 0


def counted(samples: dict[str, float]) -> float:
    """Returns how many calls have been counted, which is what the largest bucket of their histogram says too."""
    name = f'{{rpc_method="{SERVICE}/GetShipmentAllocation",rpc_response_status_code="OK",rpc_system_name="grpc"}}'
    count = samples.get(f"rpc_server_call_duration_seconds_count{name}", 0.0)
    buckets = [value for key, value in samples.items() if key.startswith("rpc_server_call_duration_seconds_bucket")]
    assert count == max(buckets, default=0.0)
    return count


@pytest.mark.parametrize("preference", ["cumulative", "delta"])
def test_several_exporters_each_tell_all_of_it(preference: str) -> None:
    with running_collector() as collector:
        settings = {
            **PROMETHEUS,
            "OTEL_METRICS_EXPORTER": "otlp, prometheus",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference,
            "OTEL_METRIC_EXPORT_INTERVAL": "50",
        }
        with running_front(settings=settings) as front:
            for calls in (5, 10, 15):
                for _ in range(5):
                    read(front)
                assert counted(scrape(front)) == calls
            assert front.gateway.stop() == 0
        counts = [point.count for point in collector.of("rpc.server.call.duration")]
        assert (sum(counts) if preference == "delta" else max(counts)) == 15


def test_port_for_prometheus_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {**PROMETHEUS, "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
        done = ended(settings)
    expected = f"allocation-gateway: OTEL_EXPORTER_PROMETHEUS_PORT: 127.0.0.1:{port}: Address already in use\n"
    assert (done.returncode, done.stderr) == (2, expected)


def ended(settings: dict[str, str], command: str = "serve") -> subprocess.CompletedProcess[str]:
    """Runs a command that has to end by itself."""
    given = environment({"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY, "PORT": "0", **settings})
    return subprocess.run([COMMAND, command], env=given, capture_output=True, text=True, timeout=LONG, check=False)


# The console.


def test_console_has_one_object_a_line_on_standard_output() -> None:
    names = {f"OTEL_{name}_EXPORTER": "console" for name in ("TRACES", "METRICS", "LOGS")}
    with running_upstream() as upstream:
        upstream.default = shipped
        given = environment(
            {
                **names,
                "ALLOW_PLAINTEXT": "true",
                "SHIP_BASE_URL": upstream.url,
                "SHIP_API_KEY": KEY,
                "PORT": "0",
                "SHUTDOWN_DELAY": "0",
                "SERVICE_GROUP_LISTING": "false",
                "OTEL_TRACES_SAMPLER": EVERY_TRACE,
            }
        )
        process = subprocess.Popen(
            [COMMAND, "serve"], env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stderr is not None
            listening = json.loads(next(line for line in process.stderr if '"listening"' in line))
            with grpc.insecure_channel(listening["address"]) as channel:
                ShipmentAllocationServiceStub(channel).GetShipmentAllocation(READ, timeout=LONG)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0
    objects: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert {item["kind"] for item in objects if "kind" in item} == {"SpanKind.SERVER", "SpanKind.CLIENT"}
    assert {item["body"] for item in objects if "severity_text" in item} >= {"listening", "call", "draining"}
    assert sum("resource_metrics" in item for item in objects) == 1
    assert all(json.loads(line) for line in err.splitlines()), "log lines stay on standard error"
    assert KEY not in out


# What the SDK does not read as the specification has it.


def test_compression_can_be_switched_off_by_name() -> None:
    with running_collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        with running_front(settings=settings) as front:
            read(front)
            assert front.gateway.stop() == 0
        assert len(collector.spans) == 2


def test_collector_that_wants_a_certificate_is_given_that_of_the_variables(tmp_path: Path) -> None:
    """Whether the authority is named for all signals, and the certificate for one, or the other way round."""
    authority = Authority(tmp_path)
    chain, key = (file.read_bytes() for file in authority.issue("collector"))
    client_chain, client_key = authority.issue("client")
    credentials = grpc.ssl_server_credentials([(key, chain)], authority.file.read_bytes(), require_client_auth=True)
    with running_collector(credentials) as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.file),
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": str(client_key),
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": str(client_chain),
            "OTEL_METRICS_EXPORTER": "none",
        }
        with running_front(settings=settings) as front:
            read(front)
            collector.wait_for_spans(2)


def test_workers_each_send_their_own_log_lines() -> None:
    with running_collector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": collector.endpoint,
            "ALLOW_PLAINTEXT": "true",
            "SHIP_API_KEY": KEY,
            "WORKERS": "2",
            "ALLOW_UNSHARED_CLAIMS": "true",
        }
        with running_gateway(settings) as gateway:
            assert gateway.stop() == 0
        draining = [record for record in collector.records if record.event == "draining"]
        assert {record.attributes["worker"] for record in draining} == {1, 2}
