"""An empty project outside of the repository, in which a client is used as its README says."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from support.gateway import PREFIX

ROOT: Final = Path(__file__).resolve().parents[2]


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
