"""Measures what the defences of our gRPC server cost a call: `make bench-defences`.

Our gateway takes turns with itself without the defences that `tests/attacks/undefended.py` takes out: the accounts of
bytes and of work, the bounds of field blocks and messages, the budget of floods. Nothing attacks meanwhile.

Usage: PYTHONPATH=tests python -m bench.defences
"""

from __future__ import annotations

import sys
from dataclasses import replace
from statistics import median, quantiles
from typing import Final

from attacks.undefended import DEFENCES, command

from bench import building, machine
from bench.contenders import CONTENDERS, ours
from bench.instructions import can_count
from bench.processes import FailedError, end_in_order
from bench.rows import ROWS
from bench.turns import Side, quiet, take_turns

_ROW: Final = replace(next(row for row in ROWS if row.key == "fast"), warmup=0.3, seconds=0.8)
_ROUNDS: Final = 6
# The same program costs up to a fifth more or less from one start to the next: where its memory lies has a part in it.
_STARTS: Final = 16
_COMMAND: Final = [*command(DEFENCES), "serve"]


def main() -> int:
    """Measures, and tells what came of it."""
    end_in_order()
    building.build_instruments()
    machine.raise_limits()
    cores = machine.take_cores()
    unit = "instructions" if can_count() else "cpu_us"
    pair = (
        Side("ours", lambda around: CONTENDERS["ours"].program(around.surroundings)),
        Side("ours-undefended", lambda around: ours(_COMMAND, around.surroundings, {})),
    )
    ratios = []
    for _ in range(_STARTS):
        found = quiet(take_turns(_ROW, cores, pair, _ROUNDS, unit))
        ratios.append(median(one.ours / one.echo for one in found))
        print(f"{unit} of a call, as a multiple of one without defences: {ratios[-1]:.3f}", flush=True)
    low, middle, high = quantiles(ratios, n=4)
    print(f"All defences cost {middle:.3f} times none ({low:.3f} to {high:.3f} for half of {_STARTS} starts)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (machine.NotPossibleError, FailedError) as error:
        sys.exit(f"bench-defences: {error}")
