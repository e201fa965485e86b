"""What docs/scaling.md calculates follows from the constants that it names, and these are what was measured."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final, NamedTuple

from allocation_gateway.settings import Settings
from allocation_gateway.settings.api import ShipSettings

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
SCALING: Final = (DOCS / "scaling.md").read_text()
DAY: Final = 86_400
HOUR: Final = 3_600
# What the table assumes, in its words.
PEAK: Final = 4
UPSTREAM_SECONDS: Final = 0.3
FULL: Final = 0.7
LEAST_PROCESSES: Final = 2
HEAD: Final = "| allocations a day | "


class Constants(NamedTuple):
    """The constants, by their letters, in seconds and bytes."""

    w: float
    u: float
    p: float
    n: float
    s: float
    b: float
    f: float


def number(text: str) -> float:
    """Returns the number that a text begins with."""
    found = re.match(r"[\d,.]+", text)
    assert found, text
    value = float(found[0].replace(",", ""))
    return value / 1e6 if "µs" in text else value


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def constants() -> Constants:
    """Reads the table of constants: those that have a letter."""
    found = dict(re.findall(r"^\| `(\w)` \| [^|]+ \| ([^|]+) \|", SCALING, re.MULTILINE))
    assert tuple(found) == Constants._fields
    return Constants(**{letter: number(text) for letter, text in found.items()})


def rounded(value: float) -> str:
    """Writes a number with two digits that count."""
    return f"{float(f'{value:.2g}'):,.10f}".rstrip("0").rstrip(".")


def row(a_day: int, given: Constants) -> list[str]:
    """Returns what follows from so many allocations a day."""
    peak = PEAK * a_day / DAY
    cores, under_way = peak * given.w / given.u, peak * UPSTREAM_SECONDS
    processes = max(math.ceil(cores), math.ceil(under_way / (FULL * given.p)), LEAST_PROCESSES)
    room = [a_day / DAY * seconds * given.b * given.f / 1e9 for seconds in (DAY, 2 * HOUR)]
    numbers = [rounded(one) for one in (peak, cores, under_way)]
    store = rounded(peak * given.n * given.s)
    return [f"{a_day:,}", *numbers, str(processes), store, *(f"{rounded(one)} GB" for one in room)]


def test_the_table_follows_from_the_constants() -> None:
    _, _, *lines = (SCALING[SCALING.index(HEAD) :].partition("\n\n")[0]).splitlines()
    found = [cells(line) for line in lines]
    assert found == [row(a_day, constants()) for a_day in (10**5, 10**6, 10**7, 10**8)]


def test_what_one_store_and_one_process_do_follows_from_the_constants() -> None:
    given = constants()
    assert f"one store does {1 / (given.n * given.s):,.0f} single writes a second" in SCALING
    settings = Settings()
    remembered = settings.claims_in_memory / settings.claim_retention_in_memory
    assert f"are {remembered:.0f} writes a second" in SCALING
    assert settings.claim_retention == DAY


def test_writes_under_way_are_those_of_the_default_settings() -> None:
    assert ShipSettings().places[0] == constants().p
    assert f"`SHIP_MAX_CONNECTIONS`, {ShipSettings().max_connections}" in SCALING


def test_what_a_call_costs_is_what_was_measured_last() -> None:
    """Change it with the results, and then the table as the test of the table says."""
    results = (DOCS / "performance.md").read_text().partition("## 50 ms upstream, 400 in flight\n")[2]
    measured = dict(re.findall(r"^\| (ours[^|]*) \| (\d+) \(", results.partition("\n## ")[0], re.MULTILINE))
    assert constants().w * 1e6 == float(measured["ours, claims on a Redis server"])
    assert f"| the same with claims in memory | {measured['ours, all policies on']} µs |" in SCALING
