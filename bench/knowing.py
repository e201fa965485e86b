"""What it costs to know who calls and what they may do: a call with all of it against one without, in the same run.

That is mutual TLS, a token, a policy of 200 rules and 20 more accounts. Both are the same gateway and take turns on the
same machine, so that nothing is stored. The limit is the one that `make bench` reports, and a tolerance: the same two
programs differ by up to a fifth from one start to the next, with where their memory lies. On a virtual machine whose
neighbours are busy, one round differs from the next by half, so that the median of all rounds of all starts counts.
Resampling 24 starts measured there: a ratio of 1.2 is found too dear in one run of 300, and one of 1.8 in every run.
Smaller losses are found by the bytecodes that a call executes: see bench.guard.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

from bench.contenders import CONTENDERS
from bench.rows import ROWS
from bench.targets import KNOWING_CALLERS
from bench.turns import Side, take_turns

if TYPE_CHECKING:
    from bench.machine import Cores

# Warmed up for so long that all connections have made their TLS: in production they last for longer than that costs.
_ROW: Final = replace(next(row for row in ROWS if row.key == "fast"), warmup=0.5, seconds=0.4)
_ROUNDS: Final = 3
# Each is started anew, as often as it takes to be sure: the same program costs more or less from one start to the next.
_STARTS: Final = 12


def is_cheap_enough(cores: Cores, unit: str, tolerance: float) -> bool:
    """Measures, tells what it found, and returns whether the limit is kept, within a tolerance that is a part of it."""
    limit = KNOWING_CALLERS * (1 + tolerance)
    print(f"{CONTENDERS['ours-secured'].title}, and without:")
    print(f"{KNOWING_CALLERS:.2f} times are wanted, and up to {limit:.2f} pass")
    ratios: list[float] = []
    for _ in range(_STARTS):
        found = take_turns(_ROW, cores, (_side("ours-secured"), _side("ours")), _ROUNDS, unit)
        ratios += [one.ours / one.echo for one in found]
        middle = median(ratios)
        print(f"{unit} of a call, as a multiple of one without: {middle:.3f} in {len(ratios)} rounds", flush=True)
        if middle <= limit:
            print("It passes.")
            return True
    print("Knowing who calls has become too dear.", file=sys.stderr)
    return False


def _side(key: str) -> Side:
    contender = CONTENDERS[key]
    return Side(key, lambda around: contender.program(around.surroundings), contender.credentials())
