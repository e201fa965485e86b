"""The loop by hand in Go does what it is measured for, and the table says what was measured."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.sandbox import running_sandbox

from bench import building
from bench.beside import Singles
from bench.machine import CACHE
from bench.stream_report import Pair, Work, report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.sandbox import Sandbox

pytestmark = pytest.mark.bench

LONG = 120.0
WAVE = [f"sp_{number:032d}" for number in range(1, 251)]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Upstream, with the shipments of a wave."""
    building.build_wave()
    with running_sandbox("--shipments", str(len(WAVE))) as found:
        yield found


def by_hand(sandbox: Sandbox, until: str, references: Sequence[str]) -> dict[str, Any]:
    """Has the program in Go do its work, and returns what it tells."""
    command = [str(CACHE / "wave"), "-upstream", f"{sandbox.url}/pro", "-key", "sandbox-key", "-until", until]
    given = "\n".join(references)
    told = subprocess.run(command, input=given, check=True, capture_output=True, text=True, timeout=LONG).stdout
    found: dict[str, Any] = json.loads(told)
    return found


def test_the_loop_by_hand_allocates_each_shipment_of_a_wave_once(sandbox: Sandbox) -> None:
    sandbox.call("POST", "reset")
    told = by_hand(sandbox, "allocated", WAVE)
    assert (told["done"], told["bulk_calls"]) == (len(WAVE), 3)
    assert told["readings"] >= len(WAVE)
    assert min(told["seconds"], told["cpu"], told["most_kb"]) > 0
    assert {name: sandbox.bookings(name) for name in WAVE} == dict.fromkeys(WAVE, (1, 0))
    again = by_hand(sandbox, "watched", WAVE)
    assert (again["bulk_calls"], again["readings"]) == (0, len(WAVE)), "all of them are allocated"


def test_the_loop_by_hand_reads_nothing_of_what_only_has_to_be_queued(sandbox: Sandbox) -> None:
    sandbox.call("POST", "reset")
    told = by_hand(sandbox, "queued", WAVE)
    assert (told["done"], told["bulk_calls"], told["readings"]) == (len(WAVE), 3, 0)


def test_the_loop_by_hand_ends_at_an_answer_that_it_does_not_expect(sandbox: Sandbox) -> None:
    sandbox.call("POST", "reset")
    with pytest.raises(subprocess.CalledProcessError):
        by_hand(sandbox, "queued", ["sp_nobody_knows"])


def test_the_table_sets_each_piece_of_work_beside_the_same_by_hand() -> None:
    hand = Work("by hand", done=1_000, seconds=1.0, cpu=0.01, most_kb=10_240, bulk_calls=10, readings=0)
    ours = Work(
        *("ours", 900, 1.8, 0.18, 81_920, 12, 1_350),
        remark="100 unknown",
    )
    singles = Singles(50.0, 0.05, alone=[0.06] * 199 + [0.08] * 3, beside=[0.09] * 199 + [0.1] * 3, stream_rate=3_500.0)
    lines = report([Pair(hand, ours)], singles, {"cores": "2", "go": ""}).splitlines()
    assert "| by hand | 1,000 | 100% | 10 | 10 MB | 10 | 0.00 |" in lines
    assert "| ours (100 unknown) | 500 | 50% | 200 | 80 MB | 12 | 1.50 |" in lines
    assert "| median | 60.0 ms | 90.0 ms | 1.50 times |" in lines
    assert "| p99 | 80.0 ms | 100.0 ms | 1.25 times |" in lines
    assert lines[-1] == "Measured on: cores 2."
