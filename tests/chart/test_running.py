"""The processes of a release, run with the arguments, the environment and the files that the chart gives them.

There is no cluster: each pod has an address of its own on loopback, names of Services are replaced by these, and the
files of volumes are below a folder of the test.
"""

from __future__ import annotations

import ipaddress
import random
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.demo import SHIPMENT
from support.certificates import Authority
from support.chart import CHART, NAME, Rendered
from support.gateway import COMMAND, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.chart import Helm

pytestmark = pytest.mark.chart

SECONDS: Final = 60.0
FILES: Final = "/etc/allocation-gateway"


def address() -> str:
    """Returns an address of this machine that no other test has."""
    return str(ipaddress.ip_address("127.64.0.0") + random.randrange(2, 2**22))  # noqa: S311


class Pod:
    """What the gateway's container of a pod is run with.

    Attributes:
        ip: The pod's address.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path, names: Mapping[str, str]) -> None:
        self.ip = address()
        (self._container,) = spec["containers"]
        self._texts = {"$(POD_IP)": self.ip, FILES: str(folder), **names}

    def _text(self, text: str) -> str:
        for name, replacement in self._texts.items():
            text = text.replace(name, replacement)
        return text

    @property
    def command(self) -> list[str]:
        """The command line."""
        return [COMMAND, *(self._text(str(argument)) for argument in self._container["args"])]

    @property
    def environment(self) -> dict[str, str]:
        """The environment."""
        entries = {entry["name"]: entry["value"] for entry in self._container.get("env", []) if "value" in entry}
        return environment({name: self._text(text) for name, text in entries.items()})

    def run(self, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs it until it ends by itself, with further options and variables."""
        given = {**self.environment, **more}
        return subprocess.run(
            [*self.command, *options], env=given, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    @contextmanager
    def running(self, told: str) -> Iterator[None]:
        """Runs it, from the line in which it tells that it listens to the end of the block."""
        with subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                lines = []
                for line in process.stdout:
                    lines.append(line)
                    if told in line:
                        break
                else:
                    pytest.fail(f"{self.command} has ended: {lines}", pytrace=False)
                yield
            finally:
                process.kill()


def lay_out(rendered: Rendered, folder: Path, **files: bytes) -> None:
    """Writes the configuration and other files to where pods have them below a folder."""
    contents = {"config/config.toml": rendered.configuration.encode(), **files}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def channel_to(pod: Pod, authority: Path | None) -> grpc.Channel:
    """Returns a channel to a pod, with TLS if there is an authority."""
    if authority is None:
        return grpc.insecure_channel(f"{pod.ip}:50051")
    named = [("grpc.ssl_target_name_override", f"{NAME}.default.svc")]
    return grpc.secure_channel(f"{pod.ip}:50051", grpc.ssl_channel_credentials(authority.read_bytes()), named)


@pytest.mark.parametrize("secured", [False, True], ids=["plaintext", "tls and required ids"])
def test_two_pods_and_helm_test_allocate_in_one_sandbox(helm: Helm, tmp_path: Path, secured: bool) -> None:
    more = ["--set=tls.secretName=gateway-tls,settings.request_id_required=true"] if secured else []
    rendered = helm.render("--set=sandbox.enabled=true", "--set-string=host=$(POD_IP)", *more)
    chain, key = Authority(tmp_path).issue("gateway", host=f"{NAME}.default.svc")
    certificate = {"tls/tls.crt": chain.read_bytes(), "tls/tls.key": key.read_bytes()}
    lay_out(rendered, tmp_path, **certificate, **{"authorities/tls.crt": chain.read_bytes()})
    sandbox = Pod(rendered.one("Deployment", "sandbox")["spec"]["template"]["spec"], tmp_path, {})
    names = {rendered.one("Service", "sandbox")["metadata"]["name"]: sandbox.ip}
    pods = [Pod(rendered.pod, tmp_path, names) for _ in range(2)]
    test = Pod(rendered.one("Pod", "test")["spec"], tmp_path, {**names, f"{NAME}.default.svc": pods[0].ip})
    # The address stands where the name was for which the certificate is.
    named = ["--server-name", f"{NAME}.default.svc"] if secured else []
    with ExitStack() as stack:
        stack.enter_context(sandbox.running("Sandbox listening"))
        for pod in pods:
            stack.enter_context(pod.running('"listening"'))
        done = test.run(*named)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("Lineten, 2.00 GBP")
        for pod in pods:
            with channel_to(pod, chain if secured else None) as channel:
                stub = ShipmentAllocationServiceStub(channel)
                read = stub.GetShipmentAllocation(
                    pb.GetShipmentAllocationRequest(shipment_reference=SHIPMENT), timeout=SECONDS
                )
            assert read.allocation.carrier.name == "Lineten"


@pytest.fixture
def checked(helm: Helm, tmp_path: Path) -> Pod:
    """The Job that checks the configuration, with the files that its volumes have."""
    rendered = helm.render(f"--values={CHART / 'ci' / 'tls-values.yaml'}")
    chain, key = Authority(tmp_path).issue("gateway")
    files = {"ship/api-key": b"a-key", "tls/tls.crt": chain.read_bytes(), "tls/tls.key": key.read_bytes()}
    lay_out(rendered, tmp_path, **files)
    return Pod(rendered.one("Job", "check")["spec"]["template"]["spec"], tmp_path, {})


STORE: Final = {"ALLOCATION_GATEWAY_STORE_URL": "rediss://store:6379/0"}


def test_the_job_accepts_what_works(checked: Pod) -> None:
    done = checked.run(**STORE)
    assert (done.returncode, done.stdout) == (0, "The configuration is valid.\n"), done.stderr


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("the certificate", "ALLOCATION_GATEWAY_TLS_KEY_FILE: cannot be used with"),
        ("the key of the API", "ALLOCATION_GATEWAY_SHIP_API_KEY_FILE: the file is empty"),
        ("a variable", "OTEL_TRACES_SAMPLER: must be"),
        ("the URL of the store", "ALLOCATION_GATEWAY_STORE_URL:"),
    ],
)
def test_the_job_refuses_what_only_the_gateway_can_tell(checked: Pod, tmp_path: Path, broken: str, told: str) -> None:
    more = dict(STORE)
    if broken == "the certificate":
        (tmp_path / "tls" / "tls.key").write_bytes(Authority(tmp_path, "other").issue("other")[1].read_bytes())
    elif broken == "the key of the API":
        (tmp_path / "ship" / "api-key").write_bytes(b"\n")
    elif broken == "a variable":
        more["OTEL_TRACES_SAMPLER"] = "sometimes"
    else:
        more["ALLOCATION_GATEWAY_STORE_URL"] = "redis://pass/word@store:6379/0"
    done = checked.run(**more)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
