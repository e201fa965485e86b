"""What whoever reads the code may count on: errors are values, seams are public, and the map of the code is right."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "server" / "allocation_gateway"
CHAOS = ROOT / "tests" / "chaos"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MOST_README_LINES = 150
# What Python itself sets of an exception.
OF_PYTHON = {"__cause__", "__context__", "__traceback__"}


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def sources() -> list[Path]:
    """The modules of the server, but for the one that makes errors, and the sandbox."""
    found = [path for path in sorted(PACKAGE.glob("**/*.py")) if path.relative_to(PACKAGE).parts[0] != "sandbox"]
    assert PACKAGE / "errors.py" in found
    return [path for path in found if path != PACKAGE / "errors.py"]


def decisions_by_metadata(tree: ast.AST) -> list[str]:
    """Returns where something is looked up in the metadata of an error: what decides has an attribute of its own."""
    asked = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    looked_up = [one.value for one in asked if isinstance(one, ast.Attribute) and one.attr == "get"]
    looked_up += [node.value for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    return [ast.unparse(one) for one in looked_up if isinstance(one, ast.Attribute) and one.attr == "metadata"]


def test_what_an_error_says_decides_by_attributes_and_not_by_what_callers_read() -> None:
    assert decisions_by_metadata(ast.parse("error.metadata.get('cause') or error.metadata['cause']")) != []
    found = {path.name: decisions_by_metadata(ast.parse(path.read_text())) for path in sources()}
    assert {name: where for name, where in found.items() if where} == {}


def changed_errors(tree: ast.AST) -> list[str]:
    """Returns which attributes of something that is called an error are set."""
    stored = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return [
        ast.unparse(node)
        for node in stored
        if node.attr not in OF_PYTHON and isinstance(node.value, ast.Name) and "error" in node.value.id
    ]


def test_no_error_is_changed_after_it_was_made() -> None:
    assert changed_errors(ast.parse("error.details = []")) == ["error.details"]
    found = {path.name: changed_errors(ast.parse(path.read_text())) for path in sources()}
    assert {name: where for name, where in found.items() if where} == {}


@pytest.mark.parametrize("path", sorted(CHAOS.glob("broken*.py")), ids=lambda path: path.stem)
def test_a_broken_policy_replaces_public_parts_alone(path: Path) -> None:
    """Else it may break something else than the promise, or nothing any more, when the code changes."""
    read = {node.attr for node in nodes(path) if isinstance(node, ast.Attribute)}
    named = {node.value for node in nodes(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    private = {name for name in read | named if re.fullmatch(r"_[a-z]\w*", name)}
    assert private == set()


def rows() -> list[tuple[str, str]]:
    """The questions and the places of the table that says where to find what."""
    table = ARCHITECTURE.read_text().partition("## Where to find what")[2].partition("\n## ")[0]
    found = re.findall(r"^\| ([^|]+\?) \| (.+) \|$", table, re.MULTILINE)
    assert len(found) > 10
    return found


@pytest.mark.parametrize(("question", "place"), rows())
def test_what_is_asked_for_is_where_the_map_of_the_code_says(question: str, place: str) -> None:
    """Paths exist, and what else is named is defined in one of them."""
    names = re.findall(r"`([^`]+)`", place)
    paths = [PACKAGE / name for name in names if "/" in name or name.endswith((".py", ".lua"))]
    assert [path for path in paths if not path.exists()] == [], question
    source = "".join(path.read_text() for path in paths if path.is_file())
    defined = [name for name in names if name.isidentifier() and not name.isupper()]  # those in capitals are settings
    assert [name for name in defined if not re.search(rf"(def|class) {name}\b", source)] == [], question


def test_the_layout_names_every_part_of_the_server() -> None:
    layout = ARCHITECTURE.read_text().partition("## Layout")[2]
    parts = [path for path in sorted(PACKAGE.iterdir()) if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = [f"{path.name}/" if path.is_dir() else path.name for path in parts if path.name != "__init__.py"]
    assert [name for name in names if name not in layout] == []


def test_the_readme_is_what_a_newcomer_needs_and_no_more() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_README_LINES
