"""The page of metrics that several workers share, and how pages become one."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import urllib.error
import urllib.request
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway.telemetry import exemplars, page_server
from allocation_gateway.telemetry.page_server import PageServer, merged
from allocation_gateway.telemetry.pages import SharedPage
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as families
from support.front import KEY, LONG
from support.gateway import running_gateway
from support.upstream import running_upstream, shipped
from support.workers import answering, pid_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.gateway import Gateway

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
WORKER: Final = "allocation_gateway_worker"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_upstream() as upstream:
        upstream.default = shipped
        settings = {
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": upstream.url,
            "SHIP_API_KEY": KEY,
            "WORKERS": "3",
            "ALLOW_UNSHARED_CLAIMS": "true",
        }
        with running_gateway(settings) as running:
            yield running
            assert running.stop() == 0


def scrape(gateway: Gateway, accept: str = "") -> str:
    """Scrapes by a connection of its own, which the system gives to one of the workers."""
    address = gateway.wait_for("prometheus_listening")["address"]
    request = urllib.request.Request(f"http://{address}/metrics", headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=LONG) as answer:  # noqa: S310 - it is HTTP
        return str(answer.read().decode())


def by_worker(page: str, sample: str) -> dict[str, float]:
    return {
        found.labels[WORKER]: found.value
        for family in families(page)
        for found in family.samples
        if found.name == sample and found.labels.get("rpc_response_status_code", "OK") == "OK"
    }


def test_whichever_worker_is_asked_tells_of_all(gateway: Gateway) -> None:
    """Also of a worker that was replaced, of which the others know nothing."""
    assert len({line["address"] for line in gateway.lines if line["event"] == "prometheus_listening"}) == 1
    made = {str(worker): 0 for worker in (1, 2, 3)}
    while min(made.values()) == 0:
        made[str(answering(gateway))] += 1
    for _ in range(12):
        assert by_worker(scrape(gateway), "rpc_server_call_duration_seconds_count") == made
    os.kill(pid_of(gateway, 2), signal.SIGKILL)
    gateway.wait_for("worker_ended", worker=2)
    assert set(by_worker(scrape(gateway), "process_uptime_seconds")) >= {"1", "3"}
    gateway.wait_for("worker_started", pid=pid_after(gateway, 2))
    page = scrape(gateway)
    assert by_worker(page, "allocation_gateway_worker_restarts") == {"1": 0, "2": 1, "3": 0}
    # Each says how many there should be: so one that is missing is missed.
    assert by_worker(page, "allocation_gateway_workers") == {"1": 3, "2": 3, "3": 3}
    assert set(by_worker(page, "rpc_server_call_duration_seconds_count")) == {"1", "3"}


def pid_after(gateway: Gateway, worker: int) -> int:
    """Returns the process that has replaced a worker, once it accepts calls."""
    before = gateway.wait_for("worker_ended", worker=worker)["pid"]
    with gateway._changed:
        gateway._changed.wait_for(lambda: pid_of(gateway, worker) != before, LONG)
    return pid_of(gateway, worker)


@pytest.mark.parametrize("accept", ["", "text/plain;version=0.0.4", OPENMETRICS])
def test_one_page_says_once_what_a_metric_is(accept: str, gateway: Gateway) -> None:
    page = scrape(gateway, accept)
    heads = re.findall(r"^# (?:HELP|TYPE|UNIT) (\S+)", page, re.MULTILINE)
    kinds = [line for line in page.splitlines() if line.startswith("# TYPE")]
    assert len(kinds) == len({line.split()[2] for line in kinds})
    assert "process_uptime_seconds" in heads
    parse = openmetrics_families if accept == OPENMETRICS else families
    assert page.endswith("# EOF\n") is (accept == OPENMETRICS)
    uptimes = next(family for family in parse(page) if family.name == "process_uptime_seconds")
    assert {sample.labels[WORKER] for sample in uptimes.samples} == {"1", "2", "3"}


def test_what_is_no_page_is_not_found(gateway: Gateway) -> None:
    address = gateway.wait_for("prometheus_listening")["address"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{address}/secret", timeout=LONG)


def test_a_worker_that_says_nothing_is_left_out_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs, one that ends half-way, and one that is not there."""
    monkeypatch.setattr(page_server, "_PAGE_TIMEOUT", 0.3)
    shared = SharedPage(f"test/{os.urandom(8).hex()}", 0, 4)
    bound = socket.create_server(("127.0.0.1", 0))
    hanging, cut_short = (socket.socket(socket.AF_UNIX) for _ in range(2))
    for number, sibling in ((2, hanging), (3, cut_short)):
        sibling.bind(shared.socket_of(number))
        sibling.listen()

    def cut() -> None:
        link, _ = cut_short.accept()
        with link:
            link.sendall(b'500\n# HELP a b\na{w="3')

    thread = threading.Thread(target=cut)
    thread.start()
    page = b'# HELP a b\n# TYPE a gauge\na{w="1"} 1.0\n'
    server = PageServer([bound], lambda _: (page, "text/plain"), shared, 1)
    with closing(server), hanging, cut_short, urllib.request.urlopen(f"http://{server.address}/", timeout=LONG) as got:
        assert got.read() == page
    thread.join()


def test_who_is_gone_before_the_page_is_there_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard error has log lines alone."""
    asked, gone = threading.Event(), threading.Event()

    def page(_: str) -> tuple[bytes, str]:
        asked.set()
        gone.wait(LONG)
        return b"a 1.0\n" * 1_000_000, "text/plain"

    before = set(threading.enumerate())
    server = PageServer([socket.create_server(("127.0.0.1", 0))], page)
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port))) as impatient:
        impatient.sendall(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
        assert asked.wait(LONG)
        # It is reset instead of being closed in good order.
        impatient.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.set()
    for thread in set(threading.enumerate()) - before - set(server._threads):
        thread.join(LONG)
    server.close()
    assert capfd.readouterr().err == ""


def test_a_metric_that_only_one_page_has_keeps_its_place() -> None:
    one = b'# HELP a what\n# TYPE a counter\na_total{w="1"} 1.0\n# EOF\n'
    other = b'# HELP b other\n# TYPE b gauge\nb{w="2",text="# HELP a"} 2.0\n'
    two = other + one.replace(b'"1"} 1.0', b'"2"} 3.0')
    assert merged([one, two]).decode() == (
        '# HELP a what\n# TYPE a counter\na_total{w="1"} 1.0\na_total{w="2"} 3.0\n'
        '# HELP b other\n# TYPE b gauge\nb{w="2",text="# HELP a"} 2.0\n# EOF\n'
    )


def test_the_exemplars_of_a_series_are_looked_for_once_and_not_for_each_of_its_buckets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page has a thousand series, each with a dozen buckets and more."""
    asked: list[object] = []
    identity = exemplars._identity

    def counted(labels: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
        asked.append(labels)
        return identity(labels)

    monkeypatch.setattr(exemplars, "_identity", counted)
    family = HistogramMetricFamily("a_seconds", "what", labels=["w"])
    for series in ("1", "2"):
        family.add_metric([series], [(bound, 1.0) for bound in ("0.1", "1.0", "+Inf")], 2.0)
    traced = SimpleNamespace(value=0.5, time_unix_nano=1_000_000_000, trace_id=7, span_id=8)
    found = {("a_seconds", identity({"w": "2"})): [traced]}
    marked = list(exemplars._marked("a_seconds", family.samples, found))
    assert [(each.labels["w"], each.labels["le"]) for each in marked if each.exemplar] == [("2", "1.0")]
    assert len(asked) == 2
