"""What differs between two file systems, but for times."""

from __future__ import annotations

import filecmp
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def differences(first: Path, second: Path) -> list[str]:
    """Returns a line for each path that is in one of two folders alone, or not the same in both."""
    ours, theirs = set(_paths(first)), set(_paths(second))
    lines = [f"{path}: is in one of them alone" for path in sorted(ours ^ theirs)]
    return lines + [
        f"{path}: {what}" for path in sorted(ours & theirs) for what in _differing(first / path, second / path)
    ]


def _paths(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            yield str(Path(folder, name).relative_to(root))


def _differing(first: Path, second: Path) -> Iterator[str]:
    one, other = first.lstat(), second.lstat()
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode):
        yield "is not of the same kind"
        return
    if one.st_mode != other.st_mode:
        yield f"mode {stat.filemode(one.st_mode)} and {stat.filemode(other.st_mode)}"
    if (one.st_uid, one.st_gid) != (other.st_uid, other.st_gid):
        yield f"owner {one.st_uid}:{one.st_gid} and {other.st_uid}:{other.st_gid}"
    if stat.S_ISLNK(one.st_mode) and first.readlink() != second.readlink():
        yield f"link to {first.readlink()} and to {second.readlink()}"
    if stat.S_ISREG(one.st_mode) and not filecmp.cmp(first, second, shallow=False):
        yield "content"
