"""Which Pythons are supported is said alike wherever it is said, and trying them leaves none out."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).resolve().parents[2]
GATEWAY: Final = Path("pyproject.toml")
CLIENT: Final = Path("clients/python/pyproject.toml")
SANDBOX: Final = Path("server/allocation_gateway/sandbox/pyproject.toml")
CLASSIFIER: Final = "Programming Language :: Python :: "


def project(file: Path) -> Mapping[str, object]:
    found: Mapping[str, object] = tomllib.loads((ROOT / file).read_text())["project"]
    return found


def supported(file: Path) -> list[str]:
    classifiers = project(file)["classifiers"]
    assert isinstance(classifiers, list)
    return [name.removeprefix(CLASSIFIER) for name in classifiers]


OLDEST, *NEWER = supported(GATEWAY)
NEWEST: Final = NEWER[-1]


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("file", [GATEWAY, CLIENT, SANDBOX], ids=str)
def test_a_package_is_for_every_python_from_its_oldest_to_the_newest(file: Path) -> None:
    versions = supported(file)
    assert project(file)["requires-python"] == f">={versions[0]}"
    first = number(versions[0])
    assert list(map(number, versions)) == [(first[0], first[1] + step) for step in range(len(versions))]
    assert versions[-1] == NEWEST


def test_every_python_newer_than_the_one_of_the_image_is_tried() -> None:
    (tried,) = re.findall(r"^PYTHONS \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert tried.split() == NEWER
    assert f"ARG BASE_IMAGE=python:{OLDEST}-" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("document", "oldest"),
    [
        ("README.md", OLDEST),
        ("CONTRIBUTING.md", OLDEST),
        ("Dockerfile", OLDEST),
        ("docs/image.md", OLDEST),
        ("clients/python/README.md", supported(CLIENT)[0]),
    ],
)
def test_a_document_names_the_oldest_and_the_newest(document: str, oldest: str) -> None:
    text = " ".join((ROOT / document).read_text().split())
    assert set(re.findall(r"Python (3\.\d+ to 3\.\d+)", text)) == {f"{oldest} to {NEWEST}"}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs tests on Pythons of a folder, where there is no pyenv, nor what fetches packages."""
    variables = {"PATH": str(folder), "PYENV_ROOT": str(folder), "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "pythons.run", *arguments]
    return subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False)


def test_a_python_that_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Nothing is tried on the others then: a run that ends well has tried all that it was told to."""
    tried = tmp_path / "tried"
    test = tmp_path / "test_trial.py"
    test.write_text(f"def test_trial() -> None:\n    open({str(tried)!r}, 'w').close()\n")
    (tmp_path / f"python{OLDEST}").symlink_to(sys.executable)
    done = run(tmp_path, "3.98", OLDEST, "3.99", "--", str(test))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "python3.98 is missing; python3.99 is missing: install it, or have pyenv do so\n"
    assert not tried.exists()


def test_a_failure_on_one_python_does_not_keep_the_others_from_being_tried(tmp_path: Path) -> None:
    for version in ("3.98", "3.99"):
        program = tmp_path / f"python{version}"
        program.write_text('#!/bin/sh\n[ -z "$2" ] && exit\necho "$0" >>tried\nexit 1\n')
        program.chmod(0o755)
    done = run(tmp_path, "3.98", "3.99", "--")
    assert (tmp_path / "tried").read_text() == f"{tmp_path}/python3.98\n{tmp_path}/python3.99\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Failed on Python 3.98, 3.99\n"
