"""The image under the environment, files and rights that the chart gives its pods."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from support.chart import CHART, Helm, Rendered, helm_command
from support.container import Container, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.container import Image, Podman

pytestmark = pytest.mark.image

CERTIFICATE = "/etc/allocation-gateway/tls/tls.crt"


def certificate() -> tuple[bytes, bytes]:
    """Returns a certificate for localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def mounts(rendered: Rendered, secrets: dict[str, dict[str, bytes]], folder: Path) -> Iterator[str]:
    """Lays out the volumes as Kubernetes does: for root, and for the pod's group to read."""
    group = rendered.pod["securityContext"]["fsGroup"]
    for mount in rendered.container["volumeMounts"]:
        (volume,) = [found for found in rendered.pod["volumes"] if found["name"] == mount["name"]]
        if "secret" in volume:
            keys, mode = secrets[volume["secret"]["secretName"]], volume["secret"]["defaultMode"]
            files = {item["path"]: keys[item["key"]] for item in volume["secret"]["items"]}
        else:
            files, mode = {"config.toml": rendered.configuration.encode()}, 0o644
        target = folder / mount["name"]
        target.mkdir()
        for name, content in files.items():
            (target / name).write_bytes(content)
            os.chown(target / name, 0, group)
            (target / name).chmod(mode)
        yield f"--volume={target}:{mount['mountPath']}:ro"


@pytest.fixture(scope="module")
def pod(podman: Podman, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The image, run as the chart's `tls` values would have it."""
    rendered = Helm(helm_command()).render(f"--values={CHART / 'ci' / 'tls-values.yaml'}")
    chain, key = certificate()
    secrets = {"ship": {"api-key": b"a-key\n"}, "gateway-tls": {"tls.crt": chain, "tls.key": key}}
    security = rendered.pod["securityContext"]
    options = [f"--user={security['runAsUser']}:{security['runAsGroup']}"]
    options += [f"--env={name}={text}" for name, text in rendered.environment.items()]
    # Kubernetes takes it from the Secret. Nobody listens there: a pod starts all the same.
    options += ["--env=ALLOCATION_GATEWAY_STORE_URL=redis://127.0.0.1:6379/0"]
    options += mounts(rendered, secrets, tmp_path_factory.mktemp("volumes"))
    with running(podman, image, *options, command=tuple(rendered.container["args"])) as started:
        yield started


def test_the_listener_speaks_tls_with_the_mounted_certificate(podman: Podman, pod: Container) -> None:
    ask = ("exec", pod.name, "allocation-gateway", "health", "--address", "localhost:50051")
    assert podman(*ask, "--ca-file", CERTIFICATE).stdout.strip() == "SERVING"
    assert podman(*ask, check=False).returncode == 1


def test_the_port_that_probes_ask_answers_without_tls(podman: Podman, pod: Container) -> None:
    asked = podman("exec", pod.name, "allocation-gateway", "health", "--address", "localhost:50052")
    assert asked.stdout.strip() == "SERVING"
