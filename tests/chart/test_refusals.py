"""What would fail in the cluster is refused before anything is installed, by the gateway's rules and all at once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from allocation_gateway import settings
from allocation_gateway.operations import table
from allocation_gateway.telemetry import variables
from chart.helms import each_helm
from support.chart import CHART, RefusedError, configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.chart import Helm

pytestmark = pytest.mark.chart

COMPLETE = (
    "--set=ship.apiKeySecret.name=ship",
    "--set=tls.secretName=gateway-tls",
    "--set=store.urlSecret.name=store",
)
SANDBOX = "--set=sandbox.enabled=true"
SCALING = "--set=autoscaling.enabled=true"
OPERATION = "AllocateShipment"


def refusal(helm: Helm, *arguments: str) -> str:
    """Returns what helm says, and nothing if it renders the chart."""
    try:
        helm.render(*arguments)
    except RefusedError as refused:
        return str(refused)
    return ""


@each_helm
def test_all_that_is_missing_is_told_at_once_with_values_that_work(helm: Helm, tmp_path: Path) -> None:
    told = refusal(helm).partition("Use --debug")[0]
    for name in ("ship.apiKeySecret.name", "tls.secretName", "store.urlSecret.name"):
        assert f"\n  - {name}: is required" in told
    smallest, trial = told.split("with the commands that make their Secrets:")[1].split(
        "Or, to try it without any of them:"
    )
    file = tmp_path / "values.yaml"
    for text in (smallest, trial):
        assert yaml.safe_load(text)
        file.write_text(text)
        assert refusal(helm, f"--values={file}") == ""
    named = re.findall(r"[nN]ame: \S+", smallest)
    assert len(named) == 3
    for name in named:
        file.write_text(smallest.replace(name, f"{name.partition(':')[0]}: ''"))
        assert "is required" in refusal(helm, f"--values={file}"), f"{name} is not needed"


@each_helm
def test_what_is_wrong_in_several_values_is_told_at_once(helm: Helm) -> None:
    wrong = "--set=settings.ship_settle_time=5,podDisruptionBudget.maxUnavailable=0,service.nodePort=30000"
    told = refusal(helm, *COMPLETE, wrong)
    for name in ("settings.ship_settle_time", "podDisruptionBudget.maxUnavailable", "service.nodePort"):
        assert f"\n  - {name}: " in told
    assert "The smallest values" not in told


def gateway_refuses(folder: Path, name: str, value: Any) -> str:
    """Returns what the gateway says of a setting in its file, and nothing if it takes it."""
    table_of = isinstance(value, dict)
    text = (
        f"{{ {', '.join(f'{key} = {json.dumps(each)}' for key, each in value.items())} }}"
        if table_of
        else json.dumps(value)
    )
    file = folder / "config.toml"
    file.write_text(f"{name} = {text}\n")
    given = {"CONFIG_FILE": str(file), "SHIP_API_KEY": "a-key", "STORE_URL": "redis://store:6379/0"}
    try:
        # The listener's own TLS is not what this is about, and neither is what plaintext upstream needs.
        loaded = settings.load({settings.PREFIX + key: each for key, each in given.items()})
        allowed = settings.load(
            {settings.PREFIX + key: each for key, each in {**given, "ALLOW_PLAINTEXT": "true"}.items()}
        )
        settings.check_early(allowed, {}, variables.check)
        settings.check_late(loaded, settings.Release(table.spellings(), *[lambda _: None] * 3))
    except settings.ConfigurationError as error:
        return str(error)
    return ""


BASE_URLS = {
    "https://api.example.com/pro": True,
    "HTTPS://API.EXAMPLE.COM:8443": True,
    "https://[2001:db8::1]:443/a@b": True,
    "http://localhost:8080": True,
    "not-a-url": False,
    "ftp://example.com": False,
    "https://": False,
    "https://user:password@example.com": False,
    "https://example.com/?a=b": False,
    "https://example.com/#a": False,
    "https://example.com:99999": False,
    "https://exa mple.com": False,
    "https://exämple.com": False,
}
RULES: list[tuple[str, Any, bool]] = [
    *(("ship_base_url", url, fits) for url, fits in BASE_URLS.items()),
    ("ship_timeout", 0, False),
    ("ship_timeout", -1, False),
    ("ship_timeout", 0.5, True),
    ("ship_timeout", 30.5, False),
    ("consignments_timeout", 31, False),
    ("ship_settle_time", 5, False),
    ("ship_settle_time", 30, True),
    ("ship_settle_time", 0, False),
    ("ship_settle_times", {OPERATION: 5}, False),
    ("ship_settle_times", {OPERATION: 0}, False),
    ("ship_settle_times", {OPERATION: 60}, True),
    ("ship_settle_times", {"Fly": 60}, False),
    ("ship_max_in_flight", 512, False),
    ("ship_max_in_flight", 456, False),
    ("ship_max_in_flight", 455, True),
    ("ship_max_connections", 1, True),
    ("ship_disabled_operations", [OPERATION], True),
    ("ship_disabled_operations", ["Fly"], False),
    ("ship_routes", {OPERATION: "no such spelling"}, False),
    ("ship_routes", {"Fly": "default"}, False),
    ("ship_api_version", "1.1", True),
    ("ship_api_version", "1.1\u00e4", False),
    ("claim_lease", 0, False),
    ("lock_wait", 0, True),
    ("max_held_bytes", 1, False),
    ("log_level", "loud", False),
]


@each_helm
@pytest.mark.parametrize(("name", "value", "fits"), RULES, ids=lambda value: str(value)[:40])
def test_the_chart_refuses_a_setting_if_the_gateway_does(
    helm: Helm, tmp_path: Path, name: str, value: Any, fits: bool
) -> None:
    told = refusal(helm, *COMPLETE, f"--set-json=settings.{name}={json.dumps(value)}")
    assert (told == "") is fits, told
    assert (gateway_refuses(tmp_path, name, value) == "") is fits
    assert fits or name in told


def test_a_number_that_must_be_above_0_is_told_so_in_the_gateways_words(helm: Helm) -> None:
    told = refusal(helm, *COMPLETE, "--set=settings.ship_timeout=0")
    assert "settings.ship_timeout: must be a number above 0 and at most 86400, got 0" in told


def test_a_key_is_not_sent_unencrypted_unless_that_is_accepted(helm: Helm) -> None:
    plain = "--set=settings.ship_base_url=http://ship.example"
    assert "settings.ship_base_url: would send the key unencrypted" in refusal(helm, *COMPLETE, plain)
    assert refusal(helm, *COMPLETE, plain, "--set=settings.allow_plaintext=true") == ""


@each_helm
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "extraEnv[0].name=ALLOCATION_GATEWAY_SHIP_TIMEUOT",
            "ALLOCATION_GATEWAY_SHIP_TIMEUOT: there is no such setting",
        ),
        ("extraEnv[0].name=ALLOCATION_GATEWAY_PORT", "ALLOCATION_GATEWAY_PORT: is for the chart to set"),
        ("extraEnv[0].name=ALLOCATION_GATEWAY_port", "ALLOCATION_GATEWAY_port: is for the chart to set"),
        ("extraEnv[0].name=ALLOCATION_GATEWAY_CONFIG_FILE", "ALLOCATION_GATEWAY_CONFIG_FILE: is for the chart to set"),
        ("extraEnv[0].name=ALLOCATION_GATEWAY_store_url", "ALLOCATION_GATEWAY_store_url: is set already"),
        ("extraEnv[0].name=ALLOCATION_GATEWAY_TLS_CERT_FILE", "ALLOCATION_GATEWAY_TLS_CERT_FILE: is set already"),
        ("extraEnv[0].name=ALLOCATION_GATEWAY_CACHE_URL,extraEnv[0].value=redis://:a@b", "CACHE_URL: has a secret"),
        (
            "extraEnv[0].name=ALLOCATION_GATEWAY_CONSIGNMENTS_API_KEY,extraEnv[0].value=a",
            "ALLOCATION_GATEWAY_CONSIGNMENTS_API_KEY: has a secret, which no value may hold",
        ),
        ("extraEnv[0].name=OTEL_EXPORTER_OTLP_HEADERS,extraEnv[0].value=a=b", "HEADERS: may have a secret"),
        ("otel.OTEL_EXPORTER_OTLP_HEADERS=a", "otel.OTEL_EXPORTER_OTLP_HEADERS: may have a secret"),
        ("otel.OTEL_EXPORTER_OTLP_LOGS_HEADERS=a", "otel.OTEL_EXPORTER_OTLP_LOGS_HEADERS: may have a secret"),
        ("settings.jwks_url=https://issuer.example/keys?code=a", "settings.jwks_url: may have a secret"),
        ("settings.jwks_url=https://a:b@issuer.example/keys", "settings.jwks_url: may have a secret"),
        ("extraEnv[0].name=A,extraEnv[1].name=A", "extraEnv: A: is set already"),
        ("otel.OTEL_SERVICE_NAME=a,extraEnv[0].name=OTEL_SERVICE_NAME", "OTEL_SERVICE_NAME: is set already"),
        ("extraEnv[0].name=not a name", "/extraEnv/0/name"),
        ("resources.requests.cpu=lots", "/resources/requests/cpu"),
        ("resources.limit.cpu=1", "'limit' not allowed"),
        ("sandbox.resources.limits.memory=1GB", "/sandbox/resources/limits/memory"),
        ("strategy.type=Rolling", "/strategy/type"),
        ("strategy.rollingUpdate.maxSurge=0", "maxSurge and maxUnavailable are both 0"),
        ("commonLabels.team=a b", "/commonLabels/team"),
        ("podLabels.-team=a", "invalid propertyName '-team'"),
        ("fullnameOverride=Gateway", "/fullnameOverride"),
        ("podDisruptionBudget.maxUnavailable=0", "podDisruptionBudget.maxUnavailable: lets no pod go"),
        ("podDisruptionBudget.maxUnavailable=0%", "podDisruptionBudget.maxUnavailable: lets no pod go"),
        ("podDisruptionBudget.minAvailable=2", "lets none of replicaCount=2 pods go"),
        ("podDisruptionBudget.minAvailable=51%", "lets none of replicaCount=2 pods go"),
        ("podDisruptionBudget.minAvailable=101%", "/podDisruptionBudget/minAvailable"),
        ("replicaCount=1,podDisruptionBudget.minAvailable=1", "lets none of replicaCount=1 pods go"),
        ("lifecycle.preStop.exec.command={sleep}", "terminationGracePeriodSeconds: is required with this lifecycle"),
        ("extraVolumes[0].name=config", "extraVolumes: there is a volume config already"),
        ("extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=/a", "there is no volume a among extraVolumes"),
        ("extraContainers[0].name=allocation-gateway", "there is a container allocation-gateway already"),
        ("settings.workers=2,replicaCount=1,store.urlSecret.name=", "required with settings.workers above 1"),
        ("grpcRoute.enabled=true", "grpcRoute.parentRefs: is required"),
        ("metrics.podMonitor.enabled=true", "metrics.podMonitor.enabled: needs metrics.prometheus.enabled"),
        ("metrics.prometheus.enabled=true,settings.workers=2", "needs settings.workers to be 1"),
        ("metrics.prometheus.enabled=true,otel.OTEL_METRICS_EXPORTER=otlp", "needs prometheus to be among"),
        (
            "metrics.prometheus.enabled=true,metrics.serviceMonitor.enabled=true,service.headless=false",
            "metrics.serviceMonitor.enabled: needs service.headless",
        ),
        ("metrics.podMonitor.interval=often", "/metrics/podMonitor/interval"),
        ("metrics.prometheus.enabled=true,metrics.prometheus.port=50051", "metrics.prometheus.port: must be neither"),
        ("metrics.prometheus.enabled=true,metrics.prometheus.port=50052", "metrics.prometheus.port: must be neither"),
        ("minReadySeconds=600", "progressDeadlineSeconds: must be more than minReadySeconds, 600"),
        (
            "minReadySeconds=30,progressDeadlineSeconds=30",
            "progressDeadlineSeconds: must be more than minReadySeconds, 30",
        ),
        ("service.clusterIP=None,service.port=443", "service.clusterIP: None needs service.port to be 50051"),
        (
            "service.clusterIP=None,service.type=NodePort",
            "service.clusterIP: must not be None with service.type NodePort",
        ),
    ],
)
def test_what_kubernetes_or_the_gateway_would_refuse_is_refused_by_name(helm: Helm, arguments: str, told: str) -> None:
    assert helm.wording(told) in refusal(helm, *COMPLETE, f"--set={arguments}")


def test_no_setting_that_values_have_can_be_set_past_them(helm: Helm, tmp_path: Path) -> None:
    """Grace periods, ports and rules are made from `settings`: a variable would count, and change none of them.

    The gateway reads the names of variables without regard to case.
    """
    schema = json.loads((CHART / "values.schema.json").read_text())
    names = [name.upper() for name in schema["properties"]["settings"]["properties"]]
    names += [name.lower() for name in names]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"extraEnv": [{"name": settings.PREFIX + name, "value": "1"} for name in names]}))
    told = refusal(helm, *COMPLETE, f"--values={file}")
    assert len(names) > 150
    for name in names:
        assert f"extraEnv: {settings.PREFIX}{name}: must be set as settings.{name.lower()}" in told


@each_helm
def test_more_settings_than_a_pod_has_room_for_are_refused(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    for length, fits in ((100, True), (250_000, False)):
        file.write_text(yaml.safe_dump({"settings": {"service_groups": ["a" * length]}}))
        told = refusal(helm, *COMPLETE, f"--values={file}")
        assert (told == "") is fits
        assert fits or "with podAnnotations, and pods can take 245760" in told


@each_helm
@pytest.mark.parametrize(
    "arguments",
    [
        "extraEnv[0].name=ALLOCATION_GATEWAY_CACHE_URL,extraEnv[0].value=redis://a@cache:6379/0?password_file=/b",
        "extraEnv[0].name=ALLOCATION_GATEWAY_JWKS_URL,extraEnv[0].valueFrom.secretKeyRef.name=issuer",
        "extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://proxy:3128",
        "settings.jwks_url=https://issuer.example/a@b",
        "metrics.prometheus.enabled=true,metrics.prometheus.port=50053",
        "minReadySeconds=600,progressDeadlineSeconds=601",
        "service.clusterIP=None",
        "resources.requests.cpu=1.5,resources.limits.memory=1e9,resources.limits.cpu=2",
        "strategy.type=Recreate",
        "strategy.type=Recreate,strategy.rollingUpdate=null",
        "strategy.rollingUpdate.maxSurge=25%",
        "podDisruptionBudget.minAvailable=1",
        "podDisruptionBudget.minAvailable=50%",
        "podDisruptionBudget.enabled=false,podDisruptionBudget.maxUnavailable=0",
        "replicaCount=0,podDisruptionBudget.minAvailable=1",
        "lifecycle.preStop.exec.command={sleep},terminationGracePeriodSeconds=60",
        "settings.workers=2",
    ],
)
def test_what_works_is_not_refused(helm: Helm, arguments: str) -> None:
    assert refusal(helm, *COMPLETE, f"--set={arguments}") == ""


@each_helm
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("autoscaling.minReplicas=11", "autoscaling.minReplicas: must be at most autoscaling.maxReplicas, 10, got 11"),
        ("podDisruptionBudget.minAvailable=2", "lets none of autoscaling.minReplicas=2 pods go"),
        ("resources.requests=null,resources.limits=null", "needs resources.requests.cpu"),
        ("autoscaling.targetCPUUtilizationPercentage=null", "autoscaling.targetCPUUtilizationPercentage: is required"),
    ],
)
def test_an_autoscaler_that_could_not_act_is_refused(helm: Helm, arguments: str, told: str) -> None:
    """A budget is measured by the least number of pods: `replicaCount` does not count."""
    assert told in refusal(helm, *COMPLETE, SCALING, "--set=replicaCount=9", f"--set={arguments}")


def paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the paths of the lists and maps that may be set as a whole."""
    for name, part in values["properties"].items():
        if "properties" in part and name not in {"global", "settings"}:
            yield from paths(part, f"{prefix}{name}.")
        elif part.get("type") in ("object", "array"):
            yield f"{prefix}{name}"


@each_helm
def test_a_list_or_a_map_that_is_null_is_as_good_as_none(helm: Helm) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    nothing = [f"--set={path}=null" for path in paths(schema) if path not in {"settings", "global"}]
    assert len(nothing) > 30
    assert refusal(helm, *COMPLETE, "--set=networkPolicy.enabled=true", *nothing) == ""


@each_helm
@pytest.mark.parametrize("path", ["ship", "tls.clientCA", "settings", "podDisruptionBudget.enabled", "service.port"])
def test_what_templates_could_not_do_without_is_refused_if_it_is_null(helm: Helm, path: str) -> None:
    told = helm.wording(f"missing property '{path.rpartition('.')[2]}'")
    assert told in refusal(helm, *COMPLETE, f"--set={path}=null")


def test_the_gateways_check_runs_before_anything_is_changed(helm: Helm) -> None:
    rendered = helm.render(*COMPLETE, "--set=settings.log_level=debug,terminationGracePeriodSeconds=90")
    job = rendered.one("Job", "check")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["check"]
    for part in ("env", "volumeMounts", "image", "securityContext"):
        assert container[part] == rendered.container[part]
    assert configuration(job["spec"]["template"]) == rendered.configuration
    assert pod["volumes"] == rendered.pod["volumes"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["ttlSecondsAfterFinished"] > 3600, "one that has failed can be read, and does not stay"
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert not rendered.one("Service")["spec"]["selector"].items() <= labels.items()
    assert (job["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")


def test_the_gateways_check_sees_what_init_containers_bring(helm: Helm) -> None:
    rendered = helm.render(f"--values={CHART / 'ci' / 'pod-values.yaml'}")
    pod = rendered.one("Job", "check")["spec"]["template"]["spec"]
    assert pod["initContainers"] == rendered.pod["initContainers"]
    names = [container["name"] for container in [*pod["initContainers"], *pod["containers"]]]
    assert len(set(names)) == len(names) == 2


def test_the_check_can_be_switched_off_and_the_sandbox_needs_none(helm: Helm) -> None:
    for arguments in ((*COMPLETE, "--set=configurationCheck.enabled=false"), (SANDBOX,)):
        assert "Job" not in {found["kind"] for found in helm.render(*arguments).objects}
