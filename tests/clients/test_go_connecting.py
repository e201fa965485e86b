"""How the Go client reaches its gateway: TLS, tokens, metadata, deadlines. Its own tests have several addresses."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from clients.program import calling, mutual_tls
from support.gateway import running_gateway
from support.scripted import scripted_server

if TYPE_CHECKING:
    from support.certificates import Authority

pytestmark = pytest.mark.clients

SHIPMENT: Final = "sp_00794403010635468411384028069888"
ANSWER: Final = pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(shipment_reference=SHIPMENT))
PROGRAM: Final = Path(__file__).with_name("go")
_BUILD: Final = 300.0
_STOP: Final = 10.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[str]:
    """The program that reads, compiled."""
    built = str(tmp_path_factory.mktemp("go") / "reading")
    subprocess.run(["go", "build", "-o", built, "."], cwd=PROGRAM, check=True, timeout=_BUILD)
    return (built,)


def test_mutual_tls_of_a_real_gateway(program: tuple[str], authority: Authority) -> None:
    settings, trusted, proved = mutual_tls(authority)
    with running_gateway(settings, "--sandbox") as gateway:
        with calling(program, gateway.address, **proved, serverName="localhost") as call:
            assert call() == SHIPMENT
        for lacking in (trusted, {}):
            with calling(program, gateway.address, **lacking) as call:
                assert call(timeoutMs=1000) == "try again"


def test_a_token_and_metadata_of_ones_own_are_sent(program: tuple[str], authority: Authority, tmp_path: Path) -> None:
    """Of two authorizations that of the call is sent, or else that of the client's metadata."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    options: dict[str, Any] = {"ca": str(authority.file), "tokenFile": str(token)}
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        with calling(program, server.address, **options, metadata={"X-Team": "checkout"}) as call:
            assert call(metadata={"x-order": "17"}) == SHIPMENT
            assert call(metadata={"authorization": "Bearer call"}) == SHIPMENT
        with calling(program, server.address, **options, metadata={"Authorization": "Bearer client"}) as call:
            assert call() == SHIPMENT
    first, second, third = (one.metadata for one in server.calls)
    assert [one["authorization"] for one in (first, second, third)] == ["Bearer secret", "Bearer call", "Bearer client"]
    assert (first["x-team"], first["x-order"], "x-order" in second) == ("checkout", "17", False)
    assert first["user-agent"].startswith("allocation-gateway-client-go ")


def test_every_attempt_has_a_deadline(program: tuple[str]) -> None:
    with scripted_server() as server:
        server.default = ANSWER
        with calling(program, server.address, plaintext=True, timeoutMs=10_000) as call:
            assert call() == call(timeoutMs=4000) == SHIPMENT
    first, second = (one.seconds for one in server.calls)
    assert 4 < first < 11
    assert 0 < second < 5
