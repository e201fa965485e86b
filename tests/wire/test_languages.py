"""grpc-java over Netty and over OkHttp, tonic, and Connect for Node: over plaintext, TLS and mutual TLS."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from support.certificates import Authority
from support.front import running_front
from wire.building import HERE, contract, java_classes, node_modules, rust_programs, tool
from wire.conftest import check_unharmed, chosen, defects
from wire.test_clients import played

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.front import Front

pytestmark = pytest.mark.wire

CASES: Final = ["unary", "details", "deadline", "cancellation", "gzip", "too large", "health", "reflection"]
RUN_SECONDS: Final = 300


@pytest.fixture(scope="session")
def classes() -> str:
    return java_classes()


@pytest.fixture(scope="session")
def programs() -> Path:
    return rust_programs()


@pytest.fixture(scope="session")
def connect_modules() -> Path:
    return node_modules("connect")


@pytest.fixture(scope="session", params=["plain", "tls", "mutual"])
def security(request: pytest.FixtureRequest) -> str:
    """What protects the connections."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def files(security: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of whoever takes part: the authority's certificate, and those of the gateway and of a client."""
    if security == "plain":
        return {}
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    gateway, client = authority.issue("gateway"), authority.issue("client")
    found = {"authority": str(authority.file), "certificate": str(gateway[0]), "key": str(gateway[1])}
    if security == "mutual":
        found |= {"client_certificate": str(client[0]), "client_key": str(client[1])}
    return found


@pytest.fixture(scope="session")
def protected(engine: str, files: dict[str, str]) -> Iterator[Front]:
    """A gateway that all languages call one after the other."""
    settings = chosen(engine)
    if files:
        settings |= {"ALLOW_PLAINTEXT": "false", "TLS_CERT_FILE": files["certificate"], "TLS_KEY_FILE": files["key"]}
    if "client_key" in files:
        settings["TLS_CLIENT_CA_FILE"] = files["authority"]
    with running_front(settings=settings, DEADLINE_MARGIN="0.02") as front:
        front.upstream.default = played
        yield front
        assert front.gateway.stop() == 0
        assert front.gateway.wait_for("draining")["in_hand"] == 0


@pytest.fixture
def target(protected: Front, files: dict[str, str]) -> Iterator[list[str]]:
    """What a client is told of the gateway, which has come to no harm by it."""
    protected.gateway.forget()
    own = [files[name] for name in ("authority", "client_certificate", "client_key") if name in files]
    yield [protected.gateway.address, str(contract()), *own]
    if not files:
        check_unharmed(protected)
    assert not defects(protected.gateway)


def check_all(command: list[str], **environment: str) -> None:
    """Runs a client, which has to get through each case."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == CASES, done.stdout


@pytest.mark.parametrize("transport", ["netty", "okhttp"])
def test_java(target: list[str], classes: str, transport: str) -> None:
    check_all([tool("java"), "-cp", classes, "Calls", transport, *target])


def test_tonic(target: list[str], programs: Path) -> None:
    address, _, *files = target
    check_all([str(programs / "calls"), address, *files])


def test_connect(target: list[str], connect_modules: Path) -> None:
    check_all([tool("node"), str(HERE / "connect" / "calls.mjs"), *target], MODULES=str(connect_modules))
