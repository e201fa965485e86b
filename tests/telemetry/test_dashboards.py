"""Dashboards, rules and runbooks: they ask for what the gateway emits, and lead to something that there is."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.telemetry.conventions import STORE_BUCKETS
from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry
from support.emitted import emit_everything

from helm import dashboards, panels, rules

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
RULES: Final = yaml.safe_load((ROOT / "helm/allocation-gateway/rules/allocation-gateway.yaml").read_text())
ALERTS: Final = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
RECORDS: Final = {
    rule["record"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule
}
PANELS: Final = [panel for board in panels.BOARDS for _, row in board.rows for panel in row]
REASONS: Final = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
# What Prometheus puts to a target, and what the page of several workers has.
OF_TARGETS: Final = {"cluster", "namespace", "job", "instance", "allocation_gateway_worker"}
KEYWORDS: Final = {"by", "and", "or", "unless", "ignoring", "on", "offset", "bool"}


def expressions() -> Iterator[tuple[str, str]]:
    """Yields every query by where it stands."""
    for panel in PANELS:
        for query in panel.queries:
            yield panel.question, query.expression
    for name, rule in ALERTS.items():
        yield name, rule["expr"]
    yield from RECORDS.items()


def asked(expression: str) -> tuple[dict[str, set[str]], set[str]]:
    """Returns the metrics that a query names, each with the labels that are matched, and the labels that group."""
    text = re.sub(r'"[^"]*"', '""', re.sub(r"\[[^\]]*\]|offset \w+", "", expression))
    metrics: dict[str, set[str]] = {}
    for name, matchers in re.findall(r"([A-Za-z_:][\w:]*)\{([^}]*)\}", text):
        metrics.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
    text = re.sub(r"\{[^}]*\}", "", text)
    grouping = re.compile(r"(?:by|ignoring) \(([^)]*)\)")
    groups = {label.strip() for labels in grouping.findall(text) for label in labels.split(",")}
    for name in re.findall(r"[A-Za-z_:][\w:]*(?!\w*\s*\()\b", grouping.sub("", text)):
        if name not in KEYWORDS and not re.search(rf"\b{re.escape(name)}\s*\(", text):
            metrics.setdefault(name, set())
    return metrics, groups


@pytest.fixture(scope="module")
def emitted() -> dict[str, set[str]]:
    """The samples that Prometheus gets, and the labels of each."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(registry=registry)
    provider = MeterProvider([reader])
    found: dict[str, set[str]] = {}
    with ExitStack() as stack:
        emit_everything(Telemetry(meter_provider=provider), stack)
        for family in registry.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        provider.shutdown()
    del found["target_info"]
    return found


@pytest.mark.parametrize(("place", "expression"), [pytest.param(*each, id=each[0]) for each in expressions()])
def test_every_query_asks_for_what_the_gateway_emits(place: str, expression: str, emitted: dict[str, set[str]]) -> None:
    metrics, groups = asked(expression)
    assert metrics
    there = set(OF_TARGETS)
    for name, labels in metrics.items():
        recorded = asked(RECORDS[name])[1] if name in RECORDS else None
        has = emitted[name] if recorded is None else recorded
        assert labels - OF_TARGETS <= has, name
        there |= has
    assert groups <= there


def test_every_metric_is_on_a_dashboard(emitted: dict[str, set[str]]) -> None:
    shown = {name for panel in PANELS for query in panel.queries for name in asked(query.expression)[0]}
    base = re.compile(r"_(?:bucket|count|sum|total|created)$")
    assert {base.sub("", name) for name in emitted} == {base.sub("", name) for name in shown}


def test_every_value_that_is_asked_for_is_one_that_the_document_names() -> None:
    """Reasons are those of the contract. Of the rest the document says which values there are."""
    document = re.sub(r"```.*?```", "", (ROOT / "docs" / "telemetry.md").read_text(), flags=re.DOTALL)
    told = set(re.findall(r"`([^`]+)`", document)) | REASONS | {"", "allocation_gateway"}
    exact = re.compile(r'\b(?!le=)\w+="([^"]*)"')
    assert {text for _, each in expressions() for text in exact.findall(each)} <= told
    bounds = {bound for _, each in expressions() for bound in re.findall(r'\ble="([^"]*)"', each)}
    assert bounds <= {str(bound) for bound in STORE_BUCKETS}


def test_every_reason_is_the_fault_of_one() -> None:
    blamed = {
        reason: [fault for fault, pattern in panels._FAULTS.items() if re.fullmatch(pattern, reason)]
        for reason in REASONS
    }
    assert {reason: faults for reason, faults in blamed.items() if len(faults) != 1} == {}


def test_panels_are_questions_with_a_description_and_a_unit() -> None:
    assert all(panel.question.endswith("?") for panel in PANELS)
    assert len({panel.question for panel in PANELS}) == len(PANELS)
    assert all(panel.description.endswith(".") and panel.unit for panel in PANELS)


def test_files_are_as_their_generator_writes_them() -> None:
    written = {file.name: file.read_text() for file in dashboards.FOLDER.iterdir()}
    assert written == dashboards.files(), "run python -m helm.dashboards"
    assert rules.FILE.read_text() == rules.text(), "run python -m helm.rules"


def test_rules_at_another_pace_are_the_same_but_for_what_lasts() -> None:
    def timeless(text: str) -> list[str]:
        text = re.sub(r"(\[|offset |for: )\d+(?:ms|s|m|h)", r"\1", text)
        return re.sub(r"(p95_rate5m) > [\d.]+", r"\1", text).split()

    hurried = rules.text(rules.Pace(100, slow=1))
    assert hurried != rules.text()
    assert timeless(hurried) == timeless(rules.text())
    assert rules.Pace(100).lasting(2) == "1200ms"


def test_dashboards_lead_to_runbooks_and_choose_by_variables() -> None:
    for file in dashboards.FOLDER.iterdir():
        board: Any = json.loads(file.read_text())
        variables = [each["name"] for each in board["templating"]["list"]]
        assert variables == ["datasource", "cluster", "namespace", "job", "account"]
        found = [panel for panel in board["panels"] if panel["type"] != "row"]
        assert found
        for panel in found:
            (link,) = panel["links"]
            assert (RUNBOOKS / link["url"].removeprefix("RUNBOOKS_URL/")).is_file(), link["url"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert all(panels.SCOPE in target["expr"] for target in panel["targets"])


def test_every_alert_has_a_runbook_that_says_what_to_do() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (\w+ \| .*) \|$", (RUNBOOKS / "README.md").read_text(), re.MULTILINE))
    books = {}
    for name, rule in ALERTS.items():
        file = rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS_URL/")
        assert not re.search(r"\{\{", json.dumps(rule["annotations"]))
        books[name] = f"{rule['labels']['severity']} | [{file.removesuffix('.md')}]({file})"
    assert listed == books
    used = {panel.runbook for panel in PANELS} | {text.split("(")[1].removesuffix(".md)") for text in books.values()}
    assert {file.stem for file in RUNBOOKS.glob("*.md")} - {"README"} == used
    for name in used:
        text = (RUNBOOKS / f"{name}.md").read_text()
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert headings == ["What it means", "Look here first", "Do this", "Who to call"], name


def test_questions_that_runbooks_quote_are_on_a_dashboard() -> None:
    """Some are quoted by their beginning."""
    questions = [panel.question for panel in PANELS]
    for file in RUNBOOKS.glob("*.md"):
        for quoted in re.findall(r'"([A-Z][^"]*\?)"', file.read_text().replace("\n", " ").replace("   ", " ")):
            assert re.sub(r"\s+", " ", quoted) in questions, (file.name, quoted)
