"""An empty project outside the repository that has the TypeScript client as its README says."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Final

import pytest
from clients.project import ROOT, Project, text_of

if TYPE_CHECKING:
    from pathlib import Path

README: Final = ROOT / "clients" / "typescript" / "README.md"
SECONDS: Final = 300


class NodeProject(Project):
    """The project."""

    def compile(self, *sources: Path) -> None:
        """Compiles programs with the command of the README."""
        (command,) = re.findall(r"^(npx tsc .*) call\.ts$", README.read_text(), re.MULTILINE)
        for source in sources:
            if source.parent != self.folder:
                shutil.copy(source, self.folder)
        self.run(f"{command} {' '.join(source.name for source in sources)}")


def blocks(language: str) -> list[str]:
    """Returns the blocks of the README in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(README), re.DOTALL)


def node_project(folder: Path) -> NodeProject:
    """Makes it in an empty folder. Without npm this fails: skipping would hide that nothing was proved."""
    if shutil.which("npm") is None:
        pytest.fail("npm is missing: install Node 20 or newer", pytrace=False)
    made = NodeProject(folder)
    made.run(blocks("sh")[0])
    return made
