"""Where a setting may be refused: in the list of checks, and elsewhere only for what nobody can know before."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER: Final = Path(__file__).resolve().parents[2] / "server" / "allocation_gateway"
# What the list in settings/checks.py runs of other packages.
RUN_BY_THE_LIST: Final = {
    ("telemetry/variables.py", "check"),
    ("groups/opening.py", "read_catalogue"),
    ("callers/opening.py", "read_files"),
    ("callers/opening.py", "_content"),
    ("accounts/file.py", "read_accounts"),
}
# What only starting can find out.
FOUND_BY_STARTING: Final = {
    ("claims/opening.py", "open_stores"): "the server of the claims is not as it has to be",
    ("ports.py", "bind"): "a port is taken, or there is no such address",
    ("rpc/engines/direct.py", "start"): "another process was quicker to listen",
    ("rpc/engines/grpcio.py", "bind"): "the port is taken",
    ("stand_in.py", "_installed"): "the sandbox is not installed",
    ("stand_in.py", "running"): "the port of the sandbox is taken",
    ("telemetry/pages.py", "bind"): "the port for Prometheus is taken",
    ("workers/supervisor.py", "run"): "a worker has said so, in its words",
}
# Options of a command, and no settings.
OPTIONS: Final = {("cli.py", "_channel"), ("cli.py", "_content")}


def refusals(tree: ast.AST, function: str = "") -> Iterator[str]:
    """Yields the function around each place that makes a ConfigurationError."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "ConfigurationError":
            yield inner
        yield from refusals(node, inner)


def test_nothing_but_the_list_refuses_a_setting_for_its_value() -> None:
    found = {
        (str(path.relative_to(SERVER)), function)
        for path in SERVER.rglob("*.py")
        if path.relative_to(SERVER).parts[0] != "settings"
        for function in refusals(ast.parse(path.read_text()))
    }
    assert found == RUN_BY_THE_LIST | FOUND_BY_STARTING.keys() | OPTIONS


def test_nothing_but_the_settings_reads_their_variables() -> None:
    """Whatever else named one could take it for something else."""
    elsewhere = [path for path in SERVER.rglob("*.py") if path.relative_to(SERVER).parts[0] != "settings"]
    assert [path for path in elsewhere if "ALLOCATION_GATEWAY_" in path.read_text()] == []
