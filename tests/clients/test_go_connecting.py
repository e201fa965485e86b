"""How the Go client reaches its gateway: TLS, tokens, metadata, deadlines. Its own tests have several addresses."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from support.certificates import Authority
from support.gateway import running_gateway
from support.scripted import scripted_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.clients

SHIPMENT: Final = "sp_00794403010635468411384028069888"
ANSWER: Final = pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(shipment_reference=SHIPMENT))
PROGRAM: Final = Path(__file__).with_name("go")
_BUILD: Final = 300.0
_STOP: Final = 10.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program that reads, compiled."""
    built = str(tmp_path_factory.mktemp("go") / "reading")
    subprocess.run(["go", "build", "-o", built, "."], cwd=PROGRAM, check=True, timeout=_BUILD)
    return built


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def running(program: str, address: str, **options: Any) -> Iterator[Callable[..., str]]:
    """Runs it with the options of a client; what it gives makes a call and returns what came of it."""
    command = [program, json.dumps({"address": address, **options})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def call(**of_call: Any) -> str:
            stdin.write(json.dumps(of_call) + "\n")
            stdin.flush()
            return stdout.readline().strip()

        try:
            yield call
        finally:
            stdin.close()
            process.wait(_STOP)


def test_mutual_tls_of_a_real_gateway(program: str, authority: Authority) -> None:
    certificate, key = authority.issue("gateway")
    settings = {
        "TLS_CERT_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
        "TLS_CLIENT_CA_FILE": str(authority.file),
    }
    own_certificate, own_key = authority.issue("client")
    trusted = {"ca": str(authority.file)}
    proved = {**trusted, "cert": str(own_certificate), "key": str(own_key)}
    with running_gateway(settings, "--sandbox") as gateway:
        with running(program, gateway.address, **proved, serverName="localhost") as call:
            assert call() == SHIPMENT
        for lacking in (trusted, {}):
            with running(program, gateway.address, **lacking) as call:
                assert call(timeoutMs=1000) == "try again"


def test_a_token_and_metadata_of_ones_own_are_sent(program: str, authority: Authority, tmp_path: Path) -> None:
    """Of two authorizations that of the call is sent, or else that of the client's metadata."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    options: dict[str, Any] = {"ca": str(authority.file), "tokenFile": str(token)}
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        with running(program, server.address, **options, metadata={"X-Team": "checkout"}) as call:
            assert call(metadata={"x-order": "17"}) == SHIPMENT
            assert call(metadata={"authorization": "Bearer call"}) == SHIPMENT
        with running(program, server.address, **options, metadata={"Authorization": "Bearer client"}) as call:
            assert call() == SHIPMENT
    first, second, third = (one.metadata for one in server.calls)
    assert [one["authorization"] for one in (first, second, third)] == ["Bearer secret", "Bearer call", "Bearer client"]
    assert (first["x-team"], first["x-order"], "x-order" in second) == ("checkout", "17", False)
    assert first["user-agent"].startswith("allocation-gateway-client-go ")


def test_every_attempt_has_a_deadline(program: str) -> None:
    with scripted_server() as server:
        server.default = ANSWER
        with running(program, server.address, plaintext=True, timeoutMs=10_000) as call:
            assert call() == call(timeoutMs=4000) == SHIPMENT
    first, second = (one.seconds for one in server.calls)
    assert 4 < first < 11
    assert 0 < second < 5
