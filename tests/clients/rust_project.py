"""The project of docs/other-languages.md, as whoever follows it has it, built in .cache where the next run finds it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

import pytest
from clients.project import ROOT, Project

PAGE: Final = ROOT / "docs" / "other-languages.md"
# The versions that were chosen last: the page names ranges, as callers do.
LOCK: Final = Path(__file__).with_name("rust") / "Cargo.lock"
_FOLDER: Final = ROOT / ".cache" / "rust-caller"
# That of the wire tests: what both are built of is built once.
_TARGET: Final = ROOT / ".cache" / "wire-rust"


class RustProject(Project):
    """The project."""

    seconds = 1_200

    def run(self, commands: str) -> str:
        """Runs commands in it, where cargo builds into the cache."""
        return super().run(f"export CARGO_TARGET_DIR='{_TARGET}'\n{commands}")

    def program(self, name: str) -> str:
        """Returns the path of a program of it."""
        return str(_TARGET / "debug" / name)


def commands() -> list[str]:
    """Returns the blocks of shell commands on the page: what makes the project, and what runs it."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


def rust_project() -> RustProject:
    """Makes it. Without cargo this fails: skipping would hide that nothing was proved."""
    if shutil.which("cargo") is None:
        pytest.fail("cargo is missing: install Rust 1.89 or newer", pytrace=False)
    shutil.rmtree(_FOLDER, ignore_errors=True)
    files = re.findall(r"^In `([\w./]+)`:\n\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(files) == len(re.findall(r"^```(?:toml|rust)$", PAGE.read_text(), re.MULTILINE))
    for name, text in files:
        (_FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (_FOLDER / name).write_text(text)
    shutil.copy(LOCK, _FOLDER)
    made = RustProject(_FOLDER)
    made.run(commands()[0])
    made.run("nice -n 10 cargo build --locked --quiet")
    return made
