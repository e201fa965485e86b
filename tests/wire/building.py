"""Clients in other languages, built from locked sources into .cache, where the next run finds them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from wire.contract import write_contract

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
CACHE: Final = ROOT / ".cache"
# So long only on a machine that has much else to do.
INSTALL_SECONDS: Final = 600
BUILD_SECONDS: Final = 1_200
# Other tests run meanwhile.
GIVING_WAY: Final = ("nice", "-n", "10")


def tool(name: str) -> str:
    """Returns the path of a command. Without it this suite fails: skipping would hide that nothing was proved."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(
            f"{name} is missing: test-wire needs Go 1.26, Node 20, Java 17 with Maven, and Rust 1.85, or newer",
            pytrace=False,
        )
    return found


def contract() -> Path:
    """Writes the file of descriptors that clients without stubs read, and returns it."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / "contract.binpb"
    return write_contract(CACHE / f"contract.{os.getpid()}.binpb").replace(path)


def node_modules(source: str) -> Path:
    """Installs the packages of a client for Node. Returns the folder that they are in."""
    folder = CACHE / f"wire-{source}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / source / name, folder / name)
    command = [tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_SECONDS)
    return folder


def go_program(name: str) -> Path:
    """Builds a program of the module for Go."""
    program = CACHE / f"wire-go-{name}"
    command = [*GIVING_WAY, tool("go"), "-C", str(HERE / "go"), "build", "-o", str(program), f"./{name}"]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    return program


def java_classes() -> str:
    """Fetches the jars of the client for Java, compiles it, and returns the class path."""
    folder, source = CACHE / "wire-java", HERE / "java"
    jars, classes = folder / "jars", folder / "classes"
    lines = (source / "jars.sha256").read_text().splitlines()
    locked = {name: checksum for checksum, name in map(str.split, lines)}
    if _checksums(jars) != locked:
        shutil.rmtree(jars, ignore_errors=True)
        command = [
            *GIVING_WAY,
            tool("mvn"),
            "--quiet",
            "--batch-mode",
            "--strict-checksums",
            f"--file={source / 'pom.xml'}",
        ]
        command += [f"-Dmaven.repo.local={folder / 'repository'}", "dependency:copy-dependencies"]
        command += [f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
        assert _checksums(jars) == locked, "the jars are not those of jars.sha256"
    shutil.rmtree(classes, ignore_errors=True)
    command = [*GIVING_WAY, tool("javac"), "-Xlint:all", "-Werror", "-encoding", "UTF-8", "--release", "17"]
    command += ["-cp", f"{jars}/*", "-d", str(classes), *map(str, source.glob("*.java"))]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    return f"{classes}{os.pathsep}{jars}/*"


def _checksums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}


def rust_programs() -> Path:
    """Builds the client for Rust, and returns the folder that its programs are in."""
    target = CACHE / "wire-rust"
    done = subprocess.run(
        [*GIVING_WAY, tool("cargo"), "build", "--locked", "--quiet", f"--manifest-path={HERE / 'rust' / 'Cargo.toml'}"],
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target / "debug"
