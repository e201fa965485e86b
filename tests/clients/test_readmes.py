"""The clients' READMEs, followed to the letter in an empty folder outside the repository."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from clients.project import ROOT, text_of
from support.gateway import PREFIX, running_gateway
from support.interpreters import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients

SECONDS: Final = 300
# The oldest Python that the client runs with, and the one that runs these tests.
OLDEST: Final = "3.10"
CURRENT: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a fresh gateway in front of a fresh sandbox."""
    with running_gateway({}, "--sandbox") as gateway:
        yield gateway.address


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text_of(readme), re.DOTALL)


def run(folder: Path, commands: str, *, checkout: Path = ROOT, path: str = "") -> str:
    """Runs commands in a folder as a shell does, and returns what they print."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        ["sh", "-eu", "-c", commands.replace("<checkout>", str(checkout))],
        cwd=folder,
        env={**kept, "PATH": f"{path}{os.pathsep}{kept['PATH']}" if path else kept["PATH"]},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_go_client_is_had_as_its_readme_says(address: str, tmp_path: Path) -> None:
    readme = ROOT / "clients" / "go" / "README.md"
    install, begin = blocks(readme, "sh")[:2]
    programs = re.findall(r"```go\n(.*?)```\n\n```text\n(.*?)```", text_of(readme), re.DOTALL)
    assert len(programs) == len(blocks(readme, "go"))
    assert ROOT not in tmp_path.parents
    run(tmp_path, install)
    for program, printed in programs:
        (tmp_path / "main.go").write_text(program.replace("localhost:50051", address))
        assert run(tmp_path, begin) == printed


def test_a_copy_of_the_go_client_needs_no_checkout(address: str, tmp_path: Path) -> None:
    readme = ROOT / "clients" / "go" / "README.md"
    install, begin = blocks(readme, "sh")[:2]
    program = blocks(readme, "go")[0]
    (copy,) = re.findall(r"`(go mod vendor)`", readme.read_text())
    checkout, caller = tmp_path / "checkout", tmp_path / "caller"
    shutil.copytree(ROOT / "clients" / "go", checkout / "clients" / "go")
    caller.mkdir()
    run(caller, install, checkout=checkout)
    (caller / "main.go").write_text(program.replace("localhost:50051", address))
    tidy, start = begin.splitlines()
    run(caller, f"{tidy}\n{copy}")
    shutil.rmtree(checkout)
    assert run(caller, start).strip() == "Lineten 2.00 GBP"


def floors() -> str:
    """Returns what pip is told for it to install the oldest of everything that the Python client runs with."""
    project = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    return "\n".join(one.replace(">=", "==", 1) for one in needed)


@functools.cache
def wheel() -> str:
    """Builds the wheel as the README says, and returns where it is."""
    (command,) = re.findall(r"`(make dist-python)`", (ROOT / "clients" / "python" / "README.md").read_text())
    for old in (ROOT / "dist").glob("allocation_gateway_client-*.whl"):
        old.unlink()
    run(ROOT, command)
    (built,) = (ROOT / "dist").glob("allocation_gateway_client-*.whl")
    assert "dist-clients: dist-python " in (ROOT / "Makefile").read_text()
    return str(built)


@pytest.mark.parametrize(
    ("version", "constraints"), [(OLDEST, floors()), (CURRENT, "")], ids=["at the floor", "newest"]
)
def test_the_python_client_is_had_as_its_readme_says(
    version: str, constraints: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every snippet of it is run with what is installed, prints what stands below it, and has its types checked."""
    readme = ROOT / "clients" / "python" / "README.md"
    assert f"Python {OLDEST}" in readme.read_text()
    (tmp_path / "constraints.txt").write_text(constraints)
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    subprocess.run([interpreter(version), "-m", "venv", tmp_path / "venv"], check=True)
    path = str(tmp_path / "venv" / "bin")
    for commands in blocks(readme, "sh"):
        # The newest of all is that for which the wheel is tried that goes to an index.
        run(tmp_path, commands if constraints else commands.replace("<checkout>/clients/python", wheel()), path=path)
    installed = run(tmp_path, "python -c 'import allocation_gateway_client as it; print(it.__file__)'", path=path)
    package = Path(installed.strip()).parent
    assert tmp_path in package.parents
    assert (package / "py.typed").is_file()
    snippets = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", text_of(readme), re.DOTALL)
    assert len(snippets) == len(blocks(readme, "python"))
    for number, (program, printed) in enumerate(snippets):
        (tmp_path / f"snippet_{number}.py").write_text(program.replace("127.0.0.1:50051", address))
        assert run(tmp_path, f"python -W error snippet_{number}.py", path=path) == printed
    mypy = [sys.executable, "-m", "mypy", "--python-executable", f"{path}/python", "--check-untyped-defs"]
    checked = subprocess.run(
        [*mypy, *sorted(tmp_path.glob("snippet_*.py"))], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_allocctl_prints_what_the_readme_of_the_python_client_shows(address: str, tmp_path: Path) -> None:
    readme = ROOT / "clients" / "python" / "README.md"
    (console,) = blocks(readme, "console")
    command, printed = console.removeprefix("$ ").split("\n", 1)
    path = str(Path(sys.executable).parent)
    assert run(tmp_path, f"{command} --address {address}", path=path) == printed
    (text,) = blocks(readme, "toml")
    (tmp_path / "profiles.toml").write_text(text.replace("127.0.0.1:50051", address))
    assert "valuables" in run(tmp_path, "allocctl groups --profiles profiles.toml", path=path)
    complete = """bash -c 'eval "$(allocctl completion bash)"; complete -p allocctl'"""
    assert "_allocctl_completion" in run(tmp_path, complete, path=path)
