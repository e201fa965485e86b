"""A second checkout of what is in the working tree."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from support.container import ROOT, run

if TYPE_CHECKING:
    from pathlib import Path

# Neither that of the working tree nor that which the files of the image get.
_TIME: Final = 1_000_000_000
# As somebody has it who lets nobody else read.
_FILE, _PROGRAM, _FOLDER = 0o600, 0o700, 0o700


def check_out(folder: Path) -> Path:
    """Copies the files that git knows, or would take, with another time and other modes, and returns the folder."""
    listed = run("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    # In another order, too, in which the folders then have them.
    for name in sorted(filter(None, listed.split("\0")), reverse=True):
        source, target = ROOT / name, folder / name
        if not source.exists():
            continue  # removed, and not yet committed
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(_PROGRAM if os.access(source, os.X_OK) else _FILE)
        os.utime(target, (_TIME, _TIME))
    for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        inner.chmod(_FOLDER)
        os.utime(inner, (_TIME, _TIME))
    return folder
