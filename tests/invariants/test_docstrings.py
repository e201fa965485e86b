"""The docstrings of the server say in the field's terms what something does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

SERVER: Final = Path(__file__).resolve().parents[2] / "server"
# Written for what records something, or is called when something has happened.
TAKES: Final = re.compile(r"Takes (that|note|from)\b")
# Written for what makes something else act. What an object has when it was made is for its constructor to say.
HAS: Final = re.compile(r"(Has|Have) ")


def begins_in_dialect(text: str, name: str = "") -> bool:
    return bool(TAKES.match(text) or (name != "__init__" and HAS.match(text)))


def docstrings(path: Path) -> list[tuple[str, str]]:
    """Returns the docstrings of a module with the names of what they stand in."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    return [(getattr(node, "name", ""), ast.get_docstring(node) or "") for node in nodes]


def test_docstrings_say_what_something_does_and_not_what_it_takes_or_has_done() -> None:
    found = {path: docstrings(path) for path in sorted(SERVER.rglob("*.py"))}
    assert any(texts for texts in found.values())
    bad = [
        f"{path.relative_to(SERVER)}: {text.splitlines()[0]}"
        for path, texts in found.items()
        for name, text in texts
        if begins_in_dialect(text, name)
    ]
    assert bad == []


@pytest.mark.parametrize(
    ("text", "name", "is_dialect"),
    [
        ("Takes that a call is over.", "ended", True),
        ("Takes note of a call.", "ended", True),
        ("Has the handler answer it.", "run", True),
        ("Has told nothing yet.", "__init__", False),
        ("Takes a token if there is one.", "withdraw", False),
        ("Records that a call is over.", "ended", False),
    ],
)
def test_what_counts_as_dialect(text: str, name: str, *, is_dialect: bool) -> None:
    assert begins_in_dialect(text, name) is is_dialect
