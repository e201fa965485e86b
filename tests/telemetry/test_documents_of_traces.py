"""docs/telemetry.md has every span with its attributes, every event and every link of a trace, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.telemetry.conventions import CALLER_TIMED_OUT, CANCELLED, NOT_SENT, AttemptKind
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.writes import resolution
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "server" / "allocation_gateway"
DOCUMENT: Final = (ROOT / "docs" / "telemetry.md").read_text()
EVENTS: Final = "allocation_gateway.write"
FAILED: Final = ("UNKNOWN", "OUTCOME_UNKNOWN")


def table(head: str) -> dict[str, list[str]]:
    """Returns the rows of the table whose head begins so, by the first name of their first cell."""
    lines = DOCUMENT[DOCUMENT.index(f"\n| {head} |") :].lstrip("\n").split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {re.findall(r"`([^`]+)`|$", first)[0] or first: rest for first, *rest in cells}


def names(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_.]+)`", text))


def sources(*parts: str) -> str:
    return "\n".join(path.read_text() for part in parts for path in sorted((PACKAGE / part).rglob("*.py")))


@pytest.fixture(scope="module")
def spans() -> Iterator[Sequence[ReadableSpan]]:
    """Spans of all kinds, each with all that it can have."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry(tracer_provider=provider)
    call = telemetry.call("allocation.v1.S/R", [])
    for outcome in (500, "timeout"):
        request = call.request("GET", "/x", "http://127.0.0.1", "/x", AttemptKind.REPEAT, 1, "another")
        request.answered(outcome) if isinstance(outcome, int) else request.failed(outcome)
    item, batch = call.item("sp_1"), call.batch(1)
    item.sent_with(batch)
    item.end_part(*FAILED)
    batch.end_part(*FAILED)
    call.detach()
    call.finish(*FAILED, "another")
    call.end_detached(*FAILED)
    yield exporter.get_finished_spans()
    provider.shutdown()


def test_every_span_is_documented_with_its_kind_and_attributes(spans: Sequence[ReadableSpan]) -> None:
    told: dict[str, tuple[str, set[str]]] = {}
    for span in spans:
        name = {SpanKind.SERVER: "allocation.v1.<Service>/<Rpc>", SpanKind.CLIENT: "<METHOD> <template>"}.get(
            span.kind, span.name
        )
        attributes = {each for each in span.attributes or {} if not each.startswith(EVENTS)}
        told[name] = span.kind.name.lower(), told.get(name, ("", set()))[1] | attributes
    documented = {
        name: (cells[0].split(",")[0], names(re.sub(r"\([^)]*\)", "", cells[1])))
        for name, cells in table("span").items()
    }
    assert documented == told


def test_every_kind_of_attempt_is_documented() -> None:
    assert set(table("kind")) == {kind.value for kind in AttemptKind}


def test_every_error_of_a_request_without_an_answer_is_documented() -> None:
    given = set(re.findall(r'seen\.failed\("(\w+)"\)', (PACKAGE / "upstream" / "client.py").read_text()))
    section = DOCUMENT[DOCUMENT.index("says of a request without an answer why") :].split("\n\n")[1]
    found = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert found == given | {CALLER_TIMED_OUT, CANCELLED, NOT_SENT}


def test_every_event_of_a_span_is_documented() -> None:
    """Those that are counted too have a table of their own."""
    text = sources("writes", "telemetry")
    noted = set(re.findall(r'(?:observation\.event|\.mark|context\.count)\(\s*"(\w+)"', text))
    section = DOCUMENT.split("### What happens in a trace\n")[1].split("\nA call that has to do")[0]
    told = {name.removeprefix(f"{EVENTS}.") for name in names(section) if name.startswith(f"{EVENTS}.")} - {""}
    counted = re.split("\n##+ ", DOCUMENT.split("### Events of writes\n")[1])[0]
    # A write whose end could not be recorded has its answer already: nothing of that is in its trace.
    assert noted == (told | set(re.findall(r"^\| `(\w+)` \|", counted, re.MULTILINE))) - {"record_failed"}
    assert {"claimed", "read_back", "detached"} <= told
    assert set(resolution.NAMES.values()) <= names(section)


def test_every_link_is_documented() -> None:
    text = sources("writes", "telemetry")
    given = set(re.findall(r'(?:follows|_link)\([^()]*(?:\([^()]*\))?[^()]*"(\w+)"\}?\)', text))
    section = DOCUMENT[DOCUMENT.index("| value | the link leads from | to |") :].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == given
