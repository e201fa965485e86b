"""Runs a control plane of Kubernetes and its nodes, and talks to its API."""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.chart import CHART, NAME, ROOT, helm_command
from support.gateway import COMMAND

from e2e.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PROGRAMS: Final = ROOT / ".cache" / "e2e"
# A gateway and a chart of an earlier version: see build.sh.
PREVIOUS: Final = PROGRAMS / "previous"
NAMESPACE: Final = "shop"
# Of the sandbox.
KEY: Final = "sandbox-key"
# Of the network that enter.sh makes: nothing of it can be reached from outside.
_SERVER: Final = "10.64.255.1"
_SERVICES: Final = "10.96.0.0/16"
_NAME_SERVER: Final = "10.96.0.10"
_TOKEN: Final = "of-a-cluster-that-nobody-else-can-reach"  # noqa: S105
_START: Final = 120.0
_LOOK_AGAIN: Final = 0.2

Object = dict[str, Any]


class Kubernetes:
    """The API of a cluster.

    Attributes:
        kubeconfig: A file that tells others how to reach it.
        connections: Those of its pods.
    """

    def __init__(self, kubeconfig: Path, authority: Path) -> None:
        self.kubeconfig = kubeconfig
        context = ssl.create_default_context(cafile=str(authority))
        headers = {"authorization": f"Bearer {_TOKEN}"}
        self._client = httpx.Client(
            base_url=f"https://{_SERVER}:6443", verify=context, headers=headers, timeout=30, trust_env=False
        )
        self.connections = Connections()

    def close(self) -> None:
        """Closes its connections."""
        self.connections.close()
        self._client.close()

    def follow_pods(self) -> None:
        """Tells the connections whose addresses they are, from now on."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?watch=true"

        def follow() -> None:
            try:
                with self._client.stream("GET", path, timeout=None) as answer:
                    for line in answer.iter_lines():
                        self.connections.note(json.loads(line)["object"])
            except (httpx.HTTPError, RuntimeError):
                # The client is closed at the end.
                if not self._client.is_closed:
                    raise

        threading.Thread(target=follow, name="pods", daemon=True).start()

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> httpx.Response:
        """Calls it."""
        content = None if body is None else json.dumps(body)
        return self._client.request(method, path, content=content, headers={"content-type": kind})

    def get(self, path: str) -> Any:
        """Returns an object or a list of them."""
        return self.call("GET", path).raise_for_status().json()

    def items(self, path: str) -> list[Object]:
        """Returns the objects of a list."""
        found: list[Object] = self.get(path)["items"]
        return found

    def merge(self, path: str, change: Object) -> Any:
        """Changes an object."""
        return self.call("PATCH", path, change, "application/merge-patch+json").raise_for_status().json()

    def pods(self, name: str = NAME) -> list[Object]:
        """Returns the pods of the gateway, or of what stands beside it, that do not end."""
        found = self.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/name={name}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, service: str) -> list[str]:
        """Returns the addresses at which a Service is ready."""
        found = self.items(
            f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
            f"?labelSelector=kubernetes.io/service-name={service}"
        )
        return [
            address
            for piece in found
            for endpoint in piece["endpoints"] or []
            if endpoint["conditions"]["ready"]
            for address in endpoint["addresses"]
        ]

    def set_data(self, kind: str, name: str, data: Mapping[str, bytes]) -> None:
        """Makes a ConfigMap or a Secret, or replaces what it holds."""
        body: Object = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
        if kind == "Secret":
            body["data"] = {key: base64.b64encode(value).decode() for key, value in data.items()}
        else:
            body["data"] = {key: value.decode() for key, value in data.items()}
        path = f"/api/v1/namespaces/{NAMESPACE}/{kind.lower()}s"
        if self.call("PUT", f"{path}/{name}", body).status_code == httpx.codes.NOT_FOUND:
            self.call("POST", path, body).raise_for_status()

    def stand_in(self, name: str, address: str, port: int, *, headless: bool) -> None:
        """Gives what is outside of the cluster a name in it: that of a Service without pods."""
        spec: Object = {"ports": [{"name": "it", "port": port, "protocol": "TCP"}]}
        if headless:
            spec["clusterIP"] = "None"
        path = f"/api/v1/namespaces/{NAMESPACE}/services"
        self.call("POST", path, {"metadata": {"name": name}, "spec": spec}).raise_for_status()
        piece = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "it", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        }
        path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
        self.call("POST", path, piece).raise_for_status()

    def wait(self, what: str, true: Callable[[], object], seconds: float = 120.0) -> None:
        """Waits until something is true of the cluster."""
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                pods = self.items(f"/api/v1/namespaces/{NAMESPACE}/pods")
                told = {pod["metadata"]["name"]: pod["status"].get("containerStatuses") for pod in pods}
                pytest.fail(f"After {seconds} s it is still not so that {what}: {json.dumps(told, indent=1)}")
            time.sleep(_LOOK_AGAIN)


def helm(kubernetes: Kubernetes, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs helm on the cluster."""
    return subprocess.run(
        [helm_command(), "--namespace", NAMESPACE, "--kubeconfig", str(kubernetes.kubeconfig), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    """Returns what a command printed, unless it failed."""
    if done.returncode != 0:
        pytest.fail(f"{' '.join(done.args)}\n{done.stdout}{done.stderr}")
    return done.stdout


def app_version() -> str:
    """Returns the tag of the image that the chart uses by itself."""
    version: str = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    return version


def image_variables(dockerfile: Path) -> dict[str, str]:
    """Returns the variables of the image that a Dockerfile makes, but for its PATH."""
    blocks = re.findall(r"^ENV ((?:.*\\\n)*.*)$", dockerfile.read_text(), re.MULTILINE)
    (block,) = (block for block in blocks if "ALLOCATION_GATEWAY_" in block)
    pairs = (pair.split("=", 1) for pair in block.replace("\\\n", " ").split())
    return {name: value for name, value in pairs if name != "PATH"}


def images() -> Object:
    """Returns all images by name: those of this version under two tags, and that of an earlier one."""

    def image(command: str, dockerfile: Path) -> Object:
        return {"entrypoint": [command], "command": ["serve"], "env": image_variables(dockerfile)}

    own = image(COMMAND, ROOT / "Dockerfile")
    found = {f"{NAME}:{tag}{kind}": own for tag in (app_version(), "next") for kind in ("", "-sandbox")}
    earlier = image(str(PREVIOUS / "venv" / "bin" / NAME), PREVIOUS / "source" / "Dockerfile")
    return {**found, f"{NAME}:previous": earlier}


@contextmanager
def _running(name: str, folder: Path, *arguments: str, told: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program of the cluster, whose output is a file in the folder, until the end of the block."""
    file = folder / f"{name}.log"
    with file.open("wb") as output:
        process = subprocess.Popen([str(PROGRAMS / name), *arguments], stdout=output, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + _START
            while told not in file.read_text(errors="replace"):
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"{name} does not start: {file.read_text(errors='replace')[-2000:]}", pytrace=False)
                time.sleep(_LOOK_AGAIN)
            yield process
        finally:
            process.kill()
            process.wait()


def _write_keys(folder: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "accounts.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    (folder / "accounts.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')


def _kubeconfig(folder: Path) -> Path:
    file = folder / "kubeconfig"
    cluster = {"server": f"https://{_SERVER}:6443", "certificate-authority": str(folder / "apiserver.crt")}
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "e2e", "cluster": cluster}],
                "users": [{"name": "admin", "user": {"token": _TOKEN}}],
                "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "admin"}}],
                "current-context": "e2e",
            }
        )
    )
    return file


def _answers(server: subprocess.Popen[bytes], folder: Path) -> Kubernetes:
    """Waits until the API server is ready. Returns its API."""
    end = time.monotonic() + _START
    while time.monotonic() < end and server.poll() is None:
        try:
            kubernetes = Kubernetes(folder / "kubeconfig", folder / "apiserver.crt")
        except (FileNotFoundError, ssl.SSLError):
            # It has not written its certificate yet.
            time.sleep(_LOOK_AGAIN)
            continue
        try:
            if kubernetes.call("GET", "/readyz").status_code == httpx.codes.OK:
                return kubernetes
        except httpx.TransportError:
            pass
        kubernetes.close()
        time.sleep(_LOOK_AGAIN)
    log = (folder / "kube-apiserver.log").read_text(errors="replace")
    pytest.fail(f"The API server is not ready: {log[-3000:]}", pytrace=False)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Kubernetes]:
    """Runs a cluster of two nodes, with a namespace for the gateway that takes restricted pods alone."""
    needed = ("etcd", "kube-apiserver", "node", "load", "previous")
    missing = [name for name in needed if not (PROGRAMS / name).exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)} must be built: run make e2e", pytrace=False)
    _write_keys(folder)
    kubeconfig = f"--kubeconfig={_kubeconfig(folder)}"
    (folder / "images.json").write_text(json.dumps(images()))
    certificates = f"--cert-dir={folder}"
    with ExitStack() as stack:
        run = stack.enter_context
        run(_running("etcd", folder, f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", told="ready to serve"))
        server = run(
            _running(
                "kube-apiserver",
                folder,
                "--etcd-servers=http://127.0.0.1:2379",
                certificates,
                f"--advertise-address={_SERVER}",
                f"--service-cluster-ip-range={_SERVICES}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder / 'accounts.pub'}",
                f"--service-account-signing-key-file={folder / 'accounts.key'}",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
            )
        )
        kubernetes = _answers(server, folder)
        stack.callback(kubernetes.close)
        run(
            _running(
                "kube-controller-manager",
                folder,
                kubeconfig,
                certificates,
                "--leader-elect=false",
                f"--service-account-private-key-file={folder / 'accounts.key'}",
                # How often it looks at metrics. By default that is every 15 s.
                "--horizontal-pod-autoscaler-sync-period=2s",
            )
        )
        run(_running("kube-scheduler", folder, kubeconfig, certificates, "--leader-elect=false"))
        state = folder / "nodes"
        arguments = (kubeconfig, f"--state={state}", f"--images={folder / 'images.json'}", f"--dns={_NAME_SERVER}")
        run(_running("node", folder, *arguments, told="ready\n"))
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        kubernetes.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
        kubernetes.follow_pods()
        _resolve_names(folder)
        yield kubernetes


def _resolve_names(folder: Path) -> None:
    """Has this process and those that it starts find Services by name, as pods do."""
    file = folder / "resolv.conf"
    file.write_text(f"nameserver {_NAME_SERVER}\noptions ndots:5\n")
    subprocess.run(["mount", "--bind", str(file), "/etc/resolv.conf"], check=True)
