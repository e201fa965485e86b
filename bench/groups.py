"""What the lookup of a service group costs: from memory, on the way of every allocation that names one.

Usage: python bench/groups.py
"""

from __future__ import annotations

import asyncio
import sys
import time
import timeit
from typing import TYPE_CHECKING

from allocation_gateway.errors import WriteEffect
from allocation_gateway.groups.catalogue import Catalogue
from allocation_gateway.groups.directory import Options
from allocation_gateway.groups.listing import Listings
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.groups.service_groups import ServiceGroups
from allocation_gateway.operations.model import Api
from allocation_gateway.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUPS = 10_000
ROUNDS = 100_000


def directory(size: int = GROUPS) -> ServiceGroups:
    """Returns a directory with so many groups in its catalogue, each with a name and an alias, and one observed."""
    groups = ServiceGroups(Options(), listings=Listings({}, Telemetry()), telemetry=Telemetry())
    written = (
        Group(Api.SHIP, f"code-{number}", Source.CATALOGUE, 0.0, None, f"Group {number}", (f"alias-{number}",))
        for number in range(size)
    )
    groups.directory.use(Catalogue(tuple(written)))
    groups.directory.observe(Api.SHIP, "observed")
    return groups


LOOKUPS: Mapping[str, str] = {
    "code of the catalogue": f"code-{GROUPS // 2}",
    "code that was observed": "observed",
    "name": f"Group {GROUPS // 2}",
    "alias": f"alias-{GROUPS // 2}",
    "name in another case": f"GROUP {GROUPS // 2}",
    "unknown, passed on": "no such group",
}


def microseconds(groups: ServiceGroups, text: str, rounds: int = ROUNDS) -> float:
    """Returns how much CPU time one lookup takes, the best of five series."""
    effect = WriteEffect.NONE
    series = timeit.repeat(
        lambda: groups.resolver.lookup(Api.SHIP, text, effect), timer=time.process_time, number=rounds // 5, repeat=5
    )
    return min(series) / (rounds // 5) * 1e6


async def main() -> None:
    """Prints the cost of each kind of lookup."""
    groups = directory()
    sys.stdout.write(f"{GROUPS} groups in the catalogue\n")
    for name, text in LOOKUPS.items():
        sys.stdout.write(f"{name:24} {microseconds(groups, text):6.2f} us\n")


if __name__ == "__main__":
    asyncio.run(main())
