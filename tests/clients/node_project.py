"""An empty project outside the repository that has the TypeScript client as its README says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from support.gateway import PREFIX

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "clients" / "typescript" / "README.md"
SECONDS: Final = 300


@dataclass(frozen=True)
class NodeProject:
    """The project.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    def run(self, commands: str) -> str:
        """Runs commands in it as a shell does, and returns what they print."""
        done = subprocess.run(
            ["sh", "-eu", "-c", commands.replace("<checkout>", str(ROOT))],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def compile(self, *sources: Path) -> None:
        """Compiles programs with the command of the README."""
        (command,) = re.findall(r"^(npx tsc .*) call\.ts$", README.read_text(), re.MULTILINE)
        for source in sources:
            if source.parent != self.folder:
                shutil.copy(source, self.folder)
        self.run(f"{command} {' '.join(source.name for source in sources)}")


def blocks(language: str) -> list[str]:
    """Returns the blocks of the README in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def node_project(folder: Path) -> NodeProject:
    """Makes it in an empty folder. Without npm this fails: skipping would hide that nothing was proved."""
    if shutil.which("npm") is None:
        pytest.fail("npm is missing: install Node 20 or newer", pytrace=False)
    made = NodeProject(folder)
    made.run(blocks("sh")[0])
    return made
