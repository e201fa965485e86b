"""An environment with the gateway and its locked dependencies, for another Python than that of .venv.

Usage: PYTHONPATH=tests python -m pythons.environment PYTHON FOLDER. It prints the path of the interpreter there.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from support.interpreters import runs

_ROOT: Final = Path(__file__).resolve().parents[2]
_LOCK: Final = _ROOT / "requirements-dev.lock"
_IDENTITY: Final = "import sys; print(sys.executable, sys.version)"
_PACKAGES: Final = ("-e", str(_ROOT / "clients" / "python"), "-e", str(_ROOT))


def environment(python: str, folder: Path) -> str:
    """Returns the interpreter of a virtual environment with the gateway and the locked development tools.

    It is made anew if the interpreter or what is locked has changed.

    Args:
        python: The interpreter that it is made of.
        folder: Where it is kept.
    """
    own = folder / "bin" / "python"
    stamp = folder / "stamp"
    identity = subprocess.run([python, "-c", _IDENTITY], capture_output=True, text=True, check=True).stdout
    wanted = identity + hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted and runs(str(own))):
        print(f"Installing the gateway for {python} into {folder} ...", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        # Wheels alone: that a package has none for this Python is to be told at once, not after minutes of compiling.
        _install(own, "--only-binary", ":all:", "--require-hashes", "-r", str(_LOCK))
        _install(own, "--no-deps", "--no-build-isolation", *_PACKAGES)
        stamp.write_text(wanted)
    return str(own)


def _install(python: Path, *arguments: str) -> None:
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--quiet")
    subprocess.run([*pip, "install", *arguments], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    print(environment(sys.argv[1], Path(sys.argv[2]).resolve()))
