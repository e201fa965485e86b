"""docs/telemetry.md has everything that is told, and nothing else."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, Histogram, InMemoryMetricReader, Sum
from support.emitted import emit_everything

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
    with ExitStack() as stack:
        emit_everything(telemetry, stack)
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


def test_no_gauge_would_be_called_a_ratio_by_a_collector() -> None:
    """Its page for Prometheus appends that to the names of those whose unit is 1: dashboards would not find them."""
    assert [name for name, cells in rows("Metrics").items() if cells[:2] == ["gauge", "`1`"]] == []


def test_every_event_of_writes_is_documented() -> None:
    counted = re.compile(r'(?:environment|context)\.count\(\s*"(\w+)"')
    sources = [path.read_text() for path in (PACKAGE / "writes").glob("*.py")]
    assert set(rows("Metrics")) >= {"allocation_gateway.write.events"}
    documented = set(
        re.findall(r"^\| `(\w+)` \|", DOCUMENT.split("### Events of writes\n")[1].split("\n## ")[0], re.MULTILINE)
    )
    assert documented == {event for source in sources for event in counted.findall(source)}


def test_every_event_of_the_log_is_documented() -> None:
    logger = r"(?:_log\.\w+|getattr\((?:self\._)?log, level\)|structlog\.get_logger\(\)\.\w+)"
    logged = re.compile(logger + r'\(\s*(?:record\.levelno,\s*)?"(\w+)"')
    sources = [path.read_text() for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts]
    assert set(rows("Log lines")) == {event for source in sources for event in logged.findall(source)}
