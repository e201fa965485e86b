"""A gateway with its sandbox for the suites of the clients, and one with many shipments."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from clients.java_project import java_project
from clients.node_project import SECONDS, node_project
from clients.project import ROOT
from support.certificates import Authority
from support.gateway import Gateway, running_gateway
from support.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clients.java_project import JavaProject
    from clients.node_project import NodeProject

MANY: Final = 400
DRIVERS: Final = ROOT / "clients" / "conformance" / "drivers"
_STOP: Final = 30.0


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway({}, "--sandbox") as running:
        yield running


@pytest.fixture
def sandbox(gateway: Gateway) -> Sandbox:
    """The sandbox as it was seeded."""
    control = Sandbox(gateway.sandbox_url)
    control.call("POST", "reset")
    return control


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> NodeProject:
    """A project that has the TypeScript client."""
    return node_project(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> JavaProject:
    """A project that has the Java client."""
    return java_project(tmp_path_factory.mktemp("java"))


@pytest.fixture(scope="session")
def commands(
    tmp_path_factory: pytest.TempPathFactory, typescript: NodeProject, java: JavaProject
) -> dict[str, tuple[str, ...]]:
    """How the driver of each language is run, which is built if it has to be."""
    built = str(tmp_path_factory.mktemp("go") / "driver")
    subprocess.run(["go", "build", "-o", built, "."], cwd=DRIVERS / "go", check=True, timeout=SECONDS)
    typescript.compile(DRIVERS / "typescript.ts")
    java.compile(DRIVERS / "java" / "Driver.java")
    return {
        "Python": (sys.executable, str(DRIVERS / "python.py")),
        "Go": (built,),
        "TypeScript": ("node", str(typescript.folder / "typescript.js")),
        "Java": java.command("Driver"),
    }


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """What issues the certificates of a test."""
    return Authority(tmp_path)


@contextmanager
def many_shipments(count: int = MANY) -> Iterator[tuple[Gateway, Sandbox]]:
    """Runs a gateway in front of a sandbox that has so many shipments more, `sp_` and their numbers with 32 digits."""
    command = [sys.executable, "-m", "allocation_gateway.sandbox", "--port", "0", "--shipments", str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3]
        settings = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": f"{url}/pro", "SHIP_API_KEY": "sandbox-key"}
        with running_gateway(settings) as running:
            yield running, Sandbox(url)
    finally:
        process.terminate()
        process.wait(_STOP)
        if process.stdout is not None:
            process.stdout.close()
