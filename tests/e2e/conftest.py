"""The cluster and a release on it, which are there for all tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from support.cache import CacheServer
from support.sandbox import running_sandbox

from e2e.control_plane import KEY, NAMESPACE, Kubernetes, running_cluster
from e2e.release import released
from e2e.situations import SHIPMENTS, Loads, Situation, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.sandbox import Sandbox

# What is not in the cluster, as upstream and the store are not.
_UPSTREAM: Final = "10.64.254.1"
_STORE: Final = "10.64.254.2"
_TOLD: list[Situation] = []


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A cluster in a network of its own."""
    if os.environ.get("E2E_ENTERED") != "1":
        pytest.fail("These tests need a network of their own: run make e2e", pytrace=False)
    folder = Path(os.environ.get("E2E_FOLDER") or tmp_path_factory.mktemp("cluster"))
    with running_cluster(folder) as kubernetes:
        yield kubernetes


@pytest.fixture(scope="session")
def sandbox(kubernetes: Kubernetes) -> Iterator[Sandbox]:
    """Upstream, whose journal is the witness. In the cluster it is called `upstream`."""
    where = ("--host", _UPSTREAM, "--port", "8080")
    with running_sandbox(*where, "--api-key", KEY, "--shipments", str(SHIPMENTS)) as sandbox:
        kubernetes.stand_in("upstream", _UPSTREAM, 8080, headless=True)
        yield sandbox


@pytest.fixture(scope="session")
def store(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store of claims, by its URL. In the cluster it is called `store`."""
    # It must keep what it is told, or the gateway refuses it. Its callers are not on 127.0.0.1, but nobody else can be.
    folder = str(tmp_path_factory.mktemp("store"))
    options = ("--protected-mode", "no", "--dir", folder, "--appendonly", "yes", "--maxmemory-policy", "noeviction")
    server = CacheServer(options, host=_STORE, port=6379)
    server.start()
    kubernetes.stand_in("store", _STORE, 6379, headless=True)
    yield f"redis://store.{NAMESPACE}.svc.cluster.local:6379/0"
    server.kill()


@pytest.fixture(scope="module")
def release(kubernetes: Kubernetes, sandbox: Sandbox, store: str) -> Iterator[Sequence[str]]:
    """A release as one team has it, by its values: two pods, the Ship API and a store of claims."""
    with released(kubernetes, store) as values:
        yield values


@pytest.fixture(scope="session")
def situations() -> list[Situation]:
    """What became of calls, which is printed at the end."""
    return _TOLD


@pytest.fixture
def loads(sandbox: Sandbox, situations: list[Situation]) -> Loads:
    """Load on all pods of the release, without TLS."""
    return Loads(sandbox, situations)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what became of the calls in each situation."""
    if _TOLD:
        terminalreporter.section("calls in each situation")
        for line in table(_TOLD):
            terminalreporter.line(line)
