"""The clients' READMEs, followed to the letter in an empty folder outside the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from support.gateway import PREFIX, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 300


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a fresh gateway in front of a fresh sandbox."""
    with running_gateway({}, "--sandbox") as gateway:
        yield gateway.address


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(), re.DOTALL)


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
    (program,) = blocks(readme, "go")
    assert ROOT not in tmp_path.parents
    run(tmp_path, install)
    (tmp_path / "main.go").write_text(program.replace("localhost:50051", address))
    assert run(tmp_path, begin).strip() == "Lineten 2.000000000 GBP"


def test_a_copy_of_the_go_client_needs_no_checkout(address: str, tmp_path: Path) -> None:
    readme = ROOT / "clients" / "go" / "README.md"
    install, begin = blocks(readme, "sh")[:2]
    (program,) = blocks(readme, "go")
    (copy,) = re.findall(r"`(go mod vendor)`", readme.read_text())
    checkout, caller = tmp_path / "checkout", tmp_path / "caller"
    shutil.copytree(ROOT / "clients" / "go", checkout / "clients" / "go")
    caller.mkdir()
    run(caller, install, checkout=checkout)
    (caller / "main.go").write_text(program.replace("localhost:50051", address))
    tidy, start = begin.splitlines()
    run(caller, f"{tidy}\n{copy}")
    shutil.rmtree(checkout)
    assert run(caller, start).strip() == "Lineten 2.000000000 GBP"


def test_the_python_client_is_had_as_its_readme_says(address: str, tmp_path: Path) -> None:
    readme = ROOT / "clients" / "python" / "README.md"
    venv.create(tmp_path / "venv", with_pip=True)
    path = str(tmp_path / "venv" / "bin")
    for commands in blocks(readme, "sh"):
        run(tmp_path, commands, path=path)
    call, explain = blocks(readme, "python")
    call = call.replace("127.0.0.1:50051", address)
    (tmp_path / "call.py").write_text(f"{call}\nprint(response)")
    unknown = call.replace("sp_00794403010635468411384028069888", "sp_00000000000000000000000000000000")
    assert unknown != call
    failing = explain.replace("    ...\n", "".join(f"    {line}\n" for line in unknown.splitlines() if line))
    assert failing != explain
    (tmp_path / "explain.py").write_text(failing)
    assert "state:" in run(tmp_path, "python call.py", path=path)
    assert run(tmp_path, "python explain.py", path=path).startswith("SHIPMENT_NOT_FOUND {")
