"""SECURITY.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_that_the_threat_table_names_is_there() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)", (ROOT / "SECURITY.md").read_text()))
    there = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named
    assert named - there == set()


def test_every_case_that_the_threat_table_names_is_there() -> None:
    """A case stands in brackets: the id of a parametrised test, or ids of several parameters with `-` between."""
    named = set(re.findall(r"`(?:test_[a-z0-9_]+)?\[([^\]`]+)\]`", (ROOT / "SECURITY.md").read_text()))
    there = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert {case for case in named if not any(f'"{part}"' in there for part in (case, case.partition("-")[2]))} == set()
