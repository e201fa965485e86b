"""Each row of the threat table has tests that fail as soon as its defence is taken out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from threats.defences import DEFENCES
from threats.plugin import DEFENCE, REPORT
from threats.rows import OTHERWISE, ROWS, WITHOUT, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 600.0


def table() -> dict[str, str]:
    """Returns the last cell of each row of the threat table, by the first one."""
    lines = (ROOT / "SECURITY.md").read_text().partition("\n| threat |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {threat: tests for threat, _, tests in cells}


def cases() -> Iterator[object]:
    for threat, rows in ROWS.items():
        for row in rows:
            yield pytest.param(row, id=f"{threat}, without {row.defence}")


def function(node: str) -> str:
    """Returns the name of a test without its case."""
    return node.rpartition("::")[2].partition("[")[0]


@pytest.mark.threats
@pytest.mark.parametrize("row", list(cases()))
def test_without_its_defence_the_tests_of_a_row_fail(row: Row, tmp_path: Path) -> None:
    """What makes a test fail is what it asserts: it has been set up, and another one passes without the defence."""
    report = tmp_path / "report"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), DEFENCE: row.defence, REPORT: str(report)}
    nodes = [f"tests/{node}" for node in (row.pass_, *row.fail)]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "threats.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *dict.fromkeys(nodes)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert report.is_file(), f"{done.stdout} {done.stderr}"
    outcomes: dict[str, dict[str, str]] = json.loads(report.read_text())

    def of(node: str) -> list[dict[str, str]]:
        return [
            parts for name, parts in outcomes.items() if name == f"tests/{node}" or name.startswith(f"tests/{node}[")
        ]

    assert [parts.get("call") for parts in of(row.pass_)] == ["passed"], done.stdout
    held = [node for node in row.fail if not any(parts.get("call") == "failed" for parts in of(node))]
    assert held == [], f"these pass without {row.defence}: {done.stdout}"
    assert {parts["setup"] for parts in outcomes.values()} == {"passed"}, done.stdout


def test_each_row_of_the_table_is_here_and_no_other() -> None:
    assert {*ROWS, *WITHOUT} == table().keys()
    assert not ROWS.keys() & {*WITHOUT}


@pytest.mark.parametrize("threat", table())
def test_each_test_that_a_row_names_is_run_without_the_defence(threat: str) -> None:
    """Or there is a reason why not. So are its cases, and the files that it names."""
    tests = table()[threat]
    nodes = [node for row in ROWS.get(threat, ()) for node in row.fail]
    run = {function(node) for node in nodes}
    assert {*re.findall(r"`(test_[a-z0-9_]+)", tests)} - OTHERWISE.keys() <= run
    for node in nodes:
        file, case = node.partition("::")[0], node.rpartition("[")[2]
        assert any(text in tests for text in (f"`{function(node)}", f"`tests/{file}`", f"`[{case}`")), node
    assert {*re.findall(r"`(tests/\w+/\w+\.py)`", tests)} <= {f"tests/{node.partition('::')[0]}" for node in nodes}
    for case in re.findall(r"`(?:test_[a-z0-9_]+)?\[([^\]`]+)\]`", tests):
        assert any(node.endswith(f"[{case}]") for node in nodes), case


def test_each_defence_and_each_reason_is_of_use() -> None:
    assert {row.defence for rows in ROWS.values() for row in rows} == DEFENCES.keys()
    assert all(f"`{name}`" in "".join(table().values()) for name in OTHERWISE)
