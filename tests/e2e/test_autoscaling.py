"""The HorizontalPodAutoscaler adds and removes pods by the calls that they have in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.chart import NAME

from e2e.control_plane import NAMESPACE
from e2e.custom_metrics import METRIC, serving_custom_metrics
from e2e.release import released, settled, uids, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.sandbox import Sandbox

    from e2e.control_plane import Kubernetes
    from e2e.situations import Loads

pytestmark = pytest.mark.e2e

_LEAST, _MOST = 2, 4


@pytest.fixture
def scaled(kubernetes: Kubernetes, sandbox: Sandbox, store: str, tmp_path: Path) -> Iterator[None]:
    """A release whose pods should have one call in hand each."""
    more = (
        "--set=autoscaling.enabled=true",
        f"--set=autoscaling.minReplicas={_LEAST}",
        f"--set=autoscaling.maxReplicas={_MOST}",
        "--set=autoscaling.targetCPUUtilizationPercentage=null",
        "--set=autoscaling.targetCallsInHand=1",
        # By default it waits for five minutes before it removes any.
        "--set=autoscaling.behavior.scaleDown.stabilizationWindowSeconds=5",
        "--set=metrics.prometheus.enabled=true",
    )
    with serving_custom_metrics(kubernetes, tmp_path), released(kubernetes, store, *more):
        yield
        sandbox.call("DELETE", "faults")


@pytest.mark.usefixtures("scaled")
def test_pods_follow_the_calls_in_hand(kubernetes: Kubernetes, sandbox: Sandbox, loads: Loads) -> None:
    path = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{NAME}"

    def conditions() -> dict[str, str]:
        return {one["type"]: one["status"] for one in kubernetes.get(path)["status"].get("conditions", [])}

    kubernetes.wait("the metric is read", lambda: conditions().get("ScalingActive") == "True")
    settled(kubernetes, _LEAST)
    with loads.during("autoscaler adds pods, and removes them") as situation:
        slow = {"type": "latency", "seconds": 1.0, "when": "before"}
        sandbox.call("POST", "faults", {"match": {"method": "PUT"}, "count": None, "action": slow})
        settled(kubernetes, _MOST)
        (current,) = kubernetes.get(path)["status"]["currentMetrics"]
        sandbox.call("DELETE", "faults")
        settled(kubernetes, _LEAST)
    situation.check()
    assert current["pods"]["metric"]["name"] == METRIC


@pytest.fixture
def fixed(kubernetes: Kubernetes, sandbox: Sandbox, store: str) -> Iterator[Sequence[str]]:
    """A release of three pods, which nothing scales."""
    with released(kubernetes, store, "--set=replicaCount=3") as values:
        yield values


def test_an_autoscaler_is_switched_on_for_pods_that_run(
    kubernetes: Kubernetes, fixed: Sequence[str], loads: Loads
) -> None:
    """None of them ends: neither then, nor at the next upgrade."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
    settled(kubernetes, 3)
    before = uids(kubernetes)
    on = ("--set=autoscaling.enabled=true", "--set=autoscaling.minReplicas=3", "--set=autoscaling.maxReplicas=3")
    with loads.during("autoscaler switched on") as situation:
        for more in ((), ("--set=service.annotations.note=next",)):
            upgrade(kubernetes, fixed, *on, *more)
            assert kubernetes.get(path)["spec"]["replicas"] == 3
            assert uids(kubernetes) == before
    situation.check()
