"""The programs that call the REST API repeat as they are said to: no booking is made twice or lost."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.sandbox import Sandbox, running_sandbox

from bench import saving
from bench.machine import CACHE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.saving

COUNT: Final = 32
PREFIX: Final = f"sp_{'0' * 20}"
GROUP: Final = "exampleSG123"
# Answers that are lost after the booking, and before; and those that say when to come back.
FAULTS: Final[list[dict[str, Any]]] = [
    {"count": 6, "action": {"type": "drop", "when": "after"}},
    {"count": 2, "action": {"type": "drop", "when": "before"}},
    {"count": 4, "action": {"type": "status", "status": 429, "body": {}, "headers": {"Retry-After": "1"}}},
]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--shipments", str(COUNT)) as running:
        yield running


@pytest.fixture(scope="session")
def commands() -> dict[str, Sequence[str]]:
    """How the programs are run that need nothing but their language: that for Node needs packages for other ways."""
    CACHE.mkdir(parents=True, exist_ok=True)
    node = ["node", str(saving.HERE / "node" / "main.mjs")]
    return {"python": saving.build_python(), "go": saving.build_go(), "node": node}


@pytest.mark.parametrize("language", ["python", "go", "node"])
def test_rest_by_hand_neither_loses_nor_doubles(
    language: str, commands: dict[str, Sequence[str]], sandbox: Sandbox
) -> None:
    for fault in FAULTS:
        sandbox.call("POST", "faults", {"match": {"method": "PUT"}, **fault})
    told = ("direct", f"{sandbox.url}/pro", PREFIX, GROUP, "8", "0", str(COUNT))
    with subprocess.Popen(
        [*commands[language], *told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        printed, _ = process.communicate("\n\n", timeout=100)
    assert printed.startswith("ready\ndone "), printed
    wave = [f"{PREFIX}{number:012}" for number in range(1, COUNT + 1)]
    assert sandbox.all_bookings() == dict.fromkeys(wave, (1, 0))
    assert all(fault["hits"] == fault["count"] for fault in sandbox.call("GET", "faults")["faults"]), (
        "a fault has struck nobody"
    )


def test_lines_of_code_leave_out_what_is_empty_or_a_comment() -> None:
    counted = {way: saving.lines(saving.HERE / name) for way, name in saving.LANGUAGES["python"].files.items()}
    assert counted["client"] < counted["stub"] < counted["direct"]


def test_what_a_program_has_read_is_looked_at() -> None:
    assert saving.is_right("Lineten 2.00")
    assert saving.is_right("Lineten 2")
    assert not saving.is_right("Lineten 2.01")
    assert not saving.is_right("DPD 2.00")
