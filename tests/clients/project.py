"""An empty project outside of the repository, in which a client is used as its README says."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from support.gateway import PREFIX

ROOT: Final = Path(__file__).resolve().parents[2]
# What it needs besides is installed where it is tried: test_tracing.
_TRACING: Final = re.compile(r"^## Tracing\n.*?(?=^## )", re.DOTALL | re.MULTILINE)


def text_of(readme: Path) -> str:
    """Returns the text of a client's README but for its section on tracing."""
    return _TRACING.sub("", readme.read_text())


def tracing_of(readme: Path) -> str:
    """Returns that section."""
    (section,) = _TRACING.findall(readme.read_text())
    return str(section)


@dataclass(frozen=True)
class Project:
    """The project.

    Attributes:
        folder: Where it is.
        seconds: How long commands may take.
    """

    folder: Path
    seconds: ClassVar[int] = 300

    def run(self, commands: str) -> str:
        """Runs commands in it as a shell does, and returns what they print."""
        done = subprocess.run(
            ["sh", "-eu", "-c", commands.replace("<checkout>", str(ROOT))],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            capture_output=True,
            text=True,
            timeout=self.seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
