"""Releases of the chart, and what is done to them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from support.chart import CHART, NAME

from e2e.control_plane import KEY, NAMESPACE, helm, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from e2e.control_plane import Kubernetes

# What is outside of the cluster has names in it: see conftest.py.
UPSTREAM: Final = f"http://upstream.{NAMESPACE}.svc.cluster.local:8080"


@contextmanager
def installed(kubernetes: Kubernetes, *values: str, chart: Path = CHART) -> Iterator[None]:
    """Installs a chart, whose values have a NetworkPolicy, removes it at the end, and holds its connections to that."""
    before = kubernetes.connections.pods()
    succeed(helm(kubernetes, "install", NAME, str(chart), "--wait", "--timeout=120s", *values))
    yield
    policies = kubernetes.items(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")
    services = kubernetes.items(f"/api/v1/namespaces/{NAMESPACE}/services")
    succeed(helm(kubernetes, "uninstall", NAME, "--wait", "--timeout=120s"))
    refused, unused = kubernetes.connections.compare(policies, services, before)
    assert policies
    assert not refused, f"used, and not allowed by the NetworkPolicy: {refused}"
    assert not unused, f"allowed by the NetworkPolicy, and not used: {unused}"


@contextmanager
def released(kubernetes: Kubernetes, store: str, *more: str, chart: Path = CHART) -> Iterator[Sequence[str]]:
    """Installs a release as one team has it: two pods with the Ship API, a store of claims and more values.

    Gives all these values.
    """
    kubernetes.set_data("Secret", "ship", {"api-key": KEY.encode()})
    kubernetes.set_data("Secret", "store", {"url": store.encode()})
    values = (
        f"--set-string=settings.ship_base_url={UPSTREAM}/pro",
        # For upstream, also where the listener has TLS.
        "--set=settings.allow_plaintext=true",
        "--set=ship.apiKeySecret.name=ship",
        "--set=store.urlSecret.name=store",
        "--set=networkPolicy.enabled=true",
        *more,
    )
    with installed(kubernetes, *values, chart=chart):
        yield values


def upgrade(kubernetes: Kubernetes, values: Sequence[str], *more: str, chart: Path = CHART) -> None:
    """Upgrades a release, and waits until it is done."""
    succeed(helm(kubernetes, "upgrade", NAME, str(chart), "--wait", "--timeout=120s", *values, *more))


def uids(kubernetes: Kubernetes) -> set[str]:
    """Returns which pods there are."""
    return {pod["metadata"]["uid"] for pod in kubernetes.pods()}


def settled(kubernetes: Kubernetes, pods: int) -> None:
    """Waits until there are so many pods, which are all ready."""
    kubernetes.wait(f"{pods} pods are ready", lambda: len(kubernetes.ready(NAME)) == pods == len(kubernetes.pods()))


def alive(kubernetes: Kubernetes) -> dict[str, int]:
    """Returns the pods, by how often they were started again."""
    return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in kubernetes.pods()}
