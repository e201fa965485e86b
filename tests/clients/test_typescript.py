"""The TypeScript client as it is installed: its README, its own tests, and how it reaches its gateway."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from clients.conftest import MANY, many_shipments
from clients.node_project import README, blocks
from clients.program import calling, mutual_tls
from clients.project import ROOT, text_of
from support.gateway import running_gateway
from support.losing import losing_wire
from support.scripted import SILENCE, scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.node_project import NodeProject
    from support.certificates import Authority

pytestmark = pytest.mark.clients

SHIPMENT: Final = "sp_00794403010635468411384028069888"
ANSWER: Final = pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(shipment_reference=SHIPMENT))
READING: Final = Path(__file__).with_name("reading.ts")
ALLOCATING: Final = Path(__file__).with_name("allocating.ts")
_STOP: Final = 10.0


@pytest.fixture(scope="module")
def programs(typescript: NodeProject) -> Path:
    """Where the programs of these tests are, compiled."""
    typescript.compile(READING, ALLOCATING)
    return typescript.folder


@pytest.fixture
def reading(programs: Path) -> tuple[str, ...]:
    """How the program that reads is run."""
    return "node", str(programs / "reading.js")


def test_every_snippet_of_the_readme_is_compiled_and_prints_what_stands_below_it(typescript: NodeProject) -> None:
    snippets = re.findall(r"```ts\n(.*?)```(?:\n\n```text\n(.*?)```)?", text_of(README), re.DOTALL)
    assert len(snippets) == len(blocks("ts"))
    with running_gateway({}, "--sandbox") as gateway:
        sources = []
        for number, (program, _) in enumerate(snippets):
            sources.append(typescript.folder / f"snippet_{number}.ts")
            sources[-1].write_text(program.replace("127.0.0.1:50051", gateway.address))
        typescript.compile(*sources)
        for source, (_, printed) in zip(sources, snippets, strict=True):
            assert typescript.run(f"node --trace-warnings {source.stem}.js") == printed


def test_what_is_installed_is_all_that_it_needs(typescript: NodeProject) -> None:
    installed = typescript.folder / "node_modules" / "allocation-gateway-client"
    assert not installed.is_symlink()
    assert ROOT not in installed.resolve().parents
    shipped = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {"package.json", "README.md", "dist/index.js", "dist/index.d.ts"} <= shipped
    assert not [name for name in shipped if ".test." in name or name.startswith("src")]
    manifest = json.loads((installed / "package.json").read_text())
    for target in manifest["exports"].values():
        assert {target.removeprefix("./"), target.removeprefix("./").removesuffix(".js") + ".d.ts"} <= shipped


def test_its_own_tests_pass(typescript: NodeProject) -> None:
    """They run where the package was built, for the one that is installed has none."""
    printed = typescript.run("cd <checkout>/.cache/typescript && node --test --test-reporter=tap dist/*.test.js")
    assert int(re.findall(r"^# pass (\d+)$", printed, re.MULTILINE)[0]) >= 20, printed
    assert re.findall(r"^# (?:skipped|todo) (\d+)$", printed, re.MULTILINE) == ["0", "0"]


def test_mutual_tls_of_a_real_gateway(reading: tuple[str, ...], authority: Authority) -> None:
    settings, trusted, proved = mutual_tls(authority)
    with running_gateway(settings, "--sandbox") as gateway:
        with calling(reading, gateway.address, files=proved) as call:
            assert call() == SHIPMENT
        with calling(reading, gateway.address, files=proved, tls={"serverName": "localhost"}) as call:
            assert call() == SHIPMENT
        with calling(reading, gateway.address, files=trusted) as call:
            assert call(timeoutMs=1000) == "TryAgainError"
        with calling(reading, gateway.address) as call:
            assert call(timeoutMs=1000) == "TryAgainError"


def test_a_token_and_metadata_of_ones_own_are_sent(
    reading: tuple[str, ...], authority: Authority, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    options = {"files": {"ca": str(authority.file)}, "tokenFile": str(token), "metadata": {"x-team": "checkout"}}
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        with calling(reading, server.address, **options) as call:
            assert call(metadata={"x-order": "17"}) == SHIPMENT
            assert call() == SHIPMENT
    first, second = (one.metadata for one in server.calls)
    assert first["authorization"] == second["authorization"] == "Bearer secret"
    assert (first["x-team"], first["x-order"], "x-order" in second) == ("checkout", "17", False)
    assert first["user-agent"].startswith("allocation-gateway-client-typescript ")


def test_a_call_is_for_its_own_account_or_that_of_its_client(reading: tuple[str, ...]) -> None:
    """Two are never sent: the gateway would refuse that."""
    north = {"metadata": {"allocation-account": "north"}}
    with scripted_server() as server:
        server.default = ANSWER
        with calling(reading, server.address, plaintext=True, account="retail", **north) as call:
            assert {call(), call(account="south"), call(account=""), call(**north)} == {SHIPMENT}
        with calling(reading, server.address, plaintext=True, **north) as call:
            assert {call(), call(account="south")} == {SHIPMENT}
    sent = [one.metadata.get("allocation-account") for one in server.calls]
    assert sent == ["retail", "south", None, "north", "north", "south"]


def test_an_authorization_of_ones_own_is_sent_instead_of_the_token(
    reading: tuple[str, ...], authority: Authority, tmp_path: Path
) -> None:
    """Two are never sent: the gateway would refuse that."""
    token = tmp_path / "token"
    token.write_text("file")
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        for of_client in ({}, {"metadata": {"authorization": "Bearer client"}}):
            options = {"files": {"ca": str(authority.file)}, "tokenFile": str(token), **of_client}
            with calling(reading, server.address, **options) as call:
                assert call() == call(metadata={"authorization": "Bearer call"}) == SHIPMENT
    sent = [one.metadata["authorization"] for one in server.calls]
    assert sent == ["Bearer file", "Bearer call", "Bearer client", "Bearer call"]


def test_every_attempt_has_a_deadline(reading: tuple[str, ...]) -> None:
    with scripted_server() as server:
        server.default = ANSWER
        with calling(reading, server.address, plaintext=True, timeoutMs=10_000) as call:
            assert call() == call(timeoutMs=4000) == SHIPMENT
    first, second = (one.seconds for one in server.calls)
    assert 4 < first < 11
    assert 0 < second < 5


def test_calls_go_to_all_addresses_in_turn(reading: tuple[str, ...]) -> None:
    with scripted_server() as one, scripted_server() as other:
        one.default = other.default = ANSWER
        with calling(reading, f"ipv4:{one.address},{other.address}", plaintext=True) as call:
            assert {call() for _ in range(40)} == {SHIPMENT}
        assert min(len(one.calls), len(other.calls)) >= 10


@contextmanager
def allocating(programs: Path, address: str, **told: Any) -> Iterator[Iterator[list[str]]]:
    """Runs a job; what it gives are the words of each line."""
    command = ["node", str(programs / "allocating.js"), json.dumps({"address": address, "trickle": False, **told})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield (line.split() for line in process.stdout)
            assert process.wait(_STOP) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("trickle", [False, True])
def test_a_job_goes_on_after_its_connection_was_lost(programs: Path, trickle: bool) -> None:
    """Each shipment is told once and booked once, whether the items come all at once or one by one. So with a watch."""
    wave = [f"sp_{number:032d}" for number in range(1, MANY + 1)]
    told: list[list[str]] = []
    with many_shipments() as (gateway, sandbox), losing_wire(gateway.address) as wire:
        asked = {"jobId": str(uuid.uuid4()), "references": wave, "timeoutMs": 120_000, "trickle": trickle}
        with allocating(programs, wire.address, **asked) as lines:
            for line in lines:
                if len(told) in {0, MANY // 2, MANY + 1}:
                    wire.cut()
                told.append(line)
        assert sandbox.all_bookings() == dict.fromkeys(wave, (1, 0))
    assert sorted(told[:MANY]) == [["allocated", reference] for reference in wave]
    # What was not final, or not heard of, before the connection was lost is told again.
    assert {tuple(line) for line in told[MANY:]} == {("final", reference) for reference in wave}


def test_a_job_that_nobody_answers_ends_at_its_deadline_with_its_id(programs: Path) -> None:
    asked = {"jobId": str(uuid.uuid4()), "references": [SHIPMENT], "timeoutMs": 1000}
    with scripted_server() as server:
        server.default = SILENCE
        with allocating(programs, server.address, **asked) as lines:
            assert list(lines) == [["unfinished", asked["jobId"], "1"]]
