"""Counts the bytecodes that a call executes in our gateway, by module, whatever else the machine does.

CPU time differs by a fifth from one run to the next; this differs by a hundredth. What happens in C is not
seen: it finds code that has crept into the path of a call, and says where.

Usage: python -m bench.bytecodes
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bench import building, machine
from bench.contenders import CONTENDERS
from bench.measuring import load, stage
from bench.processes import FailedError, Program, end_in_order, running
from bench.rows import ROWS, Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, FrameType

    from bench.machine import Cores

VERSION: Final = f"python-{sys.version_info.major}.{sys.version_info.minor}"
# So few calls that none waits for another, and all of them are answered.
_ROW: Final = replace(
    next(row for row in ROWS if row.key == "fast"), mode=Mode.OPEN, rate=20.0, connections=2, warmup=0.5, seconds=6.0
)
_PACKAGE: Final = "allocation_gateway/"
# Code that the gateway has written itself, of its schemas.
_GENERATED: Final = "<schema of "
_FILE: Final = "BENCH_BYTECODES_FILE"
_TOLD: Final = 40


class Count(NamedTuple):
    """What a call executes.

    Attributes:
        total: Bytecodes in the gateway's own modules.
        modules: The same by module, the one with the most first.
    """

    total: float
    modules: Mapping[str, float]


def counted(cores: Cores, key: str = "ours") -> Count:
    """Returns what a call of ours executes with claims in memory, once everything that is made once has been made.

    Args:
        cores: Which core does what.
        key: Which of ours.

    Raises:
        FailedError: Calls failed, or none ended.
    """
    contender = CONTENDERS[key]
    credentials = contender.credentials()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bytecodes.json"
        with stage(_ROW, cores, store=False) as around:
            usual = contender.program(around.surroundings)
            program = Program(
                [sys.executable, "-m", "bench.bytecodes", "serve"], {**usual.environment, _FILE: str(file)}
            )
            with running("ours-bytecodes", program, [cores.gateway]) as gateway:
                load(_ROW, gateway, around, credentials)
                os.kill(gateway.pid, signal.SIGUSR2)
                seen = load(_ROW, gateway, around, credentials)
        if set(seen["statuses"]) != {"0"} or seen["unanswered"]:
            raise FailedError(f"calls failed: {seen['statuses']}, and {seen['unanswered']} were not answered")
        found: dict[str, int] = json.loads(file.read_text())
    modules = {name: times / seen["begun"] for name, times in found.items()}
    return Count(sum(modules.values()), dict(sorted(modules.items(), key=lambda one: -one[1])))


def _serve() -> int:
    """Runs the gateway, and counts from SIGUSR2 on."""
    from allocation_gateway.cli import main

    executed: Counter[CodeType] = Counter()
    is_counting = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not is_counting:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            executed[frame.f_code] += 1
        return trace

    def begin(*_: object) -> None:
        nonlocal is_counting
        is_counting = True

    signal.signal(signal.SIGUSR2, begin)
    sys.settrace(trace)
    try:
        return main(["serve"])
    finally:
        sys.settrace(None)
        modules: Counter[str] = Counter()
        for code, times in executed.items():
            if _PACKAGE in code.co_filename:
                modules[code.co_filename.rpartition(_PACKAGE)[2]] += times
            elif code.co_filename.startswith(_GENERATED):
                modules["codecs/schema.py"] += times
        Path(os.environ[_FILE]).write_text(json.dumps(modules))


def main() -> int:
    """Counts, and prints the modules that execute most. Returns the exit code."""
    if sys.argv[1:] == ["serve"]:
        return _serve()
    end_in_order()
    building.build_instruments()
    machine.raise_limits()
    found = counted(machine.take_cores())
    for name, times in list(found.modules.items())[:_TOLD]:
        print(f"{times:8.0f}  {name}")
    print(f"{found.total:8.0f}  in all, {VERSION}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
