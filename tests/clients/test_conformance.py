"""Every client does the same: all of clients/conformance, through each language's driver."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from clients.conformance import CASES, CLIENTS, matrix, problems, running_driver

if TYPE_CHECKING:
    from pathlib import Path

    from clients.node_project import NodeProject
    from support.gateway import Gateway

pytestmark = pytest.mark.clients

DRIVERS: Final = CLIENTS / "conformance" / "drivers"


@pytest.fixture
def commands(tmp_path: Path, typescript: NodeProject) -> dict[str, tuple[str, ...]]:
    """How the driver of each language is run, which is built if it has to be."""
    built = str(tmp_path / "driver")
    subprocess.run(["go", "build", "-o", built, "."], cwd=DRIVERS / "go", check=True, timeout=300)
    typescript.compile(DRIVERS / "typescript.ts")
    return {
        "Python": (sys.executable, str(DRIVERS / "python.py")),
        "Go": (built,),
        "TypeScript": ("node", str(typescript.folder / "typescript.js")),
    }


def test_every_client_keeps_every_case(
    gateway: Gateway, commands: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for language, command in commands.items():
        with running_driver(*command) as driver:
            found[language] = [problems(case, driver, gateway) for case in CASES]
    with capsys.disabled():
        print(f"\n{matrix(found)}")  # noqa: T201 # it is what the suite is for
    broken = {
        f"{language}: {case['name']}": problem
        for language, results in found.items()
        for case, problem in zip(CASES, results, strict=True)
        if problem
    }
    assert broken == {}
