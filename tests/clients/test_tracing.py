"""One trace from a caller's own span to upstream, by OpenTelemetry's instrumentation, as each README has it."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

import pytest
from clients.java_project import JAVA, blocks
from clients.java_project import README as JAVA_README
from clients.node_project import README as NODE_README
from clients.project import ROOT, Project, tracing_of
from support.collector import Collector, running_collector
from support.gateway import running_gateway
from support.losing import LosingWire, losing_wire
from support.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clients.java_project import JavaProject
    from clients.node_project import NodeProject
    from support.collector import Span
    from support.gateway import Gateway

pytestmark = pytest.mark.clients

PYTHON_README: Final = ROOT / "clients" / "python" / "README.md"
GO_README: Final = ROOT / "clients" / "go" / "README.md"
# What the callers name their own span, and what only the answer of their call has in it.
ORDER: Final = "order 17"
CARRIER: Final = "Lineten"
ATTEMPT: Final = "allocation_gateway.attempt.kind"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[Gateway]:
    """A gateway that exports its spans at once."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    with running_gateway(settings, "--sandbox") as running:
        yield running


@pytest.fixture
def wire(traced: Gateway, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[LosingWire]:
    """The way of a caller to the gateway, which loses the first answer; and the caller's way to the collector."""
    Sandbox(traced.sandbox_url).call("POST", "reset")
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    # The collector is asked about spans alone.
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    collector.forget()
    with losing_wire(traced.address) as between:
        between.lose(CARRIER)
        yield between
        assert between.lost == 1


def part(readme: Path, language: str) -> str:
    """Returns the only block in a language of a README's section on tracing."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", tracing_of(readme), re.DOTALL)
    return str(found)


def program_of(readme: Path, language: str, wire: LosingWire) -> str:
    """Returns the program of a README's section on tracing, which calls over the wire."""
    program, replaced = re.subn(r"(?:localhost|127\.0\.0\.1):50051", wire.address, part(readme, language))
    assert replaced == 1
    return program


def check_trace(collector: Collector) -> None:
    """Checks that all of a call that was made twice is one trace, and that each span stands below the right one."""

    def of(kind: str) -> list[Span]:
        return [span for span in collector.spans if span.kind == kind]

    def has_come() -> bool:
        """Whether all of the caller's and the gateway's spans are there."""
        called = [span for span in of("CLIENT") if ATTEMPT not in span.attributes]
        upstream = [span for span in of("CLIENT") if ATTEMPT in span.attributes]
        return len(of("SERVER")) >= 2 and len(called) >= 2 and bool(upstream) and bool(of("INTERNAL"))

    collector.wait_for_points(has_come)
    (order,) = of("INTERNAL")
    assert (order.name, order.parent_id) == (ORDER, "")
    calls = [span for span in of("CLIENT") if ATTEMPT not in span.attributes]
    served = of("SERVER")
    attempts = [span for span in of("CLIENT") if span.attributes.get(ATTEMPT) == "first"]
    # The answer that was lost, and the one to the same request_id.
    assert (len(calls), len(served)) == (2, 2)
    assert {span.parent_id for span in calls} == {order.span_id}
    assert {span.parent_id for span in served} == {span.span_id for span in calls}
    # It was sent to upstream once.
    (sent,) = [span for span in attempts if span.attributes["http.request.method"] == "PUT"]
    assert sent.parent_id in {span.span_id for span in served}
    assert {span.trace_id for span in (*calls, *served, sent)} == {order.trace_id}
    assert [call.failed for call in sorted(calls, key=lambda call: call.failed)] == [False, True]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has the Python client, and what its section on tracing installs."""
    project = Project(tmp_path_factory.mktemp("python"))
    project.run(f"'{sys.executable}' -m venv venv && venv/bin/pip install --quiet '<checkout>/clients/python'")
    project.run(f"PATH=venv/bin:$PATH\n{part(PYTHON_README, 'sh')}")
    return project


def test_python(python: Project, wire: LosingWire, collector: Collector) -> None:
    (python.folder / "traced.py").write_text(program_of(PYTHON_README, "python", wire))
    assert python.run("venv/bin/python -W error traced.py") == f"{CARRIER}\n"
    check_trace(collector)


def test_python_that_awaits(python: Project, wire: LosingWire, collector: Collector) -> None:
    """The same program, as the README says it is to be changed."""
    program = program_of(PYTHON_README, "python", wire)
    (instrumentor,) = re.findall(r"`(\w+)\(\)\.instrument\(\)`", tracing_of(PYTHON_README))
    begun, body = program.replace("GrpcInstrumentorClient", instrumentor).split("with Client", 1)
    body, rest = f"async with AsyncClient{body}".split("provider.shutdown()")
    body = body.replace("client.allocate", "await client.allocate")
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    (python.folder / "awaiting.py").write_text(
        f"import asyncio\n{begun.replace('import Client', 'import AsyncClient')}\n"
        f"async def main():\n{indented}\nasyncio.run(main())\nprovider.shutdown(){rest}"
    )
    assert python.run("venv/bin/python -W error awaiting.py") == f"{CARRIER}\n"
    check_trace(collector)


def test_go(tmp_path: Path, wire: LosingWire, collector: Collector) -> None:
    project = Project(tmp_path)
    install, begin = re.findall(r"```sh\n(.*?)```", GO_README.read_text(), re.DOTALL)[:2]
    project.run(install)
    (tmp_path / "main.go").write_text(program_of(GO_README, "go", wire))
    assert project.run(begin) == f"{CARRIER}\n"
    check_trace(collector)


def test_typescript(typescript: NodeProject, wire: LosingWire, collector: Collector) -> None:
    typescript.run(part(NODE_README, "sh"))
    program = typescript.folder / "traced.ts"
    program.write_text(program_of(NODE_README, "ts", wire))
    typescript.compile(program)
    assert typescript.run("node traced.js") == f"{CARRIER}\n"
    check_trace(collector)


def compiled(java: JavaProject, program: str) -> str:
    """Compiles the program Traced with what the section on tracing needs. Returns the command that runs it."""
    (pom,) = blocks("xml")
    more = part(JAVA_README, "xml")
    text = pom.replace("<checkout>", str(ROOT)).replace("  </dependencies>", f"{more}  </dependencies>")
    (java.folder / "traced.xml").write_text(text)
    (java.folder / "Traced.java").write_text(program)
    java.run("mvn -q -f traced.xml dependency:copy-dependencies -DoutputDirectory=target/tracing")
    java.run("javac -Xlint:all -Werror --release 11 -cp 'target/tracing/*' -d target/traced Traced.java")
    return f"{' '.join(JAVA)} -cp 'target/traced:target/tracing/*' Traced"


def test_java(java: JavaProject, wire: LosingWire, collector: Collector) -> None:
    assert java.run(compiled(java, program_of(JAVA_README, "java", wire))) == f"{CARRIER}\n"
    check_trace(collector)


def test_java_that_does_not_wait(java: JavaProject, wire: LosingWire, collector: Collector) -> None:
    """The attempt that is made again is made by another thread."""
    program = program_of(JAVA_README, "java", wire)
    program, replaced = re.subn(
        r"allocateShipmentWithServiceGroup\(request\)", "allocateShipmentWithServiceGroupAsync(request).join()", program
    )
    assert replaced == 1
    assert java.run(compiled(java, program)) == f"{CARRIER}\n"
    check_trace(collector)
