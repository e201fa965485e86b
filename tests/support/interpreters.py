"""Python interpreters of other versions, as distributions and pyenv have them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def interpreter(version: str) -> str:
    """Returns the path of an interpreter of a version such as 3.10.

    Raises:
        LookupError: There is none.
    """
    name = f"python{version}"
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(name), *map(str, sorted(installed.glob(f"{version}.*/bin/{name}")))]
    for path in filter(None, found):
        if runs(path):
            return path
    raise LookupError(f"{name} is missing")


def runs(path: str) -> bool:
    """Tells whether an interpreter is there and starts: what pyenv puts in the PATH may be there and not start."""
    return Path(path).is_file() and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
