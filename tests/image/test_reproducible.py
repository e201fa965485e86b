"""Whoever builds a commit again gets the same image."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from image.differences import differences
from image.sizes import HOME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.container import Image, Podman

pytestmark = pytest.mark.image

IMAGES = ("image", "sandbox_image")
# Of the second four octets of bytecode that goes by the hash of its source, and has Python look at that.
BY_HASH = 0b11


@pytest.mark.parametrize("which", IMAGES)
def test_two_builds_of_one_commit_are_alike(
    podman: Podman, elsewhere: Podman, which: str, request: pytest.FixtureRequest
) -> None:
    """From checkouts in two folders, of two times and modes, with stores that share nothing but the base."""
    image: Image = request.getfixturevalue(which)
    with podman.files(image) as first, elsewhere.files(image) as second:
        assert differences(first, second) == []
    found, again = podman.inspect(image.name), elsewhere.inspect(image.name)
    assert found["Config"] == again["Config"]
    # All their files have one time, so that also the archives that a registry keeps are the same.
    assert found["RootFS"] == again["RootFS"]


@pytest.mark.parametrize("which", IMAGES)
def test_bytecode_is_there_and_holds_whatever_times_its_sources_have(
    podman: Podman, which: str, request: pytest.FixtureRequest
) -> None:
    """Or else each start would compile everything, and throw it away, where the times of files are rewritten."""
    with podman.files(request.getfixturevalue(which)) as root:
        library = root / HOME / "lib"
        sources = set(library.rglob("*.py"))
        compiled = {path: source_of(path) for path in library.rglob("*.pyc")}
        assert {path for path in compiled if int.from_bytes(path.read_bytes()[4:8], "little") != BY_HASH} == set()
    assert len(sources) > 1000
    assert set(compiled.values()) == sources
    assert len(compiled) == len(sources)


def source_of(bytecode: Path) -> Path:
    """Returns the path of the source that bytecode is of."""
    assert bytecode.parent.name == "__pycache__"
    return bytecode.parent.parent / re.sub(r"\.[^.]+\.pyc$", ".py", bytecode.name)


def write(folder: Path) -> None:
    """Makes a folder with something of each kind."""
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("one")
    (folder / "link").symlink_to("sub")


def replaced(link: Path) -> Path:
    """Returns the path of a link that is gone."""
    link.unlink()
    return link


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda _: None, []),
    "time": (lambda folder: os.utime(folder / "sub" / "file", (1, 1)), []),
    "content": (lambda folder: (folder / "sub" / "file").write_text("two"), ["sub/file: content"]),
    "mode": (lambda folder: (folder / "sub" / "file").chmod(0o4755), ["sub/file: mode -rw-r--r-- and -rwsr-xr-x"]),
    "owner": (lambda folder: os.chown(folder / "sub", 1, 2), ["sub: owner 0:0 and 1:2"]),
    "name": (
        lambda folder: (folder / "sub" / "file").rename(folder / "sub" / "other"),
        ["sub/file: is in one of them alone", "sub/other: is in one of them alone"],
    ),
    "empty folder": (lambda folder: (folder / "more").mkdir(), ["more: is in one of them alone"]),
    "kind": (
        lambda folder: replaced(folder / "link").write_text("sub"),
        ["link: is not of the same kind"],
    ),
    "link": (
        lambda folder: replaced(folder / "link").symlink_to("file"),
        ["link: link to sub and to file"],
    ),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_each_difference_is_told_by_its_path(tmp_path: Path, changed: str) -> None:
    for name in ("first", "second"):
        write(tmp_path / name)
    change, told = CHANGES[changed]
    change(tmp_path / "second")
    assert differences(tmp_path / "first", tmp_path / "second") == told
