"""What the README tells a newcomer to do works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from allocation_gateway import cli
from support.gateway import COMMAND, running_gateway

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]
GIST = "Lineten, 2.00 GBP, tracking 43765709, 4 excluded services"


def test_the_first_call_prints_what_the_readme_shows_and_is_that_of_make_call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what a gateway with a sandbox invites to as well."""
    start = (ROOT / "README.md").read_text().partition("## Start\n")[2].partition("\n## ")[0]
    _, command, printed, *_ = re.findall(r"```\n(.*?)```", start, re.DOTALL)
    assert f"@exec {command}".replace(".venv/bin", "$(BIN)") in (ROOT / "Makefile").read_text()
    monkeypatch.setattr(sys, "argv", [COMMAND])
    with running_gateway({}, "--sandbox") as gateway:
        cli._invite(gateway.address, gateway.sandbox_url)
        (invited,) = re.findall(r"^    (.+)$", capsys.readouterr().out, re.MULTILINE)
        allocctl, *arguments = shlex.split(invited)
        assert set(arguments) == {*command.split()[1:], "--address", gateway.address}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([allocctl, *words], capture_output=True, text=True, check=False)

        assert run(*arguments).stdout == printed
        again = run(*arguments)
        assert again.returncode == 5
        assert "`allocctl deallocate` takes an allocation back" in again.stderr
        assert run("deallocate", "--plaintext", "--address", gateway.address, arguments[-1]).returncode == 0
        # Each allocation has a tracking reference of its own.
        assert run(*arguments).returncode == 0


def test_where_allocctl_cannot_run_a_gateway_invites_to_its_own_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_OF_ALLOCCTL", ("click", "a_package_that_is_not_there"))
    cli._invite("127.0.0.1:1", "http://127.0.0.1:2")
    assert " demo --address 127.0.0.1:1 --sandbox http://127.0.0.1:2\n" in capsys.readouterr().out


def test_the_demo_can_be_repeated() -> None:
    with running_gateway({}, "--sandbox") as gateway:
        command = [COMMAND, "demo", "--address", gateway.address, "--sandbox", gateway.sandbox_url]
        for _ in range(2):
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            assert result.stdout.splitlines()[-1] == GIST


def test_the_calls_in_the_readme_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    with running_gateway({}, "--sandbox") as gateway:
        printed = [
            subprocess.run(
                [sys.executable, "-c", block.replace("127.0.0.1:50051", gateway.address)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for block in blocks
        ]
    shipment, consignment, named = printed
    assert shipment == "Lineten 2.00 GBP\n"
    assert named == "", "it only makes a request with an id"
    assert consignment.startswith("Consignment EC-000-05B-MMA has been successfully allocated with ")


def test_the_demo_says_in_one_line_what_is_missing() -> None:
    command = [COMMAND, "demo", "--address", "127.0.0.1:1", "--sandbox", "http://127.0.0.1:1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "http://127.0.0.1:1" in result.stderr


def test_no_command_in_a_document_presumes_that_something_of_this_repository_is_published() -> None:
    """Nothing is: what is installed is named by its path in a checkout, and images and charts by a placeholder."""
    own = r"\S*allocation[-_/.]?gateway\S*"
    published = [
        rf"go (?:get|install) {own}",
        rf"pip3? install (?:-\S+ )*(?![./<]){own}",
        rf"uv (?:add|pip install) (?![./<]){own}",
        rf"docker (?:pull|run)\b.* {own}",
        r"helm repo add",
        r"helm (?:install|upgrade|pull|template)\b.* oci://",
        rf"npm (?:i|install|ci) (?![./<]){own}",
        r"repository: (?:https?|oci)://",
    ]
    found = {}
    for document in ROOT.rglob("*.md"):
        if not {".venv", ".cache", "build", "node_modules"} & set(document.relative_to(ROOT).parts):
            text = "\n".join(re.findall(r"```(?:sh|yaml|)\n(.*?)```", document.read_text(), re.DOTALL))
            matches = [match for pattern in published for match in re.findall(pattern, text.replace("\\\n", " "))]
            if matches:
                found[str(document.relative_to(ROOT))] = matches
    assert found == {}
