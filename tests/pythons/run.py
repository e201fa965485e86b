"""Runs tests on other Pythons than that of .venv, each with the locked dependencies in an environment of its own.

Usage: PYTHONPATH=tests python -m pythons.run VERSION... -- ARGUMENT... A version, such as 3.13, is one in the PATH, one
that pyenv has, or one of Debian's packages. The arguments are pytest's. A failure on one does not keep the others from
being tried.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import toolchains
from support.interpreters import interpreter

from pythons.environment import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT: Final = Path(__file__).resolve().parents[2]
_CACHE: Final = _ROOT / ".cache" / "pythons"


def main(versions: Sequence[str], arguments: Sequence[str]) -> int:
    """Runs pytest with arguments on each version, and returns an exit code.

    Raises:
        LookupError: Some versions are missing. Nothing was run.
    """
    found = all_of(versions)
    # Its own value is for this process alone: pytest has its path from pyproject.toml, as it has in .venv.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    failed: list[str] = []
    for version, path in found.items():
        began = time.monotonic()
        try:
            python = environment(path, _CACHE / version)
            installed = time.monotonic()
            print(f"Python {version}:", flush=True)
            subprocess.run([python, "-m", "pytest", *arguments], cwd=_ROOT, env=variables, check=True)
        except subprocess.CalledProcessError:
            # What failed has said why.
            failed.append(version)
            continue
        took = f"{installed - began:.0f} s to install and {time.monotonic() - installed:.0f} s to run"
        print(f"Python {version} passed: {took}", flush=True)
    if failed:
        print(f"Failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def all_of(versions: Sequence[str]) -> dict[str, str]:
    """Returns the interpreter of each version.

    Raises:
        LookupError: Some are missing, all of which it names.
    """
    found: dict[str, str] = {}
    missing: list[str] = []
    for version in versions:
        try:
            found[version] = _interpreter(version)
        except LookupError as error:
            missing.append(str(error))
    if missing:
        raise LookupError("; ".join(missing))
    return found


def _interpreter(version: str) -> str:
    try:
        return interpreter(version)
    except LookupError:
        return toolchains.python(version)


if __name__ == "__main__":
    end = sys.argv.index("--")
    try:
        sys.exit(main(sys.argv[1:end], sys.argv[end + 1 :]))
    except LookupError as missing:
        sys.exit(f"{missing}: install it, or have pyenv do so")
