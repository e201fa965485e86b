"""How calls reach the gateway, and how `helm test` makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.cli import _parser
from support.chart import CHART, NAME, Rendered, component

if TYPE_CHECKING:
    from support.chart import Helm

pytestmark = pytest.mark.chart

SANDBOX = "--set=sandbox.enabled=true"
COMPLETE = (
    "--set=ship.apiKeySecret.name=ship",
    "--set=tls.secretName=gateway-tls",
    "--set=store.urlSecret.name=store",
)
MUTUAL = "--set=tls.clientCA.secretName=authorities"


def call(rendered: Rendered) -> tuple[dict[str, Any], Any]:
    """Returns the pod of `helm test` and what the gateway's command line makes of its arguments."""
    pod = rendered.one("Pod", "test")["spec"]
    return pod, _parser().parse_args(pod["containers"][0]["args"])


def file(pod: dict[str, Any], path: Any) -> tuple[str, str]:
    """Returns the Secret that a path in the pod's container is of, and its key."""
    (container,) = pod["containers"]
    folder, _, key = str(path).rpartition("/")
    (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == folder]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    return volume["secret"]["secretName"], key


def test_in_the_sandbox_the_test_makes_the_documented_allocation(helm: Helm) -> None:
    rendered = helm.render(SANDBOX)
    pod, options = call(rendered)
    assert options.run.__name__ == "_demo"
    assert options.address == f"{rendered.one('Service')['metadata']['name']}.default.svc:50051"
    assert options.sandbox == rendered.container["args"][1].partition("=")[2]
    assert options.ca_file is None
    assert "volumes" not in pod
    assert pod["enableServiceLinks"] is False


def test_elsewhere_the_test_asks_for_health_which_books_nothing(helm: Helm) -> None:
    plain = ("--set=tls.secretName=", "--set=settings.allow_plaintext=true")
    _, options = call(helm.render(*COMPLETE, *plain))
    assert (options.run.__name__, options.ca_file) == ("_health", None)


@pytest.mark.parametrize(
    ("more", "run"), [(COMPLETE, "_health"), ((SANDBOX, COMPLETE[1]), "_demo")], ids=["api", "sandbox"]
)
def test_with_tls_the_test_trusts_the_listeners_own_certificate(helm: Helm, more: tuple[str, ...], run: str) -> None:
    pod, options = call(helm.render(*more, "--set=service.port=443"))
    assert (options.run.__name__, options.server_name) == (run, None)
    assert options.address == f"{NAME}.default.svc:443"
    assert file(pod, options.ca_file) == ("gateway-tls", "tls.crt")


@pytest.mark.parametrize(
    "more",
    [
        "settings.jwks_url=https://issuer.example/keys",
        "settings.jwks_file=/etc/keys/jwks.json",
        "settings.policy_file=/etc/policy/policy.toml",
        "extraEnv[0].name=ALLOCATION_GATEWAY_JWKS_URL,extraEnv[0].valueFrom.secretKeyRef.name=issuer",
        "settings.ship_disabled_operations={AllocateShipmentWithServiceGroup}",
        "serviceGroups.catalogue.configMapName=groups,settings.service_group_policy=strict",
    ],
)
def test_in_the_sandbox_the_test_allocates_only_what_it_may(helm: Helm, more: str) -> None:
    """The health of the gateway needs no token."""
    _, options = call(helm.render(SANDBOX, f"--set={more}"))
    assert options.run.__name__ == "_health"


def test_with_mutual_tls_the_test_shows_a_certificate_of_its_own(helm: Helm) -> None:
    pod, options = call(helm.render(f"--values={CHART / 'ci' / 'mutual-tls-values.yaml'}"))
    assert file(pod, options.ca_file) == ("authorities", "ca.pem")
    assert file(pod, options.cert_file) == ("test-client", "tls.crt")
    assert file(pod, options.key_file) == ("test-client", "tls.key")
    assert options.server_name == "allocations.example.com"


def test_with_mutual_tls_and_no_certificate_there_is_no_test(helm: Helm) -> None:
    rendered = helm.render(*COMPLETE, MUTUAL)
    assert "test" not in {component(found) for found in rendered.objects}
    notes = helm("install", NAME, str(CHART), "--dry-run=client", *COMPLETE, MUTUAL).stdout
    assert "helm test" not in notes


def test_the_notes_tell_the_next_command_and_the_addresses(helm: Helm) -> None:
    rendered = helm.render(*COMPLETE)
    notes = helm("install", NAME, str(CHART), "--dry-run=client", *COMPLETE).stdout
    assert f"helm test {NAME} --namespace default --logs" in notes, "Helm 4 can"
    headless = rendered.one("Service", "headless")
    name, port = headless["metadata"]["name"], headless["spec"]["ports"][0]["port"]
    assert f"dns:///{name}.default.svc:{port}" in " ".join(notes.split())


def test_a_route_leads_to_the_service(helm: Helm) -> None:
    rendered = helm.render(f"--values={CHART / 'ci' / 'grpcroute-values.yaml'}")
    route, service = rendered.one("GRPCRoute"), rendered.one("Service")
    (rule,) = route["spec"]["rules"]
    (port,) = service["spec"]["ports"]
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]
    assert route["spec"]["hostnames"] == ["allocations.example.com"]
    assert route["metadata"]["labels"]["example.org/exposed"] == "true"
    assert helm.render(*COMPLETE).of("GRPCRoute") == []


def test_pods_spread_over_nodes_and_zones_by_default(helm: Helm) -> None:
    rendered = helm.render(*COMPLETE)
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    constraints = rendered.pod["topologySpreadConstraints"]
    keys = [constraint["topologyKey"] for constraint in constraints]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for constraint in constraints:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway", "a cluster of one node runs it too"
    none = helm.render(*COMPLETE, "--set-json=topologySpreadConstraints=[]")
    assert "topologySpreadConstraints" not in none.pod


def test_names_that_are_long_stay_names(helm: Helm) -> None:
    long = "a" * 63
    rendered = helm.render(SANDBOX, f"--set=fullnameOverride={long},nameOverride={long}")
    names = [(found["kind"], found["metadata"]["name"]) for found in rendered.objects]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, name in names)
    for found in rendered.objects:
        assert all(len(text) <= 63 for text in found["metadata"]["labels"].values())
