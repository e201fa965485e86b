"""What clusters ask of a chart beyond what it needs: whatever Kubernetes offers for pods and Services can be set."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import kubernetes_validate
import pytest
from allocation_gateway.settings import PREFIX
from chart.helms import each_helm
from support.certificates import Authority
from support.chart import CHART, FEATURES, RefusedError, component
from support.gateway import COMMAND, environment
from support.upstream import Reply, running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.chart import Helm, Rendered

pytestmark = pytest.mark.chart

SANDBOX = "--set=sandbox.enabled=true"
NEWEST = "1.37"
NAMED = "app.kubernetes.io/name"
IPV4 = "0.0.0.0"  # noqa: S104 - where pods listen
# What the newest Kubernetes knows, no values file in ci/ sets, and nobody can set: by reason.
LEFT_OUT: Final[Mapping[str, Mapping[str, set[str]]]] = {
    "io.k8s.api.core.v1.PodSpec": {
        "would break the isolation of the pod": {"hostNetwork", "hostIPC", "hostPID", "shareProcessNamespace"},
        "would put all pods in one place": {
            "nodeName",
            "hostname",
            "hostnameOverride",
            "subdomain",
            "setHostnameAsFQDN",
        },
        "is set by Kubernetes": {"ephemeralContainers", "overhead", "priority", "preemptionPolicy", "serviceAccount"},
        "has no meaning in a Deployment": {"restartPolicy", "activeDeadlineSeconds", "schedulingGates"},
        "is for workloads of another kind": {
            "evictionResponders",
            "hostUsers",
            "os",
            "readinessGates",
            "resourceClaims",
            "resources",
            "schedulingGroup",
        },
    },
    "io.k8s.api.core.v1.Container": {
        "is the image's": {"command", "workingDir", "stdin", "stdinOnce", "tty"},
        "has no meaning for it": {
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "volumeDevices",
        },
    },
    "io.k8s.api.core.v1.ServiceSpec": {
        "is set by Kubernetes": {"clusterIPs", "healthCheckNodePort"},
        "would send calls to pods that refuse them": {"publishNotReadyAddresses"},
        "is for Services without pods": {"externalName"},
        "is newer than the oldest Kubernetes, and has a test of its own": {"trafficDistribution"},
    },
    "io.k8s.api.core.v1.ServicePort": {},
    "io.k8s.api.apps.v1.DeploymentSpec": {"would stop updates": {"paused"}},
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec": {},
}


def parts(rendered: Rendered) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields what a release has of each kind above."""
    deployment, service = rendered.one("Deployment")["spec"], rendered.one("Service")["spec"]
    yield "io.k8s.api.apps.v1.DeploymentSpec", deployment
    yield "io.k8s.api.core.v1.PodSpec", rendered.pod
    yield "io.k8s.api.core.v1.Container", rendered.container
    yield "io.k8s.api.core.v1.ServiceSpec", service
    yield from (("io.k8s.api.core.v1.ServicePort", port) for port in service["ports"])
    for scaler in rendered.of("HorizontalPodAutoscaler"):
        yield "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec", scaler["spec"]


def test_all_that_kubernetes_offers_can_be_set_or_is_left_out_for_a_reason(helm: Helm) -> None:
    """A field that a new Kubernetes brings fails this: decide."""
    folder = files(kubernetes_validate) / "kubernetes-json-schema" / f"v{NEWEST}.0-local-strict"
    known = json.loads((folder / "_definitions.json").read_text())["$defs"]
    used: dict[str, set[str]] = {kind: set() for kind in LEFT_OUT}
    for values in FEATURES:
        for kind, part in parts(helm.render(f"--values={values}")):
            used[kind] |= part.keys()
    for kind, reasons in LEFT_OUT.items():
        left_out = set().union(*reasons.values())
        assert not used[kind] & left_out, kind
        assert used[kind] | left_out == known[kind]["properties"].keys(), kind


def render(helm: Helm, *arguments: str) -> Rendered:
    rendered = helm.render(SANDBOX, *arguments)
    for found in rendered.objects:
        kubernetes_validate.validate(found, NEWEST, strict=True)
    return rendered


def feature(helm: Helm, name: str) -> Rendered:
    return helm.render(f"--values={CHART / 'ci' / f'{name}-values.yaml'}")


def test_values_reach_the_pod_as_they_were_written(helm: Helm) -> None:
    pod = feature(helm, "pod").pod
    assert pod["runtimeClassName"] == "gvisor"
    assert pod["schedulerName"] == "packing"
    assert (pod["dnsPolicy"], pod["dnsConfig"]["nameservers"]) == ("None", ["192.0.2.53"])
    assert pod["hostAliases"] == [{"ip": "192.0.2.10", "hostnames": ["ship.internal.example"]}]
    assert [container["name"] for container in pod["initContainers"]] == ["check"]
    assert [container["name"] for container in pod["containers"]] == ["allocation-gateway", "agent"]
    assert {"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}} in pod["volumes"]


def test_values_reach_the_gateways_container_and_no_other(helm: Helm) -> None:
    rendered = feature(helm, "pod")
    assert rendered.container["volumeMounts"][-1]["name"] == "scratch"
    assert rendered.container["envFrom"] == [{"configMapRef": {"name": "proxy"}}]
    assert rendered.container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "15"]
    others = [*rendered.pod["initContainers"], *rendered.pod["containers"][1:]]
    assert not any({"volumeMounts", "envFrom", "lifecycle", "env"} & container.keys() for container in others)


def test_values_reach_the_deployment_and_the_scaler(helm: Helm) -> None:
    rendered = feature(helm, "pod")
    spec = rendered.one("Deployment")["spec"]
    assert (spec["revisionHistoryLimit"], spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (0, 5, 120)
    scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert [metric["containerResource"]["name"] for metric in scaler["metrics"]] == ["cpu", "memory"]
    assert scaler["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 600}}


def test_the_scaler_looks_at_the_gateways_container_alone(helm: Helm) -> None:
    """Of a pod of which another container asks for no CPU there is no share, so that nothing would ever be scaled."""
    rendered = feature(helm, "pod")
    assert any("resources" not in container for container in rendered.pod["containers"])
    for metric in rendered.one("HorizontalPodAutoscaler")["spec"]["metrics"]:
        assert metric["type"] == "ContainerResource"
        assert metric["containerResource"]["container"] == rendered.container["name"]
    assert "cpu" in rendered.container["resources"]["requests"]


def test_variables_of_opentelemetry_may_refer_to_what_is_taken_from_elsewhere(helm: Helm) -> None:
    """Kubernetes puts in what stands before."""
    where = "extraEnv[1].name=HOST_IP,extraEnv[1].valueFrom.fieldRef.fieldPath=status.hostIP"
    plain = "extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=$(OTEL_SERVICE_NAME)"
    rendered = render(helm, f"--set={plain}", f"--set={where}", "--set=otel.OTEL_SERVICE_NAME=$(HOST_IP)")
    names = [entry["name"] for entry in rendered.container["env"]]
    assert names.index("HOST_IP") < names.index("OTEL_SERVICE_NAME") < names.index("HTTPS_PROXY")
    assert len(set(names)) == len(names)


def beside(rendered: Rendered, *, checked: bool) -> list[dict[str, Any]]:
    """Returns the templates of the pods beside the gateway's: of the check, or of sandbox and test."""
    if checked:
        return [rendered.one("Job", "check")["spec"]["template"], rendered.one("Pod", "test")]
    return [rendered.one("Deployment", "sandbox")["spec"]["template"], rendered.one("Pod", "test")]


@pytest.mark.parametrize("checked", [True, False], ids=["check and test", "sandbox and test"])
def test_pods_beside_the_gateway_run_with_what_lets_them_in(helm: Helm, checked: bool) -> None:
    """Pull secrets and rights to be admitted come with a ServiceAccount, and a node pool is chosen by an affinity."""
    where: dict[str, Any] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    account = "--set=serviceAccount.create=false,serviceAccount.name=own"
    values = CHART / "ci" / ("tls-values.yaml" if checked else "sandbox-values.yaml")
    rendered = helm.render(f"--values={values}", account, f"--set-json=affinity={json.dumps(where)}")
    for template in beside(rendered, checked=checked):
        assert template["spec"]["serviceAccountName"] == "own"
        assert template["spec"]["affinity"] == where


def test_what_runs_before_the_release_needs_nothing_that_it_makes(helm: Helm) -> None:
    rendered = helm.render(f"--values={CHART / 'ci' / 'tls-values.yaml'}")
    check, test = beside(rendered, checked=True)
    made = rendered.one("ServiceAccount")["metadata"]["name"]
    assert "serviceAccountName" not in check["spec"]
    assert test["spec"]["serviceAccountName"] == made


@pytest.mark.parametrize("checked", [True, False], ids=["check and test", "sandbox and test"])
def test_pods_beside_the_gateway_have_annotations_and_labels_of_their_own(helm: Helm, checked: bool) -> None:
    """With the sidecar of a mesh, for one, a Job would never end."""
    parts = ("configurationCheck" if checked else "sandbox", "tests")
    own = {part: {"podAnnotations": {"own": part}, "podLabels": {"own": part, NAMED: "no"}} for part in parts}
    values = CHART / "ci" / ("tls-values.yaml" if checked else "sandbox-values.yaml")
    arguments = [f"--set-json={part}.{name}={json.dumps(text)}" for part in parts for name, text in own[part].items()]
    rendered = helm.render(f"--values={values}", "--set=podLabels.own=gateway,podAnnotations.own=gateway", *arguments)
    for part, template in zip(parts, beside(rendered, checked=checked), strict=True):
        metadata = template["metadata"]
        assert (metadata["annotations"]["own"], metadata["labels"]["own"]) == (part, part)
        assert metadata["labels"][NAMED] != "no", "no label of an operator breaks a selector"


def test_values_reach_the_service(helm: Helm) -> None:
    service = feature(helm, "service").one("Service")
    spec = service["spec"]
    assert service["metadata"]["labels"]["example.org/exposed"] == "true"
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("PreferDualStack", ["IPv6", "IPv4"])
    assert (spec["clusterIP"], spec["ports"][0]["nodePort"]) == ("2001:db8::10", 30443)
    assert spec["allocateLoadBalancerNodePorts"] is False
    assert spec["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    near = render(helm, "--set=service.trafficDistribution=PreferClose").one("Service")["spec"]
    assert near["trafficDistribution"] == "PreferClose"


def test_what_is_not_set_is_left_to_the_cluster(helm: Helm) -> None:
    rendered = render(helm)
    assert rendered.one("Service")["spec"].keys() == {"type", "selector", "ports"}
    assert rendered.one("Deployment")["spec"].keys() == {"replicas", "strategy", "selector", "template"}
    assert {"dnsPolicy", "dnsConfig", "hostAliases", "initContainers", "runtimeClassName"}.isdisjoint(rendered.pod)
    assert {"envFrom", "lifecycle"}.isdisjoint(rendered.container)
    assert not any("annotations" in found["metadata"] for found in rendered.objects if found["kind"] != "Pod")


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ([], IPV4),
        (["--set=service.ipFamilyPolicy=SingleStack"], IPV4),
        (["--set=service.ipFamilies={IPv4}"], IPV4),
        (["--set=service.ipFamilyPolicy=PreferDualStack"], "[::]"),
        (["--set=service.ipFamilyPolicy=RequireDualStack"], "[::]"),
        (["--set=service.ipFamilies={IPv6}"], "[::]"),
        (["--set=service.ipFamilies={IPv4,IPv6}"], "[::]"),
        (["--set=service.ipFamilyPolicy=PreferDualStack,host=0.0.0.0"], IPV4),
        (["--set=host=[::]"], "[::]"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_pods_listen_where_the_service_sends_calls(helm: Helm, arguments: list[str], address: str) -> None:
    """A Service with an address of IPv6 is of no use in front of pods that only know IPv4."""
    assert render(helm, *arguments).environment["ALLOCATION_GATEWAY_HOST"] == address


@each_helm
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("service.nodePort=30000", "service.nodePort: needs service.type NodePort or LoadBalancer"),
        ("service.externalTrafficPolicy=Local", "service.externalTrafficPolicy: needs service.type NodePort or"),
        ("service.type=NodePort,service.loadBalancerClass=a/b", "service.loadBalancerClass: needs service.type Load"),
        ("service.loadBalancerIP=192.0.2.1", "service.loadBalancerIP: needs service.type LoadBalancer"),
        ("service.loadBalancerSourceRanges={192.0.2.0/24}", "service.loadBalancerSourceRanges: needs service.type"),
        ("service.allocateLoadBalancerNodePorts=false", "service.allocateLoadBalancerNodePorts: needs service.type"),
        ("service.sessionAffinityConfig.clientIP.timeoutSeconds=5", "needs service.sessionAffinity ClientIP"),
        ("service.ipFamilyPolicy=Dual", "/service/ipFamilyPolicy"),
        ("service.ipFamilies={IPv5}", "/service/ipFamilies"),
        ("dnsPolicy=Never", "/dnsPolicy"),
        ("extraVolumes[0].emptyDir.medium=Memory", "/extraVolumes/0"),
        ("extraContainers[0].image=x", "/extraContainers/0"),
        ("global.imagePullSecrets={Not A Name}", "/global/imagePullSecrets/0"),
        ("enabled=false", "enabled: is false"),
        ("lifecycle.preStop.sleep.seconds=10,terminationGracePeriodSeconds=43", "must be more than the 43 seconds"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_by_name(helm: Helm, arguments: str, told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        helm.render(SANDBOX, f"--set={arguments}")
    assert helm.wording(told) in str(refused.value)


def test_a_pod_has_time_for_its_hook_and_then_for_the_gateway(helm: Helm) -> None:
    """Kubernetes counts the hook's time as part of the grace period."""
    usual = render(helm).pod["terminationGracePeriodSeconds"]
    rendered = render(helm, "--set=lifecycle.preStop.sleep.seconds=10")
    assert rendered.container["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
    assert rendered.pod["terminationGracePeriodSeconds"] == usual + 10


def test_common_labels_and_annotations_are_on_everything(helm: Helm) -> None:
    values = CHART / "ci" / "pod-values.yaml"
    more = "networkPolicy.enabled=true,tls.secretName=,sandbox.enabled=true"
    rendered = helm.render(f"--values={values}", f"--set={more}")
    made = [found for found in rendered.objects if not found["kind"].startswith("Role")]
    assert {component(found) for found in made} == {"", "sandbox", "headless", "test"}
    for found in made:
        assert found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shipping", found["kind"]
        assert found["metadata"]["annotations"]["example.org/owner"] == "shipping", found["kind"]
    template = rendered.one("Deployment")["spec"]["template"]["metadata"]
    assert template["labels"]["app.kubernetes.io/part-of"] == "shipping"
    assert template["labels"]["cost-centre"] == "4712", "the pods' own win"


def test_no_label_of_an_operator_breaks_the_selectors(helm: Helm) -> None:
    wrong = "app\\.kubernetes\\.io/name=other"
    rendered = render(helm, *(f"--set={name}.{wrong}" for name in ("commonLabels", "podLabels", "service.labels")))
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert rendered.one("Service")["spec"]["selector"].items() <= labels.items()
    assert labels["app.kubernetes.io/name"] == "allocation-gateway"


def test_the_pod_of_helm_test_gets_no_calls(helm: Helm) -> None:
    rendered = render(helm)
    (pod,) = [found for found in rendered.objects if found["kind"] == "Pod"]
    assert not rendered.one("Service")["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_no_annotation_of_an_operator_keeps_pods_from_being_replaced(helm: Helm) -> None:
    configured = render(helm).configuration
    mine = "allocation-gateway/config\\.toml=mine"
    rendered = render(helm, f"--set=podAnnotations.{mine},podAnnotations.other=yes")
    annotations = rendered.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert rendered.configuration == configured
    assert annotations["other"] == "yes"


def test_further_objects_are_made_from_objects_and_from_text(helm: Helm) -> None:
    rendered = feature(helm, "pod")
    account = rendered.one("ServiceAccount")["metadata"]["name"]
    assert rendered.one("Role")["metadata"]["name"] == "allocation-gateway-agent"
    binding = rendered.one("RoleBinding")
    assert binding["roleRef"]["name"] == "allocation-gateway-agent"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "default"}]


def test_the_readme_makes_a_private_authority_trusted(helm: Helm, tmp_path: Path) -> None:
    """As the gateway's process sees it: with the file where its pod has it, and the environment that its pod has."""
    text = (CHART / "README.md").read_text().partition("## A private authority")[2].partition("## ")[0]
    (snippet,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert snippet in (CHART / "ci" / "private-authority-values.yaml").read_text()
    (key,) = re.findall(r"--from-file=([^=]+)=", text)
    rendered = feature(helm, "private-authority")
    (mount,) = [m for m in rendered.container["volumeMounts"] if m["name"] == "authorities"]
    bundle = rendered.environment["SSL_CERT_FILE"]
    assert bundle == f"{mount['mountPath']}/{key}"

    authority = Authority(tmp_path)
    mounted = tmp_path / bundle.lstrip("/")
    mounted.parent.mkdir(parents=True)
    mounted.write_bytes(authority.file.read_bytes())
    with running_upstream(tls=authority.server_context()) as upstream:
        upstream.default = lambda _: Reply(404, {"code": "not_found", "message": "there is none"})
        settings = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": "a-key", "SHIP_BASE_URL": upstream.url}
        for trusted in (True, False):
            given = {name: value for name, value in environment(settings).items() if name != "SSL_CERT_FILE"}
            if trusted:
                given["SSL_CERT_FILE"] = str(mounted)
            done = subprocess.run(
                [COMMAND, "check", "--upstream"], env=given, capture_output=True, text=True, timeout=60, check=False
            )
            assert (done.returncode == 0) is trusted, done.stdout + done.stderr
            if not trusted:
                assert f"{PREFIX}SHIP_BASE_URL: TLS failed: CERTIFICATE_VERIFY_FAILED" in done.stderr
