"""The trial of docs/kubernetes.md: two commands, no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.chart import NAME

from e2e.control_plane import NAMESPACE, helm, succeed
from e2e.release import installed

if TYPE_CHECKING:
    from e2e.control_plane import Kubernetes

pytestmark = pytest.mark.e2e


def test_two_commands_allocate_and_one_leaves_nothing(kubernetes: Kubernetes) -> None:
    kinds = ("api/v1", "configmaps"), ("api/v1", "secrets"), ("api/v1", "services"), ("api/v1", "serviceaccounts")

    def there() -> set[str]:
        return {
            f"{kind}/{found['metadata']['name']}"
            for version, kind in kinds
            for found in kubernetes.items(f"/{version}/namespaces/{NAMESPACE}/{kind}")
        }

    kubernetes.wait("the namespace has its ServiceAccount", lambda: "serviceaccounts/default" in there())
    kubernetes.wait("the namespace has its authority", lambda: "configmaps/kube-root-ca.crt" in there())
    before = there()
    with installed(kubernetes, "--set=sandbox.enabled=true", "--set=networkPolicy.enabled=true"):
        assert len(kubernetes.ready(NAME)) == 2
        told = succeed(helm(kubernetes, "test", NAME, "--logs"))
        assert "Lineten, 2.00 GBP, tracking 43765709, 4 excluded services" in told
    kubernetes.wait("no pod is left", lambda: not kubernetes.items(f"/api/v1/namespaces/{NAMESPACE}/pods"))
    assert there() == before
