"""docs/telemetry.md has everything that is told, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from allocation_gateway.telemetry.runtime import CollectorPauses, cpu_seconds, memory_bytes
from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, Histogram, InMemoryMetricReader, Sum

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "server" / "allocation_gateway"
DOCUMENT: Final = (ROOT / "docs" / "telemetry.md").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """Returns the rows of the table below a heading by their first cell."""
    section = re.split("\n##+ ", DOCUMENT.split(f"## {heading}\n")[1])[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_every_metric_is_documented_with_its_kind_unit_and_attributes() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    telemetry = Telemetry(meter_provider=provider)
    for error in (False, True):
        call = telemetry.call("a/b", [])
        request = call.request("GET", "/x", "http://127.0.0.1", "/x")
        request.answered(500 if error else 200)
        call.finish("INTERNAL" if error else "OK")
    telemetry.metrics.group_lookup(known=True)
    telemetry.metrics.group_event("listing_read")
    telemetry.metrics.group_part("cache", usable=True)
    telemetry.metrics.write_detached("a/b")
    telemetry.metrics.write_event("joined", "a/b")
    telemetry.metrics.answer_undocumented("a/b", "read")
    telemetry.metrics.store_step("begin", 0.001)
    telemetry.metrics.store_failure("begin", "timeout")
    telemetry.metrics.breaker_state("ship", 2)
    telemetry.metrics.upstream_refused("ship", "breaker")
    telemetry.metrics.queue_length("ship", "write", 1)
    telemetry.metrics.queue_waited("ship", "write", 0.1)
    telemetry.metrics.budget_asked("ship", "retries", granted=True)
    telemetry.metrics.caller_refused("CALLER_NOT_ALLOWED")
    telemetry.metrics.loop_lag(0.001)
    telemetry.metrics.observe_calls(lambda: 1, 2)
    telemetry.metrics.observe_writes(lambda: {"in doubt": 1})
    telemetry.metrics.observe_groups(
        lambda: [(1, {"api": "ship", "source": "catalogue"})], lambda: [(1.0, {"api": "ship"})]
    )
    telemetry.metrics.observe_files(lambda: [(1.0, {"file": "policy_file"})], lambda: [(1.0, {"file": "policy_file"})])
    with CollectorPauses() as pauses:
        telemetry.metrics.observe_process(cpu_seconds, memory_bytes, pauses.seconds)
        data: Any = reader.get_metrics_data()
    provider.shutdown()
    told: dict[str, tuple[str, str, set[str]]] = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        kind = {Histogram: "histogram", Sum: "counter", Gauge: "gauge"}[type(metric.data)]
        if kind == "counter" and not metric.data.is_monotonic:
            kind = "up-down counter"
        told[metric.name] = (
            kind,
            metric.unit,
            {name for point in metric.data.data_points for name in point.attributes},
        )
    documented = {
        name: (cells[0], cells[1].strip("`"), set(re.findall(r"`([a-z._]+)`", cells[2].split(":")[0])))
        for name, cells in rows("Metrics").items()
    }
    assert documented == told


def test_every_event_of_writes_is_documented() -> None:
    counted = re.compile(r'(?:environment|context)\.count\(\s*"(\w+)"')
    sources = [path.read_text() for path in (PACKAGE / "writes").glob("*.py")]
    assert set(rows("Metrics")) >= {"allocation_gateway.write.events"}
    documented = set(
        re.findall(r"^\| `(\w+)` \|", DOCUMENT.split("### Events of writes\n")[1].split("\n## ")[0], re.MULTILINE)
    )
    assert documented == {event for source in sources for event in counted.findall(source)}


def test_every_event_of_the_log_is_documented() -> None:
    logger = r"(?:_log\.\w+|getattr\(self\._log, level\)|structlog\.get_logger\(\)\.log)"
    logged = re.compile(logger + r'\(\s*(?:record\.levelno,\s*)?"(\w+)"')
    sources = [path.read_text() for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts]
    assert set(rows("Log lines")) == {event for source in sources for event in logged.findall(source)}
