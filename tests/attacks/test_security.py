"""SECURITY.md says for each attack what bounds it, and by which advisory it is known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from attacks.attacker import ATTACKS
from attacks.undefended import DEFENCES, REST_ON_NOTHING, RESTS_ON

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


def test_each_attack_meets_a_defence_or_there_is_a_reason_why_not() -> None:
    assert RESTS_ON.keys() | REST_ON_NOTHING.keys() == ATTACKS.keys()
    assert not RESTS_ON.keys() & REST_ON_NOTHING.keys()
    assert {name for defences in RESTS_ON.values() for name in defences} == DEFENCES.keys()


def test_defences_are_there_to_be_taken_out() -> None:
    """In a process of its own. One that was renamed would be taken out by nobody."""
    program = "from attacks.undefended import DEFENCES; [take_out() for take_out in DEFENCES.values()]"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
