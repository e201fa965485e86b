"""What the container images do, and what they do not hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from allocation_gateway.version import __version__
from support.container import ALONE, BASE, LOCKED_DOWN, REVISION, run, running

if TYPE_CHECKING:
    from support.container import Container, Image, Podman

pytestmark = pytest.mark.image

CALL = Path(__file__).with_name("call.py")
# What comes from no index.
OURS = {"allocation-gateway", "allocation-gateway-client", "allocation-gateway-sandbox"}
# What runs within a container that ends by itself.
ONCE = ("run", "--rm", ALONE, *LOCKED_DOWN)
INSTALLERS = ("pip", "hatchling", "setuptools")
OF_AIOHTTP = ("aiohttp", "aiosignal", "attr", "frozenlist", "multidict", "propcache", "yarl")
OF_THE_SANDBOX = ("allocation_gateway.sandbox", *OF_AIOHTTP)


def process_status(pid: int) -> dict[str, list[str]]:
    """Returns what the kernel says about a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def test_a_container_answers_the_documented_call(container: Container) -> None:
    """That of the image for production, with the sandbox in another one."""
    network = f"--net=/proc/{container.pid}/ns/net"
    answer = json.loads(run("nsenter", network, sys.executable, str(CALL), "127.0.0.1:50051").stdout)
    assert answer == {"carrier": "Lineten", "price": [2, 0, "GBP"], "tracking": ["43765709"], "excluded": 4}


def test_the_image_with_the_sandbox_needs_no_other(podman: Podman, sandbox_image: Image) -> None:
    with running(podman, sandbox_image, command=("serve", "--sandbox")) as both:
        done = podman("exec", both.name, "allocation-gateway", "demo")
    assert done.stdout.rstrip().endswith("Lineten, 2.00 GBP, tracking 43765709, 4 excluded services")


@pytest.mark.parametrize("command", [("sandbox", "--port", "8080"), ("serve", "--sandbox")])
def test_the_image_for_production_says_where_the_sandbox_is(
    podman: Podman, image: Image, command: tuple[str, ...]
) -> None:
    done = podman(*ONCE, image.name, *command, check=False)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if not line.startswith("{")] == [
        "allocation-gateway: the sandbox is not installed: it comes with allocation-gateway[sandbox], and with images "
        "of the target sandbox"
    ]


def modules(podman: Podman, image: Image, *names: str) -> list[str]:
    """Returns which of some modules an image has."""
    script = f"import importlib.util as u, json; print(json.dumps([n for n in {names} if u.find_spec(n)]))"
    found: list[str] = json.loads(podman(*ONCE, "--entrypoint=python", image.name, "-c", script).stdout)
    return found


def test_the_image_for_production_holds_neither_the_sandbox_nor_an_installer(podman: Podman, image: Image) -> None:
    assert modules(podman, image, *INSTALLERS, *OF_THE_SANDBOX, "allocation_gateway.app") == ["allocation_gateway.app"]


def test_the_image_with_the_sandbox_holds_no_installer(podman: Podman, sandbox_image: Image) -> None:
    """It has what the other must not have: so that is looked for by the right names."""
    assert modules(podman, sandbox_image, *INSTALLERS, *OF_THE_SANDBOX) == [*OF_THE_SANDBOX]


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
    done = podman(*ONCE, image.name, check=False)
    assert done.returncode not in {0, 125, 126, 127}, done.stderr
    assert done.stderr.count("\n") == 1
    assert "ALLOCATION_GATEWAY_" in done.stderr


@pytest.mark.parametrize("which", ["image", "sandbox_image"])
def test_nothing_in_the_image_can_install_a_package(podman: Podman, which: str, request: pytest.FixtureRequest) -> None:
    """Neither in the environment of the gateway nor in the base, whose copies of pip are for making environments."""
    image: Image = request.getfixturevalue(which)
    with podman.files(image) as root:
        found = [str(path.relative_to(root)) for path in root.rglob("*") if is_installer(path)]
    assert found == []
    assert modules(podman, image, "ensurepip") == []


def is_installer(path: Path) -> bool:
    """Returns whether a file or folder is of a program that installs Python packages."""
    return path.name in {"pip", "ensurepip", "setuptools"} or (path.suffix == ".whl" and path.name.startswith("pip-"))


def test_the_base_of_the_tests_has_what_the_image_must_not_have(podman: Podman, image: Image) -> None:
    """Or else the test above could not fail."""
    script = "import ensurepip; print(ensurepip.version())"
    there = podman(*ONCE, "--entrypoint=python3", BASE, "-c", script)
    assert there.stdout.strip()


def test_the_image_says_which_version_it_holds(podman: Podman, image: Image) -> None:
    labels = podman.inspect(image.name)["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__, "also if nobody has said so"
    assert labels["org.opencontainers.image.revision"] == REVISION
    assert labels["org.opencontainers.image.base.name"] == BASE
    assert __version__ in podman(*ONCE, image.name, "--version").stdout


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
    with podman.files(image) as root:
        found = run("grep", "--recursive", "--files-with-matches", image.canary, str(root), check=False)
        assert (found.returncode, found.stdout) == (1, "")
        assert not (root / "run/secrets").exists()


@pytest.mark.parametrize("which", ["image", "sandbox_image"])
def test_the_image_lists_what_it_is_made_of(podman: Podman, which: str, request: pytest.FixtureRequest) -> None:
    """As CycloneDX, and just what is there: the list is made of the environment, not of what was asked for."""
    image: Image = request.getfixturevalue(which)
    script = (
        "import importlib.metadata as m, json, pathlib; "
        "there = {d.name.lower().replace('_', '-').replace('.', '-'): d.version for d in m.distributions()}; "
        "print(json.dumps([there, json.loads(pathlib.Path('/opt/allocation-gateway/sbom.cdx.json').read_text())]))"
    )
    installed, listed = json.loads(podman(*ONCE, "--entrypoint=python", image.name, "-c", script).stdout)
    assert listed["bomFormat"] == "CycloneDX"
    assert {part["name"].lower().replace("_", "-"): part["version"] for part in listed["components"]} == installed
    assert installed["allocation-gateway"] == __version__
    assert installed.keys() & OURS == (OURS if which == "sandbox_image" else OURS - {"allocation-gateway-sandbox"})
    assert ("aiohttp" in installed) is (which == "sandbox_image")
    assert all(part["purl"].startswith("pkg:pypi/") for part in listed["components"] if part["name"] not in OURS)
