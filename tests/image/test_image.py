"""What the container image does, and what it does not hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from allocation_gateway.version import __version__
from support.container import LOCKED_DOWN, run, running

if TYPE_CHECKING:
    from support.container import Container, Image, Podman

pytestmark = pytest.mark.image

CALL = Path(__file__).with_name("call.py")
# What comes from no index.
OURS = {"allocation-gateway", "allocation-gateway-client"}


def process_status(pid: int) -> dict[str, list[str]]:
    """Returns what the kernel says about a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def test_a_container_answers_the_documented_call(container: Container) -> None:
    network = f"--net=/proc/{container.pid}/ns/net"
    answer = json.loads(run("nsenter", network, sys.executable, str(CALL), "127.0.0.1:50051").stdout)
    assert answer == {"carrier": "Lineten", "price": [2, 0, "GBP"], "tracking": ["43765709"], "excluded": 4}


def test_the_gateway_is_process_1_and_neither_root_nor_capable(container: Container) -> None:
    status = process_status(container.pid)
    assert status["NSpid"][-1] == "1"
    assert set(status["Uid"]) == set(status["Gid"]) == {"65532"}
    assert {status[name][0] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}


def test_kubernetes_can_tell_from_the_image_that_it_is_not_root(podman: Podman, image: Image) -> None:
    assert podman.inspect(image.name)["Config"]["User"] == "65532:65532"


def test_its_health_command_says_healthy(podman: Podman, image: Image, container: Container) -> None:
    kind, *command = podman.inspect(image.name)["Healthcheck"]["Test"]
    assert kind == "CMD"
    podman("exec", container.name, *command)


def test_sigterm_to_process_1_ends_it_with_code_0(podman: Podman, image: Image) -> None:
    with running(podman, image, "--env=ALLOCATION_GATEWAY_SHUTDOWN_DELAY=0") as container:
        podman("kill", "--signal=TERM", container.name)
        assert container.process.wait(timeout=30) == 0


def test_without_settings_it_ends_with_one_line_that_names_one(podman: Podman, image: Image) -> None:
    done = podman("run", "--rm", *LOCKED_DOWN, image.name, check=False)
    assert done.returncode not in {0, 125, 126, 127}, done.stderr
    assert done.stderr.count("\n") == 1
    assert "ALLOCATION_GATEWAY_" in done.stderr


def test_the_image_says_which_version_it_holds(podman: Podman, image: Image) -> None:
    labels = podman.inspect(image.name)["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert __version__ in podman("run", "--rm", *LOCKED_DOWN, image.name, "--version").stdout


def test_nothing_passed_into_the_build_stays_in_the_image(podman: Podman, image: Image) -> None:
    metadata = json.dumps(podman.inspect(image.name)) + podman("history", "--no-trunc", image.name).stdout
    assert image.canary not in metadata
    names = {setting.partition("=")[0] for setting in podman.inspect(image.name)["Config"]["Env"]}
    assert names == {
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "ALLOCATION_GATEWAY_HOST",
        "ALLOCATION_GATEWAY_HEALTH_PORT",
    }
    root = podman("image", "mount", image.name).stdout.strip()
    try:
        found = run("grep", "--recursive", "--files-with-matches", image.canary, root, check=False)
        assert (found.returncode, found.stdout) == (1, "")
        assert not Path(root, "run/secrets").exists()
    finally:
        podman("image", "unmount", image.name)


@pytest.mark.parametrize("module", ["pip", "hatchling", "setuptools"])
def test_the_image_holds_no_installer(podman: Podman, image: Image, module: str) -> None:
    done = podman("run", "--rm", *LOCKED_DOWN, "--entrypoint=python", image.name, "-c", f"import {module}", check=False)
    assert "ModuleNotFoundError" in done.stderr


def test_the_image_lists_what_it_is_made_of(podman: Podman, image: Image) -> None:
    """As CycloneDX, and just what is there: the list is made of the environment, not of what was asked for."""
    script = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.name.lower().replace('_', '-').replace('.', '-'): d.version for d in m.distributions()}))"
    )
    inside = ("run", "--rm", *LOCKED_DOWN, "--entrypoint=python", image.name, "-c")
    installed = json.loads(podman(*inside, script).stdout)
    listed = json.loads(podman(*inside, "print(open('/opt/allocation-gateway/sbom.cdx.json').read())").stdout)
    assert listed["bomFormat"] == "CycloneDX"
    assert {part["name"].lower().replace("_", "-"): part["version"] for part in listed["components"]} == installed
    assert installed["allocation-gateway"] == __version__
    assert all(part["purl"].startswith("pkg:pypi/") for part in listed["components"] if part["name"] not in OURS)
