"""SECURITY.md says for each attack what bounds it, and by which advisory it is known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from attacks.attacker import ATTACKS

TEXT: Final = (Path(__file__).resolve().parents[2] / "SECURITY.md").read_text()
ROWS: Final = [row for row in TEXT.splitlines() if row.startswith("|")]


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_in_the_table_with_its_advisories(name: str) -> None:
    rows = [row for row in ROWS if f"`{name}`" in row]
    assert rows, name
    for advisory in re.findall(r"CVE-\d+-\d+", ATTACKS[name].of):
        assert any(advisory in row for row in rows), advisory


def test_tests_that_the_table_names_are_there() -> None:
    tests = Path(__file__).resolve().parents[1]
    sources = "".join(path.read_text() for path in tests.glob("*/test_*.py"))
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert f"def {name}(" in sources, name
