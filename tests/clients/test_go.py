"""The Go stubs against a running gateway, from outside, as another team uses them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.gateway import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "go"
ADDRESS = "ALLOCATION_GATEWAY_ADDRESS"


@pytest.fixture(scope="module")
def go() -> str:
    """The Go command. Without it this suite fails: skipping would hide that nothing was proved."""
    found = shutil.which("go")
    if found is None:
        pytest.fail("go is missing: install Go 1.26 or newer", pytrace=False)
    return found


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a fresh gateway in front of a fresh sandbox."""
    with running_gateway({}, "--sandbox") as gateway:
        yield gateway.address


def run(*command: str, address: str | None) -> subprocess.CompletedProcess[str]:
    """Runs a command in the Go client's folder."""
    environment = {name: value for name, value in os.environ.items() if name != ADDRESS}
    if address is not None:
        environment[ADDRESS] = address
    return subprocess.run(
        command, cwd=CLIENT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_go_client_allocates_and_reads_error_details(go: str, address: str) -> None:
    done = run(go, "test", "-count=1", "-v", "./...", address=address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^--- PASS", done.stdout, re.MULTILINE)) >= 7, done.stdout
    assert "SKIP" not in done.stdout


def test_go_smoke_fails_rather_than_skips_without_an_address(go: str) -> None:
    done = run(go, "test", "-count=1", "./...", address=None)
    assert done.returncode != 0
    assert f"{ADDRESS} is not set" in done.stdout
