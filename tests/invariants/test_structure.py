"""The structure of the source: imports go one way, and in no circle."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def test_imports_go_one_way() -> None:
    """The contracts in pyproject.toml hold: layers, a sandbox on its own, codecs without I/O."""
    result = subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


CIRCLE = {
    "one": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.two import Two\nclass One: ...\n",
    "two": "from package.one import One\nclass Two(One): ...\n",
}
CONTRACT = """
[importlinter]
root_package = package
exclude_type_checking_imports = {excluded}
[importlinter:contract:1]
name = No circle
type = acyclic_siblings
ancestors = package
"""


def test_a_circle_of_imports_for_types_alone_is_found(tmp_path: Path) -> None:
    """The contract of this repository counts such imports; one that does not would find nothing."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, source in CIRCLE.items():
        (package / f"{name}.py").write_text(source)
    found = {}
    for excluded in (True, False):
        (tmp_path / ".importlinter").write_text(CONTRACT.format(excluded=excluded))
        found[excluded] = subprocess.run(
            [LINT_IMPORTS, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert found[True].returncode == 0, found[True].stdout
    assert found[False].returncode == 1, found[False].stdout
    assert "No cycles are allowed in package" in found[False].stdout
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert linter["exclude_type_checking_imports"] is False
    circles = [contract for contract in linter["contracts"] if contract["type"] == "acyclic_siblings"]
    assert [contract["ancestors"] for contract in circles] == [["allocation_gateway"]]


PACKAGE = ROOT / "server" / "allocation_gateway"
SMALL = ("account.py", "operations/*.py", "protection/*.py", "rpc/*.py", "upstream/*.py", "writes/*.py")
MOST_LINES = 350
MOST_WRITERS = 3


def modules(*patterns: str) -> list[Path]:
    found = [path for pattern in patterns for path in sorted(PACKAGE.glob(pattern))]
    assert found
    return found


@pytest.mark.parametrize("path", modules(*SMALL), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_small_enough_to_have_one_reason_to_exist(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def writers(kind: ast.ClassDef) -> set[str]:
    """Returns the methods of a class that set an attribute of its objects, apart from the one that makes them."""
    found = set()
    for method in kind.body:
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name != "__init__":
            stores = (node for node in ast.walk(method) if isinstance(node, ast.Attribute))
            if any(isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self" for node in stores):
                found.add(method.name)
    return found


def test_few_methods_change_the_state_of_a_write() -> None:
    """Whoever wants to know how an attribute came by its value has few places to look."""
    classes = [node for path in modules("writes/*.py") for node in ast.walk(ast.parse(path.read_text()))]
    found = {kind.name: writers(kind) for kind in classes if isinstance(kind, ast.ClassDef)}
    assert found["Write"]
    assert {name: methods for name, methods in found.items() if len(methods) > MOST_WRITERS} == {}
