"""What the chart makes: each test is one behaviour that an operator can see."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
from allocation_gateway import settings
from allocation_gateway.operations import table
from allocation_gateway.telemetry import variables
from allocation_gateway.version import __version__
from chart.helms import each_helm
from support import custom
from support.certificates import Authority
from support.chart import CHART, FEATURES, NAME, RefusedError, Rendered, component

if TYPE_CHECKING:
    from pathlib import Path

    from support.chart import Helm

pytestmark = pytest.mark.chart

KEY = "--set=ship.apiKeySecret.name=ship"
TLS = "--set=tls.secretName=gateway-tls"
UNSHARED = "--set=settings.allow_unshared_claims=true"
SHIP = (KEY, TLS, UNSHARED)
SANDBOX = "--set=sandbox.enabled=true"
# The oldest that the chart is for, one in between, and the newest.
VERSIONS = ("1.27", "1.32", "1.37")

feature = pytest.mark.parametrize("values", FEATURES, ids=lambda path: path.stem)


def render_feature(helm: Helm, name: str, *more: str) -> Rendered:
    return helm.render(f"--values={CHART / 'ci' / f'{name}-values.yaml'}", *more)


def configuration(rendered: Rendered) -> dict[str, Any]:
    return tomllib.loads(rendered.configuration)


def load(rendered: Rendered, folder: Path, **links: str) -> settings.Settings:
    """Loads what the pods are given, and checks it, as the gateway does. Mounted files are laid out in a folder."""
    authority = Authority(folder)
    chain, key = authority.issue("server")
    given = {"TLS_CERT_FILE": chain, "TLS_KEY_FILE": key, "TLS_CLIENT_CA_FILE": authority.file}
    contents = {settings.PREFIX + name: file.read_text() for name, file in given.items()}
    environment = {name: text for name, text in rendered.environment.items() if name.startswith(settings.PREFIX)}
    for name, path in environment.items():
        if name.endswith("_FILE"):
            mount = next(m for m in rendered.container["volumeMounts"] if path.startswith(m["mountPath"] + "/"))
            assert mount["readOnly"] is True
            file = folder / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(contents.get(name, "a-key"))
            environment[name] = str(file)
    if any(entry["name"] == f"{settings.PREFIX}STORE_URL" for entry in rendered.container["env"]):
        environment[f"{settings.PREFIX}STORE_URL"] = "rediss://store:6379/0"
    (folder / "etc/allocation-gateway/config/config.toml").write_text(rendered.configuration)
    sandbox: dict[str, Any] = {"allow_plaintext": True, "ship_api_key": settings.Secret("sandbox")}
    is_sandbox = any(argument.startswith("--sandbox=") for argument in rendered.container["args"])
    overrides = sandbox if is_sandbox else None
    loaded = settings.load({**environment, **links}, overrides=overrides)
    settings.check_early(loaded, {}, variables.check)
    return loaded


@each_helm
@feature
def test_helm_lints_it(helm: Helm, values: Path) -> None:
    done = helm("lint", "--strict", str(CHART), f"--values={values}")
    assert done.returncode == 0, done.stdout + done.stderr


@feature
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(helm: Helm, values: Path, version: str) -> None:
    for found in helm.render(f"--values={values}").objects:
        if not custom.is_custom(found):
            kubernetes_validate.validate(found, version, strict=True)


@feature
def test_the_makers_of_custom_resources_know_every_field(helm: Helm, values: Path) -> None:
    for found in helm.render(f"--values={values}").objects:
        if custom.is_custom(found):
            custom.validate(found)


@feature
def test_the_gateway_accepts_its_configuration(helm: Helm, values: Path, tmp_path: Path) -> None:
    loaded = load(helm.render(f"--values={values}"), tmp_path)
    settings.check_late(loaded, settings.Release(table.spellings(), *[lambda _: None] * 3))
    assert (loaded.port, loaded.health_port) == (50051, 50052)


def test_it_is_refused_without_the_secret_of_the_api_key(helm: Helm) -> None:
    with pytest.raises(RefusedError, match=r"ship\.apiKeySecret\.name: is required: name an existing Secret"):
        helm.render(TLS)


def test_it_is_refused_without_tls_unless_plaintext_is_accepted(helm: Helm) -> None:
    with pytest.raises(RefusedError, match=r"tls\.secretName: is required"):
        helm.render(KEY)
    helm.render(KEY, UNSHARED, "--set=settings.allow_plaintext=true")


@each_helm
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set=replicas=3"], "'replicas' not allowed"),
        (["--set=image.tga=1"], "'tga' not allowed"),
        (["--set=settings.shutdown_dealy=1"], "'shutdown_dealy' not allowed"),
        (["--set=settings.ship_api_key=secret"], "'ship_api_key' not allowed"),
        (["--set=settings.port=1"], "'port' not allowed"),
        (["--set=settings.max_concurrent_calls=0"], "/settings/max_concurrent_calls"),
        (["--set=settings.max_concurrent_calls=many"], "/settings/max_concurrent_calls"),
        (["--set=settings.log_level=loud"], "/settings/log_level"),
        (["--set=settings.shutdown_grace=null"], "missing property 'shutdown_grace'"),
        (["--set=otel.ALLOCATION_GATEWAY_PORT=1"], "'ALLOCATION_GATEWAY_PORT' does not match"),
        (["--set=image.digest=latest"], "/image/digest"),
        (["--set=podDisruptionBudget.minAvailable=half"], "/podDisruptionBudget/minAvailable"),
        (
            ["--set=podDisruptionBudget.minAvailable=1,podDisruptionBudget.maxUnavailable=1"],
            "must not be set together with",
        ),
        (["--set=serviceGroups.catalogue.key=groups.json"], "/serviceGroups/catalogue/key"),
        (["--set=settings.cache_url=redis://host"], "'cache_url' not allowed"),
        (["--set=settings.store_url=redis://host"], "'store_url' not allowed"),
        (["--set=terminationGracePeriodSeconds=33"], "must be more than the 33 seconds"),
    ],
    ids=lambda value: value[0].partition("=")[2] if isinstance(value, list) else "",
)
def test_wrong_values_are_refused_by_name(helm: Helm, arguments: list[str], told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        helm.render(*SHIP, *arguments)
    assert helm.wording(told) in str(refused.value)


def test_client_authorities_without_tls_are_refused(helm: Helm) -> None:
    with pytest.raises(RefusedError, match=r"tls\.clientCA\.secretName: needs tls\.secretName"):
        helm.render(SANDBOX, "--set=tls.clientCA.secretName=authorities")


def test_the_api_key_comes_from_a_file_of_the_named_secret(helm: Helm) -> None:
    rendered = helm.render(TLS, UNSHARED, "--set=ship.apiKeySecret.name=ship,ship.apiKeySecret.key=key.txt")
    assert rendered.environment["ALLOCATION_GATEWAY_SHIP_API_KEY_FILE"] == "/etc/allocation-gateway/ship/key.txt"
    (mount,) = [m for m in rendered.container["volumeMounts"] if m["mountPath"] == "/etc/allocation-gateway/ship"]
    (volume,) = [v for v in rendered.pod["volumes"] if v["name"] == mount["name"]]
    assert volume["secret"]["secretName"] == "ship"
    assert volume["secret"]["items"] == [{"key": "key.txt", "path": "key.txt"}]


@feature
def test_it_makes_no_secret(helm: Helm, values: Path) -> None:
    assert helm.render(f"--values={values}").of("Secret") == []


def test_the_sandbox_needs_no_secret(helm: Helm) -> None:
    rendered = helm.render(SANDBOX)
    assert all("secret" not in volume for volume in rendered.pod["volumes"])
    assert not any(name.endswith("API_KEY_FILE") for name in rendered.environment)


def test_mutual_tls_mounts_certificate_key_and_authorities(helm: Helm, tmp_path: Path) -> None:
    loaded = load(render_feature(helm, "mutual-tls"), tmp_path)
    files = (loaded.tls_cert_file, loaded.tls_key_file, loaded.tls_client_ca_file)
    names = [file.relative_to(tmp_path / "etc/allocation-gateway") for file in files if file is not None]
    assert [str(name) for name in names] == ["tls/tls.crt", "tls/tls.key", "client-ca/bundle.pem"]


def test_settings_reach_the_gateway_as_they_were_written(helm: Helm, tmp_path: Path) -> None:
    loaded = load(render_feature(helm, "everything"), tmp_path)
    assert loaded.service_groups == ("valuableGoods", "a, b", 'with "quotes" and ünïcode')
    assert (loaded.max_request_bytes, loaded.max_connection_age) == (1048576, 120.5)
    assert loaded.reflection is False
    assert loaded.host == "[::]"


def test_a_table_of_settings_reaches_the_gateway(helm: Helm) -> None:
    (name, spellings), *_ = ((n, s) for n, s in table.spellings()["ship"].items() if len(s) > 1)
    routes = {name: max(spellings)}
    rendered = helm.render(*SHIP, f"--set-json=settings.ship_routes={json.dumps(routes)}")
    assert configuration(rendered)["ship_routes"] == routes


@feature
def test_pods_share_no_file_that_an_upgrade_changes(helm: Helm, values: Path) -> None:
    """Or else a pod of before that starts again reads what is only for new ones, be it good or bad."""
    rendered = helm.render(f"--values={values}")
    made = {found["metadata"]["name"] for found in rendered.objects if found["kind"] in {"ConfigMap", "Secret"}}
    mounted = {volume[kind]["name"] for volume in rendered.pod["volumes"] for kind in volume if kind == "configMap"}
    assert not made & mounted
    assert configuration(rendered)


def test_new_settings_mean_new_pods(helm: Helm) -> None:
    def annotations(*arguments: str) -> dict[str, str]:
        deployment = helm.render(*SHIP, *arguments).one("Deployment")
        found: dict[str, str] = deployment["spec"]["template"]["metadata"]["annotations"]
        return found

    assert annotations() == annotations("--set=replicaCount=5")
    assert annotations() != annotations("--set=settings.log_level=debug")


def test_pods_meet_the_restricted_security_standard(helm: Helm) -> None:
    rendered = helm.render(*SHIP)
    pod, container = rendered.pod["securityContext"], rendered.container["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == 65532
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert {next(iter(set(volume) - {"name"})) for volume in rendered.pod["volumes"]} <= {"downwardAPI", "secret"}


def test_pods_get_no_token(helm: Helm) -> None:
    rendered = helm.render(*SHIP)
    assert rendered.pod["automountServiceAccountToken"] is False
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False


def test_service_links_are_off_since_the_gateway_refuses_them(helm: Helm, tmp_path: Path) -> None:
    rendered = helm.render(*SHIP)
    assert rendered.one("Service")["metadata"]["name"] == NAME
    assert rendered.pod["enableServiceLinks"] is False
    link = {"ALLOCATION_GATEWAY_SERVICE_HOST": "192.0.2.1"}
    with pytest.raises(settings.ConfigurationError, match="ALLOCATION_GATEWAY_SERVICE_HOST: there is no such setting"):
        load(rendered, tmp_path, **link)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--set-json=settings.shutdown_grace=120.5"], ["--set=terminationGracePeriodSeconds=34"]],
    ids=["default", "longer drain", "least"],
)
def test_kubernetes_waits_longer_than_the_gateway_takes_to_end(
    helm: Helm, tmp_path: Path, arguments: list[str]
) -> None:
    rendered = helm.render(*SHIP, *arguments)
    loaded = load(rendered, tmp_path)
    bounds = loaded.shutdown_delay + loaded.shutdown_grace + loaded.telemetry_flush_timeout
    assert rendered.pod["terminationGracePeriodSeconds"] > bounds
    assert "lifecycle" not in rendered.container


def test_probes_ask_the_health_port_which_is_not_in_the_service(helm: Helm) -> None:
    rendered = helm.render(*SHIP)
    probes = [rendered.container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")]
    assert [probe["grpc"] for probe in probes] == [{"port": 50052}] * 3
    assert {port["name"]: port["containerPort"] for port in rendered.container["ports"]}["health"] == 50052
    assert [port["targetPort"] for port in rendered.one("Service")["spec"]["ports"]] == ["grpc"]


def test_the_service_selects_the_pods(helm: Helm) -> None:
    rendered = helm.render(*SHIP)
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    selector = rendered.one("Service")["spec"]["selector"]
    assert selector.items() <= labels.items()
    assert rendered.one("Deployment")["spec"]["selector"]["matchLabels"] == selector


def test_selectors_hold_no_version_since_they_cannot_change(helm: Helm) -> None:
    selector = helm.render(*SHIP).one("Deployment")["spec"]["selector"]["matchLabels"]
    assert set(selector) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}


def test_a_headless_service_beside_the_other_gives_the_addresses_of_all_pods(helm: Helm) -> None:
    rendered = helm.render(*SHIP, "--set=service.port=443,service.type=LoadBalancer")
    service, headless = rendered.one("Service"), rendered.one("Service", "headless")
    assert "clusterIP" not in service["spec"]
    assert headless["metadata"]["name"] == f"{NAME}-headless"
    assert (headless["spec"]["type"], headless["spec"]["clusterIP"]) == ("ClusterIP", "None")
    assert headless["spec"]["selector"] == service["spec"]["selector"]
    (port,) = headless["spec"]["ports"]
    (listening,) = [p["containerPort"] for p in rendered.container["ports"] if p["name"] == port["targetPort"]]
    assert port["port"] == listening, "its clients connect to pods themselves"
    without = helm.render(*SHIP, "--set=service.headless=false")
    assert "headless" not in {component(found) for found in without.objects}


def test_the_image_is_that_of_the_gateways_version(helm: Helm) -> None:
    assert helm.render(*SHIP).container["image"] == f"allocation-gateway:{__version__}"


def test_a_digest_wins_over_a_tag(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    rendered = helm.render(*SHIP, f"--set=image.tag=latest,image.digest={digest}")
    assert rendered.container["image"] == f"allocation-gateway@{digest}"


def sandbox_image(rendered: Rendered) -> str:
    (container,) = rendered.one("Deployment", "sandbox")["spec"]["template"]["spec"]["containers"]
    image: str = container["image"]
    return image


DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ("image.tag=", f"allocation-gateway:{__version__}-sandbox"),
        ("image.tag=latest", "allocation-gateway:latest-sandbox"),
        (f"image.digest={DIGEST}", f"allocation-gateway:{__version__}-sandbox"),
        ("image.registry=own.example,image.repository=team/a", f"own.example/team/a:{__version__}-sandbox"),
        ("sandbox.image.repository=b,sandbox.image.tag=v1,global.imageRegistry=own.example:50", "own.example:50/b:v1"),
        (f"sandbox.image.digest={DIGEST},sandbox.image.tag=v1", f"allocation-gateway@{DIGEST}"),
    ],
)
def test_the_sandbox_has_an_image_of_its_own(helm: Helm, values: str, image: str) -> None:
    """That of the gateway's pods has no sandbox."""
    rendered = helm.render(SANDBOX, f"--set={values}")
    assert sandbox_image(rendered) == image
    assert rendered.container["image"] != image
    test = rendered.one("Pod", "test")["spec"]["containers"][0]
    assert test["image"] == rendered.container["image"]


def test_the_image_of_the_sandbox_can_stand_elsewhere(helm: Helm) -> None:
    rendered = render_feature(helm, "sandbox-image")
    assert sandbox_image(rendered) == "registry.example/allocation-sandbox:trial"
    assert rendered.container["image"].startswith("registry.example/allocation-gateway@sha256:")


@each_helm
def test_pods_can_be_replaced_all_at_once_without_a_null(helm: Helm) -> None:
    """In an umbrella chart, not every Helm lets one take a default away."""
    strategy = helm.render(*SHIP, "--set=strategy.type=Recreate").one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "Recreate"}


def test_a_budget_lets_one_pod_go_at_a_time(helm: Helm) -> None:
    spec = helm.render(*SHIP).one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec
    assert helm.render(*SHIP, "--set=podDisruptionBudget.enabled=false").of("PodDisruptionBudget") == []


def test_a_budget_may_say_how_many_must_stay(helm: Helm) -> None:
    spec = render_feature(helm, "autoscaling").one("PodDisruptionBudget")["spec"]
    assert spec["minAvailable"] == "50%"
    assert "maxUnavailable" not in spec


def test_an_autoscaler_alone_decides_how_many_pods_run(helm: Helm) -> None:
    assert helm.render(*SHIP).one("Deployment")["spec"]["replicas"] == 2
    rendered = render_feature(helm, "autoscaling")
    assert "replicas" not in rendered.one("Deployment")["spec"]
    scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 12)
    assert scaler["scaleTargetRef"]["name"] == rendered.one("Deployment")["metadata"]["name"]


def egress(rendered: Rendered) -> list[int]:
    rules = rendered.one("NetworkPolicy")["spec"]["egress"]
    return [port["port"] for rule in rules for port in rule["ports"]]


def test_a_network_policy_allows_what_is_needed_and_no_more(helm: Helm) -> None:
    assert helm.render(*SHIP).of("NetworkPolicy") == []
    rendered = render_feature(helm, "networkpolicy")
    spec = rendered.one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = spec["ingress"]
    assert [port["port"] for port in ingress["ports"]] == ["grpc"]
    test = rendered.one("Pod", "test")["metadata"]["labels"]
    checkout, allowed_test = (peer["podSelector"]["matchLabels"] for peer in ingress["from"])
    assert checkout == {"app.kubernetes.io/name": "checkout"}
    assert allowed_test.items() <= test.items()
    assert egress(rendered) == [53, 53, 8443, 6379, 4317, 3128]
    watched = render_feature(helm, "networkpolicy", "--set=store.sentinelPort=26379")
    assert egress(watched) == [53, 53, 8443, 6379, 26379, 4317, 3128]


@pytest.mark.parametrize(
    ("url", "port"),
    [("https://ship.example/pro", 443), ("http://ship.example", 80), ("https://[2001:db8::1]/", 443)],
)
def test_a_network_policy_takes_upstreams_port_from_its_address(helm: Helm, url: str, port: int) -> None:
    values = "--set=networkPolicy.enabled=true,settings.allow_plaintext=true"
    rendered = helm.render(*SHIP, values, f"--set-string=settings.ship_base_url={url}")
    assert egress(rendered) == [53, 53, port]


def test_a_network_policy_lets_the_keys_of_tokens_be_fetched(helm: Helm) -> None:
    values = "--set=networkPolicy.enabled=true,settings.allow_plaintext=true"
    rendered = helm.render(*SHIP, values, "--set-string=settings.jwks_url=https://issuer.example:8443/keys")
    assert egress(rendered) == [53, 53, 443, 8443]


def test_a_file_of_accounts_can_have_all_keys(helm: Helm) -> None:
    """So that no key of the default account is needed, and its pods are let out to both APIs."""
    accounts = "--set=networkPolicy.enabled=true,settings.accounts_file=/etc/accounts/accounts.toml"
    rendered = helm.render(TLS, UNSHARED, accounts)
    assert egress(rendered) == [53, 53, 443, 443]
    assert configuration(rendered)["accounts_file"] == "/etc/accounts/accounts.toml"


def test_a_network_policy_of_the_sandbox_lets_the_gateway_out_to_it_alone(helm: Helm) -> None:
    rendered = helm.render(SANDBOX, "--set=networkPolicy.enabled=true")
    assert egress(rendered) == [53, 53, 8080]
    sandbox = rendered.one("Deployment", "sandbox")["spec"]["template"]["metadata"]["labels"]
    (peer,) = rendered.one("NetworkPolicy")["spec"]["egress"][-1]["to"]
    assert peer["podSelector"]["matchLabels"].items() <= sandbox.items()
    policy = rendered.one("NetworkPolicy", "sandbox")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= sandbox.items()
    assert policy.get("egress", []) == []


def test_telemetry_is_configured_by_its_standard_variables(helm: Helm) -> None:
    rendered = render_feature(helm, "everything")
    assert rendered.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4317"
    assert rendered.environment["OTEL_TRACES_SAMPLER_ARG"] == "0.25"
    reference = {"secretKeyRef": {"name": "telemetry", "key": "headers"}}
    assert {"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": reference} in rendered.container["env"]
    assert not any(name.startswith("OTEL_") for name in helm.render(*SHIP).environment)


def test_the_notes_warn_of_the_sandbox_and_of_plaintext(helm: Helm) -> None:
    dry_run = ("install", NAME, str(CHART), "--dry-run=client")
    told = helm(*dry_run, SANDBOX).stdout
    assert told.count("WARNING") == 2
    assert f"allocation-gateway:{__version__}-sandbox, the target sandbox" in told
    assert helm(*dry_run, *SHIP).stdout.count("WARNING") == 0


def test_the_consignments_api_is_served_with_a_key_of_its_own(helm: Helm) -> None:
    rendered = helm.render(UNSHARED, "--set=settings.allow_plaintext=true,consignments.apiKeySecret.name=other")
    assert rendered.environment["ALLOCATION_GATEWAY_CONSIGNMENTS_API_KEY_FILE"] == (
        "/etc/allocation-gateway/consignments/api-key"
    )
    assert "ALLOCATION_GATEWAY_SHIP_API_KEY_FILE" not in rendered.environment
    both = helm.render(*SHIP, "--set=consignments.apiKeySecret.name=other")
    assert {"ship", "consignments"} <= {mount["name"] for mount in both.container["volumeMounts"]}


def test_the_catalogue_is_a_folder_that_follows_its_config_map(helm: Helm, tmp_path: Path) -> None:
    rendered = render_feature(helm, "service-groups")
    loaded = load(rendered, tmp_path)
    file = loaded.service_group_catalogue_file
    assert file is not None
    assert str(file.relative_to(tmp_path)) == "etc/allocation-gateway/service-groups/groups.toml"
    (mount,) = [m for m in rendered.container["volumeMounts"] if m["name"] == "service-groups"]
    assert "subPath" not in mount, "Kubernetes does not update those"
    (volume,) = [v for v in rendered.pod["volumes"] if v["name"] == "service-groups"]
    assert volume["configMap"]["name"] == "groups"
    assert loaded.service_group_policy == "strict"
    assert "service-groups" not in {volume["name"] for volume in helm.render(*SHIP).pod["volumes"]}


def test_the_cache_is_at_the_url_of_a_secret_and_may_be_reached(helm: Helm) -> None:
    rendered = render_feature(helm, "service-groups")
    reference = {"secretKeyRef": {"name": "cache", "key": "address"}}
    assert {"name": "ALLOCATION_GATEWAY_CACHE_URL", "valueFrom": reference} in rendered.container["env"]
    ports = [port["port"] for rule in rendered.one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 443, 6380, 6379]
    assert not any(entry["name"].endswith("CACHE_URL") for entry in helm.render(*SHIP).container["env"])


def test_the_store_is_at_the_url_of_a_secret_and_may_be_reached(helm: Helm) -> None:
    rendered = render_feature(helm, "store")
    reference = {"secretKeyRef": {"name": "store", "key": "address"}}
    assert {"name": "ALLOCATION_GATEWAY_STORE_URL", "valueFrom": reference} in rendered.container["env"]
    ports = [port["port"] for rule in rendered.one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 443, 6381]
    assert not any(entry["name"].endswith("STORE_URL") for entry in helm.render(*SHIP).container["env"])


@pytest.mark.parametrize(
    ("arguments", "processes"),
    [
        (["--set=replicaCount=1"], "1"),
        (["--set=replicaCount=3"], "3"),
        (["--set=replicaCount=1,autoscaling.enabled=true,autoscaling.maxReplicas=7"], "7"),
    ],
    ids=["one", "three", "autoscaling"],
)
def test_more_than_one_pod_is_refused_without_a_store_unless_that_is_accepted(
    helm: Helm, arguments: list[str], processes: str
) -> None:
    """The gateway is told how many there may be."""
    for accepted in (UNSHARED, "--set=store.urlSecret.name=store"):
        rendered = helm.render(KEY, TLS, accepted, *arguments)
        assert rendered.environment["ALLOCATION_GATEWAY_REPLICAS"] == processes
    if processes == "1":
        helm.render(KEY, TLS, *arguments)
        return
    with pytest.raises(RefusedError, match=r"store\.urlSecret\.name: is required with more than one pod"):
        helm.render(KEY, TLS, *arguments)


def test_all_pods_use_one_sandbox(helm: Helm, tmp_path: Path) -> None:
    """Two worlds behind one Service would allocate a shipment twice, and forget it at the other pod."""
    rendered = helm.render(SANDBOX)
    assert rendered.one("Deployment")["spec"]["replicas"] == 2
    sandbox, service = rendered.one("Deployment", "sandbox"), rendered.one("Service", "sandbox")
    assert (sandbox["spec"]["replicas"], sandbox["spec"]["strategy"]) == (1, {"type": "Recreate"})
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert rendered.container["args"] == ["serve", f"--sandbox=http://{name}:{port}"]
    labels = sandbox["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert not rendered.one("Service")["spec"]["selector"].items() <= labels.items()
    assert load(rendered, tmp_path).allow_unshared_claims is True


def test_pods_on_the_sandbox_may_share_a_store(helm: Helm) -> None:
    rendered = helm.render(SANDBOX, "--set=store.urlSecret.name=store")
    names = {entry["name"] for entry in rendered.container["env"]}
    assert "ALLOCATION_GATEWAY_STORE_URL" in names
    assert "ALLOCATION_GATEWAY_ALLOW_UNSHARED_CLAIMS" not in names
