"""Builds the images as a release does, on a base made of the distribution's packages, and runs them.

Nothing comes from an image registry. The containers get no network but their own loopback, so the image's own
addresses and ports are what is tested, and no port of the machine is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
TOOLS = ("mmdebstrap", "podman", "runc")
BASE = "localhost/base:test"
IMAGE = "localhost/allocation-gateway"
REVISION = "0123456789abcdef0123456789abcdef01234567"
TIME = 1_700_000_000
BUILD_SECONDS = 600
PIP_SETTINGS = frozenset({"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries"})
LOCKED_DOWN = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--no-healthcheck",  # It would need systemd's timers. A test runs its command instead.
    # podman's own limits are higher than what a sandboxed build machine may set.
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024",
)
ALONE = "--network=none"
# A gateway of the production image, which has no sandbox of its own. It starts whether or not one is there.
SERVE = ("serve", "--sandbox=http://127.0.0.1:8080")


def run(*command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs a command, and shows all it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        pytest.fail(f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
    return done


@dataclass(frozen=True)
class Podman:
    """podman with a store of its own, which ends with the tests."""

    options: tuple[str, ...]

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return run(*self.command(*arguments), check=check, timeout=timeout)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Returns the whole command line."""
        return ("podman", *self.options, *arguments)

    def inspect(self, name: str) -> dict[str, Any]:
        """Returns what podman knows about an image or a container."""
        found: list[dict[str, Any]] = json.loads(self("inspect", name).stdout)
        return found[0]

    @contextlib.contextmanager
    def files(self, image: Image) -> Iterator[Path]:
        """Has the files of an image below a folder."""
        folder = self("image", "mount", image.name).stdout.strip()
        try:
            yield Path(folder)
        finally:
            self("image", "unmount", image.name)


@dataclass(frozen=True)
class Container:
    """A running container of an image."""

    name: str
    process: subprocess.Popen[str]
    pid: int


@dataclass(frozen=True)
class Image:
    """An image, and a text that was in a file passed into its build."""

    name: str
    canary: str


def install_tools() -> None:
    """Installs what is missing, where that can be done; else one line says what is missing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        pytest.fail("the image suite must run as root: it makes containers", pytrace=False)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        pytest.fail(f"missing: {', '.join(missing)}", pytrace=False)
    run("apt-get", "update", timeout=BUILD_SECONDS)
    run("apt-get", "install", "--yes", "--no-install-recommends", *missing, timeout=BUILD_SECONDS)


def base_archive() -> Path:
    """Returns the root file system of the base. It is made once."""
    key = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    archive = CACHE / f"image-base-{key}.tar"
    if not archive.exists():
        CACHE.mkdir(exist_ok=True)
        unfinished = archive.with_suffix(f".{os.getpid()}.tar")
        options = ("--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}")
        run("mmdebstrap", *options, SUITE, str(unfinished), timeout=BUILD_SECONDS)
        unfinished.rename(archive)
    return archive


def host_pip_settings() -> dict[str, str]:
    """Returns how this machine's pip reaches its package index."""
    lines = run(sys.executable, "-m", "pip", "config", "list").stdout.splitlines()
    pairs = (line.partition("=") for line in lines)
    settings = {key.rpartition(".")[2]: " ".join(shlex.split(value)) for key, _, value in pairs}
    settings["timeout"] = settings.pop("default-timeout", settings.get("timeout", "60"))
    return settings


def build_secrets(folder: Path, canary: str) -> list[str]:
    """Writes the files that only the build may see, and returns the options that pass them."""
    host = host_pip_settings()
    config = [
        "[global]",
        f"# {canary}",
        *(f"{name} = {host[name]}" for name in sorted(PIP_SETTINGS & host.keys())),
    ]
    options = [f"--secret=id=pip_conf,src={folder / 'pip.conf'}"]
    paths = ssl.get_default_verify_paths()
    bundle = host.get("cert") or os.environ.get("SSL_CERT_FILE") or paths.cafile
    if bundle:
        config.append("cert = /run/secrets/ca_bundle")
        options.append(f"--secret=id=ca_bundle,src={bundle}")
    (folder / "pip.conf").write_text("\n".join(config) + "\n")
    return options


@contextlib.contextmanager
def podman_store() -> Iterator[Podman]:
    """Gives podman an empty store, and removes it."""
    install_tools()
    store = tempfile.mkdtemp(prefix="allocation-gateway-image-")
    folders = (f"--root={store}/root", f"--runroot={store}/run", f"--tmpdir={store}/libpod")
    overlay = run("podman", *folders, "--storage-driver=overlay", "info", check=False)
    driver = "overlay" if overlay.returncode == 0 else "vfs"
    options = (
        f"--storage-driver={driver}",
        "--runtime=runc",
        "--cgroup-manager=cgroupfs",
        "--log-level=fatal",
    )
    try:
        yield Podman((*folders, *options))
    finally:
        shutil.rmtree(store)


def import_base(podman: Podman) -> None:
    """Puts the base into a store."""
    podman("import", "--quiet", str(base_archive()), BASE, timeout=BUILD_SECONDS)


def build_image(podman: Podman, secrets: Path, *target: str, source: Path = ROOT) -> Image:
    """Builds an image, whose files all get one time.

    Args:
        podman: The store it goes to, which has the base.
        secrets: An empty folder for the files that only the build may see.
        target: The target of the Dockerfile. Without one it is what whoever names none gets.
        source: A checkout, by default the working tree.
    """
    canary = uuid.uuid4().hex
    name = ":".join((IMAGE, *(target or ("test",))))
    podman(
        "build",
        "--isolation=chroot",
        "--pull=never",
        "--format=docker",
        f"--timestamp={TIME}",
        f"--build-arg=BASE_IMAGE={BASE}",
        f"--build-arg=REVISION={REVISION}",
        *build_secrets(secrets, canary),
        *(f"--target={one}" for one in target),
        f"--tag={name}",
        str(source),
        timeout=BUILD_SECONDS,
    )
    return Image(name, canary)


@contextlib.contextmanager
def running(
    podman: Podman, image: Image, *options: str, command: tuple[str, ...] = SERVE, beside: Container | None = None
) -> Iterator[Container]:
    """Runs a gateway or a sandbox, locked down, and yields it once it listens.

    Args:
        podman: The store that has the image.
        image: The image.
        options: Further options of podman.
        command: What runs in it.
        beside: A container whose loopback it shares. It has one of its own otherwise.
    """
    name = f"gateway-{uuid.uuid4().hex[:8]}"
    network = ALONE if beside is None else f"--network=container:{beside.name}"
    run_it = podman.command("run", "--rm", f"--name={name}", network, *LOCKED_DOWN, *options, image.name, *command)
    with subprocess.Popen(run_it, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            await_listening(process)
            yield Container(name, process, podman.inspect(name)["State"]["Pid"])
        finally:
            podman("kill", "--signal=KILL", name, check=False)


def await_listening(process: subprocess.Popen[str]) -> None:
    """Reads what it says until it says that it listens."""
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        if line.startswith("Sandbox listening on "):
            return
        with contextlib.suppress(json.JSONDecodeError):
            if json.loads(line).get("event") == "listening":
                return
    pytest.fail("the container ended before it listened:\n" + "".join(seen), pytrace=False)
