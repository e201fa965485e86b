"""The Java client as it is installed: its README, its own tests, and how it reaches its gateway."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from clients.conftest import MANY, many_shipments
from clients.java_project import README, blocks
from clients.program import calling, mutual_tls
from clients.project import ROOT, text_of
from support.gateway import running_gateway
from support.losing import losing_wire
from support.scripted import SILENCE, scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.java_project import JavaProject
    from support.certificates import Authority

pytestmark = pytest.mark.clients

SHIPMENT: Final = "sp_00794403010635468411384028069888"
ANSWER: Final = pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(shipment_reference=SHIPMENT))
VERSION: Final = "0.1.0"
DIST: Final = ROOT / "dist" / "maven" / "com" / "allocationgateway" / "allocation-gateway-client" / VERSION
# The version of class files that Java 11 reads.
JAVA_11: Final = 55
_WRONG: Final = ("errors", "failures", "skipped")
_STOP: Final = 10.0


@pytest.fixture(scope="module")
def programs(java: JavaProject) -> JavaProject:
    """The project with the programs of these tests."""
    java.compile(*(Path(__file__).with_name(name) for name in ("Reading.java", "Allocating.java")))
    return java


def test_every_snippet_of_the_readme_is_compiled_and_prints_what_stands_below_it(java: JavaProject) -> None:
    snippets = re.findall(r"```java\n(.*?)```(?:\n\n```text\n(.*?)```)?", text_of(README), re.DOTALL)
    assert len(snippets) == len(blocks("java"))
    names = [re.findall(r"^final class (\w+)", program, re.MULTILINE)[0] for program, _ in snippets]
    with running_gateway({}, "--sandbox") as gateway:
        sources = [java.folder / f"{name}.java" for name in names]
        for source, (program, _) in zip(sources, snippets, strict=True):
            source.write_text(program.replace("127.0.0.1:50051", gateway.address))
        java.compile(*sources)
        for name, (_, printed) in zip(names, snippets, strict=True):
            assert java.run(" ".join(f"'{word}'" for word in java.command(name))) == printed


def test_the_readme_runs_what_maven_has_compiled(java: JavaProject) -> None:
    compiled, run = blocks("sh")[1].splitlines()
    assert compiled == "mvn -q compile dependency:copy-dependencies"
    assert set(run.split("'")[1].split(":")) == {"target/classes", "target/dependency/*"}
    assert (java.folder / "target" / "classes" / "Call.class").is_file()


def test_what_is_built_is_what_a_repository_has() -> None:
    name = f"allocation-gateway-client-{VERSION}"
    assert {f"{name}{end}" for end in (".jar", ".pom", "-sources.jar", "-javadoc.jar")} <= {
        path.name for path in DIST.iterdir()
    }
    package = "com/allocationgateway/client"
    with zipfile.ZipFile(DIST / f"{name}.jar") as jar:
        config = json.loads(jar.read(f"{package}/service_config.json"))
        assert config == json.loads((ROOT / "clients" / "service_config.json").read_text())
        classes = [one for one in jar.namelist() if one.endswith(".class")]
        assert {int.from_bytes(jar.read(one)[6:8]) for one in classes} == {JAVA_11}
        assert "allocation/v1/core.proto" in jar.namelist()
        assert not [one for one in classes if "Test" in one]
    with zipfile.ZipFile(DIST / f"{name}-sources.jar") as jar:
        assert {f"{package}/Caller.java", "com/allocationgateway/allocation/v1/Allocation.java"} <= set(jar.namelist())
    with zipfile.ZipFile(DIST / f"{name}-javadoc.jar") as jar:
        # In a folder of the module, where it has a name.
        assert any(name.endswith(f"{package}/AllocationClient.html") for name in jar.namelist())


def test_it_is_installed_outside_of_the_repository(java: JavaProject) -> None:
    installed = java.folder / "target" / "dependency" / f"allocation-gateway-client-{VERSION}.jar"
    assert not installed.is_symlink()
    assert ROOT not in installed.resolve().parents
    assert installed.read_bytes() == (DIST / f"allocation-gateway-client-{VERSION}.jar").read_bytes()


def test_its_own_tests_pass(java: JavaProject) -> None:
    """The build runs them."""
    assert java.folder.is_dir()
    reports = list((ROOT / ".cache" / "java" / "surefire-reports").glob("TEST-*.xml"))
    suites = [ET.parse(report).getroot() for report in reports]  # noqa: S314 # the build wrote them
    counts = {name: sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", *_WRONG)}
    assert counts.pop("tests") >= 60
    assert counts == dict.fromkeys(_WRONG, 0)


def test_it_runs_with_the_newest_protobuf_and_grpc(java: JavaProject) -> None:
    java.run("mvn -q -f newest.xml dependency:copy-dependencies -DoutputDirectory=target/newest")
    newest = java.folder / "target" / "newest"
    for name in ("protobuf-java-4.*.jar", "grpc-netty-shaded-*.jar"):
        (jar,) = newest.glob(name)
        assert not (java.folder / "target" / "dependency" / jar.name).exists()
    with running_gateway({}, "--sandbox") as gateway:
        (java.folder / "Call.java").write_text(blocks("java")[0].replace("127.0.0.1:50051", gateway.address))
        java.compile(java.folder / "Call.java")
        assert java.run("java -cp 'target/classes:target/newest/*' Call").strip() == "Lineten 2.00 GBP"


def test_mutual_tls_of_a_real_gateway(programs: JavaProject, authority: Authority) -> None:
    settings, trusted, proved = mutual_tls(authority)
    with running_gateway(settings, "--sandbox") as gateway:
        with calling(programs.command("Reading"), gateway.address, **proved, serverName="localhost") as call:
            assert call() == SHIPMENT
        with calling(programs.command("Reading"), gateway.address, **trusted) as call:
            assert call(timeoutMs=1000) == "TryAgainException"
        with calling(programs.command("Reading"), gateway.address) as call:
            assert call(timeoutMs=1000) == "TryAgainException"


def test_a_token_and_metadata_of_ones_own_are_sent(programs: JavaProject, authority: Authority, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    options = {"ca": str(authority.file), "tokenFile": str(token), "metadata": {"x-team": "checkout"}}
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        with calling(programs.command("Reading"), server.address, **options) as call:
            assert call(metadata={"x-order": "17"}) == SHIPMENT
            assert call() == SHIPMENT
    first, second = (one.metadata for one in server.calls)
    assert first["authorization"] == second["authorization"] == "Bearer secret"
    assert (first["x-team"], first["x-order"], "x-order" in second) == ("checkout", "17", False)
    assert first["user-agent"].startswith("allocation-gateway-client-java ")


def test_an_authorization_of_ones_own_is_sent_instead_of_the_token(
    programs: JavaProject, authority: Authority, tmp_path: Path
) -> None:
    """Two are never sent: the gateway would refuse that."""
    token = tmp_path / "token"
    token.write_text("file")
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        for of_client in ({}, {"metadata": {"authorization": "Bearer client"}}):
            options = {"ca": str(authority.file), "tokenFile": str(token), **of_client}
            with calling(programs.command("Reading"), server.address, **options) as call:
                assert call() == call(metadata={"authorization": "Bearer call"}) == SHIPMENT
    sent = [one.metadata["authorization"] for one in server.calls]
    assert sent == ["Bearer file", "Bearer call", "Bearer client", "Bearer call"]


def test_every_attempt_has_a_deadline(programs: JavaProject) -> None:
    with scripted_server() as server:
        server.default = ANSWER
        with calling(programs.command("Reading"), server.address, plaintext=True, timeoutMs=10_000) as call:
            assert call() == call(timeoutMs=4000) == SHIPMENT
    first, second = (one.seconds for one in server.calls)
    assert 4 < first < 11
    assert 0 < second < 5


def test_calls_go_to_all_addresses_of_a_name_in_turn(programs: JavaProject, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 gateway.test\n127.0.0.2 gateway.test\n")
    with scripted_server() as one:
        port = one.address.rpartition(":")[2]
        with scripted_server(at=f"127.0.0.2:{port}") as other:
            one.default = other.default = ANSWER
            with calling(
                programs.command("Reading", f"-Djdk.net.hosts.file={hosts}"), f"gateway.test:{port}", plaintext=True
            ) as call:
                assert {call() for _ in range(40)} == {SHIPMENT}
            assert min(len(one.calls), len(other.calls)) >= 10


@contextmanager
def allocating(java: JavaProject, address: str, **told: Any) -> Iterator[Iterator[list[str]]]:
    """Runs a job; what it gives are the words of each line."""
    command = [*java.command("Allocating"), json.dumps({"address": address, **told})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield (line.split() for line in process.stdout)
            assert process.wait(_STOP) == 0
        finally:
            process.kill()


def test_a_job_goes_on_after_its_connection_was_lost(programs: JavaProject) -> None:
    """Each shipment is told once and booked once. So with a watch."""
    wave = [f"sp_{number:032d}" for number in range(1, MANY + 1)]
    told: list[list[str]] = []
    with many_shipments() as (gateway, sandbox), losing_wire(gateway.address) as wire:
        asked = {"jobId": str(uuid.uuid4()), "references": wave, "timeoutMs": 120_000}
        with allocating(programs, wire.address, **asked) as lines:
            for line in lines:
                if len(told) in {0, MANY // 2, MANY + 1}:
                    wire.cut()
                told.append(line)
        assert sandbox.all_bookings() == dict.fromkeys(wave, (1, 0))
    assert sorted(told[:MANY]) == [["allocated", reference] for reference in wave]
    # What was not final, or not heard of, before the connection was lost is told again.
    assert {tuple(line) for line in told[MANY:]} == {("final", reference) for reference in wave}


def test_a_job_that_nobody_answers_ends_at_its_deadline_with_its_id(programs: JavaProject) -> None:
    asked = {"jobId": str(uuid.uuid4()), "references": [SHIPMENT], "timeoutMs": 1000}
    with scripted_server() as server:
        server.default = SILENCE
        with allocating(programs, server.address, **asked) as lines:
            assert list(lines) == [["unfinished", asked["jobId"], "1"]]
