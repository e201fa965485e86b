"""Measures what an allocation costs its caller, in processes of their own that take turns."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from bench.caller import WAYS
from bench.contenders import CONTENDERS
from bench.measuring import stage
from bench.processes import running
from bench.rows import Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.machine import Cores

KEY: Final = "caller"
_CALLS: Final = 2000
_PATIENCE: Final = 120.0


def measure_callers(cores: Cores, rounds: int) -> Mapping[str, Sequence[float]]:
    """Returns the CPU time per allocation in microseconds, of each way to make it, round by round."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with stage(Row(KEY, "", ()), cores, store=False) as around:
        # Which gateway answers is nothing to the caller: the cheapest one disturbs least.
        gateway = CONTENDERS["go"].program(around.surroundings)
        with running("go", gateway, [cores.rest]) as answering:
            direct = around.surroundings.upstream.removeprefix("http://")
            for _ in range(rounds):
                for way in WAYS:
                    address = direct if "httpx" in way else answering.address
                    found[way].append(_measured(way, address, cores))
    return found


def _measured(way: str, address: str, cores: Cores) -> float:
    command = [
        *("taskset", "-c", str(cores.gateway)),
        *(sys.executable, "-m", "bench.caller", way, address, str(_CALLS)),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE)
    return float(done.stdout)
