"""Nothing fails and nothing is done twice, whatever is done to the release under load."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.chart import CHART, NAME

from e2e.control_plane import KEY, NAMESPACE, helm, succeed
from e2e.release import settled, uids, upgrade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.sandbox import Sandbox

    from e2e.control_plane import Kubernetes
    from e2e.situations import Loads

pytestmark = pytest.mark.e2e

_EVICTIONS: Final = 180.0
# Seconds.
_HOOK: Final = 4
_TOO_MANY: Final = 429


@pytest.mark.parametrize("booked", ["once", "once and taken back"])
def test_the_witness_sees_what_is_wrong(release: Sequence[str], sandbox: Sandbox, loads: Loads, booked: str) -> None:
    """Somebody else books a shipment before: the client fails, or else the shipment is allocated twice."""
    shipment = f"{sandbox.url}/pro/shipments/{loads.next}"
    headers = {"x-api-key": KEY, "x-api-version": "1.1"}
    httpx.put(f"{shipment}/allocate", headers=headers, trust_env=False).raise_for_status()
    if booked == "once and taken back":
        httpx.delete(f"{shipment}/allocation", headers=headers, trust_env=False).raise_for_status()
    reference = loads.next
    with loads.during("a shipment booked by somebody else") as situation:
        pass
    loads.situations.remove(situation)
    found = ([], [reference]) if booked == "once and taken back" else ([reference], [])
    assert (list(situation.failed), situation.doubled) == found
    with pytest.raises(AssertionError):
        situation.check()


def test_the_comparison_sees_what_is_wrong(kubernetes: Kubernetes, release: Sequence[str]) -> None:
    """What a NetworkPolicy lacks is seen, and what it has too much."""
    before = kubernetes.connections.pods() - set(kubernetes.ready(NAME))
    (policy,) = kubernetes.items(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")
    egress = policy["spec"]["egress"]
    policy["spec"]["egress"] = [{"ports": [{"port": 9, "protocol": "TCP"}]}, *egress[1:]]
    refused, unused = kubernetes.connections.compare([policy], [], before)
    assert refused
    assert all("egress" in one and ":53 by UDP" in one for one in refused), refused
    assert [one for one in unused if "egress" in one] == [f"{NAME}: egress by {{'port': 9, 'protocol': 'TCP'}}"]


def test_a_rolling_upgrade(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    before = uids(kubernetes)
    with loads.during("rolling upgrade") as situation:
        upgrade(kubernetes, release, "--set=image.tag=next")
    assert not before & uids(kubernetes)
    assert {pod["spec"]["containers"][0]["image"] for pod in kubernetes.pods()} == {f"{NAME}:next"}
    situation.check()


def test_a_rollback(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    upgrade(kubernetes, release, "--set=image.tag=next")
    before = uids(kubernetes)
    with loads.during("rollback") as situation:
        succeed(helm(kubernetes, "rollback", NAME, "1", "--wait", "--timeout=120s"))
    assert not before & uids(kubernetes)
    assert f"{NAME}:next" not in {pod["spec"]["containers"][0]["image"] for pod in kubernetes.pods()}
    situation.check()


def test_scaling(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    with loads.during("scale up") as situation:
        upgrade(kubernetes, release, "--set=replicaCount=4")
        settled(kubernetes, 4)
    situation.check()
    with loads.during("scale down") as situation:
        upgrade(kubernetes, release)
        settled(kubernetes, 2)
    situation.check()


def test_a_pod_is_killed(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    upgrade(kubernetes, release)
    settled(kubernetes, 2)
    with loads.during("process of a pod killed") as situation:
        pod = kubernetes.pods()[0]
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
        (status,) = pod["status"]["containerStatuses"]
        os.kill(int(status["containerID"].removeprefix("process://")), signal.SIGKILL)

        def restarted() -> bool:
            (now,) = kubernetes.get(path)["status"]["containerStatuses"]
            return bool(now["restartCount"] == status["restartCount"] + 1 and now["ready"])

        kubernetes.wait("the container runs again", restarted)
    situation.check()


def test_a_pod_is_deleted_without_grace(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    upgrade(kubernetes, release)
    settled(kubernetes, 2)
    with loads.during("pod deleted without grace") as situation:
        name = kubernetes.pods()[0]["metadata"]["name"]
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"
        kubernetes.call("DELETE", path, {"gracePeriodSeconds": 0}).raise_for_status()
        settled(kubernetes, 2)
    situation.check()


def serves(pod: dict[str, Any]) -> bool:
    """Returns whether a pod says that it takes calls."""
    with grpc.insecure_channel(f"{pod['status']['podIP']}:50052") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_a_pod_is_deleted_whose_hook_waits(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    """It is told to end only after its hook. Its variables come from a ConfigMap as a whole."""
    kubernetes.set_data("ConfigMap", "variables", {"OTEL_SERVICE_NAME": b"of-a-config-map"})
    hook = f"--set=lifecycle.preStop.sleep.seconds={_HOOK}"
    upgrade(kubernetes, release, hook, "--set=extraEnvFrom[0].configMapRef.name=variables")
    settled(kubernetes, 2)
    with loads.during("pod deleted, with a preStop hook") as situation:
        pod = kubernetes.pods()[0]
        (status,) = pod["status"]["containerStatuses"]
        process = Path("/proc") / status["containerID"].removeprefix("process://")
        assert b"OTEL_SERVICE_NAME=of-a-config-map" in (process / "environ").read_bytes().split(b"\0")
        begin = time.monotonic()
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
        kubernetes.call("DELETE", path).raise_for_status()
        kubernetes.wait("the pod is told to end", lambda: not serves(pod))
        assert time.monotonic() - begin >= _HOOK
        settled(kubernetes, 2)
    situation.check()


def test_a_bad_configuration_replaces_nothing(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    """Without the check before it: the new pod never becomes ready, and the rollout stops there."""
    upgrade(kubernetes, release)
    settled(kubernetes, 2)
    before, addresses = uids(kubernetes), sorted(kubernetes.ready(NAME))
    bad = ("--set=configurationCheck.enabled=false", "--set-string=otel.OTEL_TRACES_SAMPLER=sometimes")
    with loads.during("bad configuration") as situation:
        done = helm(kubernetes, "upgrade", NAME, str(CHART), "--wait", "--timeout=15s", *release, *bad)
        assert done.returncode != 0
        assert before < uids(kubernetes)
        assert sorted(kubernetes.ready(NAME)) == addresses
    succeed(helm(kubernetes, "rollback", NAME, "--wait", "--timeout=60s"))
    assert uids(kubernetes) == before
    situation.check()


def running(kubernetes: Kubernetes) -> set[str]:
    """Returns which pods are ready."""
    found = kubernetes.pods()
    return {
        pod["metadata"]["uid"]
        for pod in found
        if all(status["ready"] for status in pod["status"].get("containerStatuses", [{"ready": False}]))
    }


def test_old_pods_come_back_beside_a_bad_configuration(
    kubernetes: Kubernetes, release: Sequence[str], loads: Loads
) -> None:
    """While new pods cannot start, one of before is killed and another one deleted: both are there again."""
    upgrade(kubernetes, release)
    settled(kubernetes, 2)
    before = uids(kubernetes)
    bad = ("--set=configurationCheck.enabled=false", "--set=settings.jwt_issuer=of-no-key-set")
    with loads.during("bad settings, then old pods killed and deleted") as situation:
        done = helm(kubernetes, "upgrade", NAME, str(CHART), "--wait", "--timeout=15s", *release, *bad)
        assert done.returncode != 0
        assert running(kubernetes) == before < uids(kubernetes)
        killed, deleted = (pod for pod in kubernetes.pods() if pod["metadata"]["uid"] in before)
        (status,) = killed["status"]["containerStatuses"]
        os.kill(int(status["containerID"].removeprefix("process://")), signal.SIGKILL)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"

        def restarted() -> bool:
            (now,) = kubernetes.get(f"{path}/{killed['metadata']['name']}")["status"]["containerStatuses"]
            return bool(now["restartCount"] == status["restartCount"] + 1 and now["ready"])

        kubernetes.wait("the killed pod of before is ready again", restarted)
        kubernetes.call("DELETE", f"{path}/{deleted['metadata']['name']}").raise_for_status()
        gone = deleted["metadata"]["uid"]
        kubernetes.wait("another pod of before is ready", lambda: len(running(kubernetes) - {gone}) == len(before))
    succeed(helm(kubernetes, "rollback", NAME, "--wait", "--timeout=60s"))
    situation.check()


def evict(kubernetes: Kubernetes, pod: dict[str, Any]) -> int:
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    return kubernetes.call("POST", path, body).status_code


def test_nodes_are_drained(kubernetes: Kubernetes, release: Sequence[str], loads: Loads) -> None:
    """As `kubectl drain` does: no new pods, and evictions that are asked for again while the budget refuses them."""
    upgrade(kubernetes, release)
    settled(kubernetes, 2)
    with loads.during("all pods evicted, then a node drained") as situation:
        # Both at once, which is more than the budget allows.
        codes = [evict(kubernetes, pod) for pod in kubernetes.pods()]
        assert sorted(codes) == [httpx.codes.CREATED, _TOO_MANY]
        settled(kubernetes, 2)
        node = kubernetes.pods()[0]["spec"]["nodeName"]
        kubernetes.merge(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})

        def drained() -> bool:
            there = [pod for pod in kubernetes.pods() if pod["spec"].get("nodeName") == node]
            codes.extend(evict(kubernetes, pod) for pod in there)
            return not there

        kubernetes.wait(f"{node} has no pods", drained, _EVICTIONS)
        settled(kubernetes, 2)
    assert {pod["spec"]["nodeName"] for pod in kubernetes.pods()}.isdisjoint({node})
    kubernetes.merge(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})
    situation.check()
