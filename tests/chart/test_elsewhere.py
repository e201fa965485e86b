"""Keys, certificates and addresses that come from no Secret: files of an injector, or of a driver of volumes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import kubernetes_validate
import pytest
from support.chart import NAME, component

if TYPE_CHECKING:
    from pathlib import Path

    from support.chart import Helm, Rendered

pytestmark = pytest.mark.chart

GIVEN = {
    "SHIP_API_KEY_FILE": "/vault/ship",
    "TLS_CERT_FILE": "/vault/tls.crt",
    "TLS_KEY_FILE": "/vault/tls.key",
    "STORE_URL": "rediss://gateway@store:6379/0?password_file=/vault/store",
}


def elsewhere(helm: Helm, folder: Path, *more: str, **given: str) -> Rendered:
    """Renders the chart with variables, and none of the Secrets that they stand for."""
    entries = [{"name": f"ALLOCATION_GATEWAY_{name}", "value": text} for name, text in (GIVEN | given).items()]
    values = {
        "extraEnv": entries,
        "extraVolumes": [{"name": "vault", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}}],
        "extraVolumeMounts": [{"name": "vault", "mountPath": "/vault", "readOnly": True}],
        "networkPolicy": {"enabled": True},
    }
    file = folder / "values.json"
    file.write_text(json.dumps(values))
    rendered = helm.render(f"--values={file}", *more)
    for found in rendered.objects:
        kubernetes_validate.validate(found, "1.37", strict=True)
    return rendered


def ports(rendered: Rendered) -> list[int]:
    return [port["port"] for rule in rendered.one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]


def test_no_secret_needs_to_be_named(helm: Helm, tmp_path: Path) -> None:
    rendered = elsewhere(helm, tmp_path)
    assert not any("secret" in volume for volume in rendered.pod["volumes"])
    found = {name: rendered.environment[f"ALLOCATION_GATEWAY_{name}"] for name in GIVEN}
    assert found == GIVEN
    assert ports(rendered) == [53, 53, 443, 6379], "the API and the store can be reached"
    job = rendered.one("Job", "check")["spec"]["template"]["spec"]
    assert job["volumes"] == rendered.pod["volumes"]
    assert job["containers"][0]["env"] == rendered.container["env"]


@pytest.mark.parametrize("name", ["consignments_api_key_file", "CONSIGNMENTS_API_KEY_FILE", "CACHE_URL"])
def test_what_they_are_for_can_be_reached(helm: Helm, tmp_path: Path, name: str) -> None:
    more = {name: "redis://cache:6390/0" if name == "CACHE_URL" else "/vault/other"}
    rendered = elsewhere(helm, tmp_path, "--set=cache.port=6390", **more)
    assert ports(rendered) == [53, 53, 443, *([6390, 6379] if name == "CACHE_URL" else [443, 6379])]


def test_helm_test_needs_the_authority_that_it_cannot_have_from_elsewhere(helm: Helm, tmp_path: Path) -> None:
    without = elsewhere(helm, tmp_path)
    assert "test" not in {component(found) for found in without.objects}
    pod = elsewhere(helm, tmp_path, "--set=tests.caSecret.name=authority").one("Pod", "test")["spec"]
    assert pod["volumes"][0]["secret"]["secretName"] == "authority"
    assert pod["containers"][0]["args"][1:3] == ["--address", f"{NAME}.default.svc:50051"]
    mutual = {"TLS_CLIENT_CA_FILE": "/vault/ca.crt"}
    there = elsewhere(helm, tmp_path, "--set=tests.caSecret.name=authority", **mutual)
    assert "test" not in {component(found) for found in there.objects}
    shown = "--set=tests.caSecret.name=authority,tests.clientCertificateSecret.name=client"
    assert elsewhere(helm, tmp_path, shown, **mutual).one("Pod", "test")
