"""The clients with the oldest and the newest of what they run with. test_readmes.py has those of the Python client."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest
from clients.java_project import SECONDS
from clients.project import ROOT
from support import toolchains
from support.toolchains import go, node

from clients.conformance import CASES, is_scripted, result, running_driver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from clients.java_project import JavaProject
    from clients.node_project import NodeProject

pytestmark = pytest.mark.floors

DRIVERS: Final = ROOT / "clients" / "conformance" / "drivers"
NODE: Final = ("20.0.0", "26.10.0")
JAVA: Final = ("11.0.13.1", "25.0.2.1")
GO: Final = ("1.26.0", "1.27.0")


def done(*command: str, cwd: Path, more: Mapping[str, str]) -> str:
    """Runs a command, and returns what it prints."""
    ran = subprocess.run(
        command, cwd=cwd, env={**os.environ, **more}, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("version", NODE)
def test_the_typescript_clients_own_tests_pass(typescript: NodeProject, version: str) -> None:
    assert typescript.folder.is_dir(), "what is tested was built with it"
    built = ROOT / ".cache" / "typescript"
    assert done(node(version), "--version", cwd=built, more={}).strip() == f"v{version}"
    tests = sorted(map(str, (built / "dist").glob("*.test.js")))
    printed = done(node(version), "--test", "--test-reporter=tap", *tests, cwd=built, more={})
    assert int(re.findall(r"^# pass (\d+)$", printed, re.MULTILINE)[0]) >= 1, printed
    assert re.findall(r"^# (?:fail|skipped|todo) (\d+)$", printed, re.MULTILINE) == ["0", "0", "0"]


def test_the_typescript_client_runs_with_the_oldest_of_what_it_is_built_on(
    typescript: NodeProject, tmp_path: Path
) -> None:
    assert typescript.folder.is_dir(), "what is tested was built with it"
    built = ROOT / ".cache" / "typescript"
    manifest = json.loads((built / "package.json").read_text())
    oldest = {name: version.removeprefix("^") for name, version in manifest["dependencies"].items()}
    assert all(version[0].isdigit() for version in oldest.values())
    (tmp_path / "package.json").write_text(json.dumps({"type": "module", "dependencies": oldest}))
    shutil.copytree(built / "dist", tmp_path / "dist")
    done("npm", "install", "--no-audit", "--no-fund", "--silent", cwd=tmp_path, more={})
    for name, version in oldest.items():
        installed = json.loads((tmp_path / "node_modules" / name / "package.json").read_text())
        assert installed["version"] == version
    tests = sorted(map(str, (tmp_path / "dist").glob("*.test.js")))
    printed = done("node", "--test", "--test-reporter=tap", *tests, cwd=tmp_path, more={})
    assert int(re.findall(r"^# pass (\d+)$", printed, re.MULTILINE)[0]) >= 1, printed


@pytest.mark.parametrize("version", JAVA)
def test_the_java_clients_own_tests_pass(java_build: tuple[str, ...], version: str) -> None:
    major = version.partition(".")[0]
    printed = subprocess.run([toolchains.java(version), "-version"], capture_output=True, text=True, check=True).stderr
    assert re.findall(r'version "(\d+)', printed) == [major]
    printed = done(*java_build, f"-Djvm={toolchains.java(version)}", "surefire:test", cwd=ROOT, more={})
    assert int(re.findall(r"Tests run: (\d+), Failures: 0, Errors: 0, Skipped: 0$", printed, re.MULTILINE)[-1]) >= 60


@pytest.fixture
def java_build(java: JavaProject) -> tuple[str, ...]:
    """The command of Maven's that goes on where the build of the client has ended."""
    assert java.folder.is_dir()
    pom = ROOT / "clients" / "java" / "pom.xml"
    return ("mvn", "--batch-mode", f"--file={pom}", f"-DbuildDirectory={ROOT / '.cache' / 'java'}")


@pytest.mark.parametrize("version", GO)
def test_the_go_clients_own_tests_pass(version: str) -> None:
    client = ROOT / "clients" / "go"
    assert f"go{version} " in done("go", "version", cwd=client, more=go(version))
    done("go", "vet", "./...", cwd=client, more=go(version))
    printed = done("go", "test", "-count=1", "-v", "./gateway", cwd=client, more=go(version))
    assert len(re.findall(r"^--- PASS", printed, re.MULTILINE)) >= 7, printed


def test_every_client_keeps_the_cases_that_need_no_gateway(
    typescript: NodeProject, java: JavaProject, tmp_path: Path
) -> None:
    """All at the same time, for they mostly wait."""
    typescript.compile(DRIVERS / "typescript.ts")
    java.compile(DRIVERS / "java" / "Driver.java")
    commands: dict[str, tuple[str, ...]] = {}
    for version in NODE:
        commands[f"Node {version}"] = (node(version), str(typescript.folder / "typescript.js"))
    for version in JAVA:
        commands[f"Java {version}"] = (toolchains.java(version), *java.command("Driver")[1:])
    for version in GO:
        built = str(tmp_path / version)
        done("go", "build", "-o", built, ".", cwd=DRIVERS / "go", more=go(version))
        commands[f"Go {version}"] = (built,)
    with ThreadPoolExecutor(len(commands)) as pool:
        found = dict(zip(commands, pool.map(broken, commands.values()), strict=True))
    assert found == {name: {} for name in commands}


def broken(command: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns what a driver does not keep, by case."""
    with running_driver(*command) as driver:
        found = {case["name"]: result(case, driver, None).problems for case in CASES if is_scripted(case)}
    return {name: problems for name, problems in found.items() if problems}
