"""The structure of the source: imports go one way and in no circle, and each name has one meaning."""

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
MOST_LINES = 350
# What a module that is longer says in its docstring, with the reason.
LONGER = "It is longer than the other modules since "
MOST_WRITERS = 3


def modules(pattern: str) -> list[Path]:
    found = sorted(PACKAGE.glob(pattern))
    assert found
    return found


@pytest.mark.parametrize("path", modules("**/*.py"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_small_enough_to_have_one_reason_to_exist_or_says_why_not(path: Path) -> None:
    text = path.read_text()
    reason = LONGER in (ast.get_docstring(ast.parse(text)) or "").replace("\n", " ")
    assert (len(text.splitlines()) > MOST_LINES) is reason


def writers(kind: ast.ClassDef) -> dict[str, set[str]]:
    """Returns by attribute which methods of a class set it, apart from the one that makes its objects."""
    found: dict[str, set[str]] = {}
    for method in kind.body:
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name != "__init__":
            attributes = (node for node in ast.walk(method) if isinstance(node, ast.Attribute))
            for node in attributes:
                if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
                    found.setdefault(node.attr, set()).add(method.name)
    return found


def classes(pattern: str) -> dict[str, dict[str, set[str]]]:
    nodes = [(path, node) for path in modules(pattern) for node in ast.walk(ast.parse(path.read_text()))]
    return {f"{path.stem}.{node.name}": writers(node) for path, node in nodes if isinstance(node, ast.ClassDef)}


def outside_the_sandbox() -> list[Path]:
    return [path for path in modules("**/*.py") if "sandbox" not in path.relative_to(PACKAGE).parts]


def test_a_name_means_one_class() -> None:
    """Also a private one, or one in a function. The sandbox, which is a package of its own, has its own names."""
    found: dict[str, list[str]] = {}
    for path in outside_the_sandbox():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert found["Account"] == ["accounts/model.py"]
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_one_module_of_the_server_names_the_sandbox() -> None:
    """And imports it when it is asked for: production has none. A way around the import rules would name it too."""
    assert [path.name for path in outside_the_sandbox() if "allocation_gateway.sandbox" in path.read_text()] == [
        "stand_in.py"
    ]
    tree = ast.parse((PACKAGE / "stand_in.py").read_text())
    at_once = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [line for line in at_once if "sandbox" in line]


def test_few_methods_change_an_attribute() -> None:
    """Whoever wants to know how it came by its value has few places to look."""
    found = {
        f"{name}.{attribute}": methods
        for name, attributes in classes("**/*.py").items()
        for attribute, methods in attributes.items()
    }
    assert found["write.Write._cause"] == {"_doubt"}
    assert {name: methods for name, methods in found.items() if len(methods) > MOST_WRITERS} == {}


def test_few_methods_change_the_state_of_a_write() -> None:
    found = {name: set().union(*attributes.values()) for name, attributes in classes("writes/*.py").items()}
    assert found["write.Write"]
    assert {name: methods for name, methods in found.items() if len(methods) > MOST_WRITERS} == {}
