"""What the process itself takes: CPU time, memory, pauses of the garbage collector, and the lag of the event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from allocation_gateway.telemetry.conventions import Attributes

LAG_INTERVAL: Final = 0.5
"""Seconds between two measurements of the event loop's lag."""
_STATM: Final = Path("/proc/self/statm")
# Within a second of when the process was started.
_STARTED: Final = time.monotonic()


def cpu_seconds() -> Iterable[tuple[float, Attributes]]:
    """Returns the CPU time of this process, in user mode and in the system."""
    times = os.times()
    return (times.user, {"cpu.mode": "user"}), (times.system, {"cpu.mode": "system"})


def memory_bytes() -> Iterable[tuple[float, Attributes]]:
    """Returns the resident memory of this process; nothing where the system does not tell."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        return ()
    return ((pages * os.sysconf("SC_PAGE_SIZE"), {}),)


def uptime_seconds() -> Iterable[tuple[float, Attributes]]:
    """Returns for how long this process has run."""
    return ((time.monotonic() - _STARTED, {}),)


class CollectorPauses:
    """The time that the garbage collector has taken, by generation. Nothing else runs in the process meanwhile.

    It is summed up without any lock, since the collector may run while one is held.
    """

    def __init__(self) -> None:
        self._seconds = [0.0] * len(gc.get_threshold())
        self._started = 0.0

    def __enter__(self) -> Self:
        gc.callbacks.append(self._on_collection)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._started = time.perf_counter()
        else:
            self._seconds[info["generation"]] += time.perf_counter() - self._started

    def seconds(self) -> Iterable[tuple[float, Attributes]]:
        """Returns the time that was taken so far."""
        return [(seconds, {"cpython.gc.generation": number}) for number, seconds in enumerate(self._seconds)]


async def measure_lag(record: Callable[[float], None]) -> None:
    """Measures until it is cancelled how many seconds later than asked for the event loop wakes a task up."""
    clock = time.perf_counter
    while True:
        due = clock() + LAG_INTERVAL
        await asyncio.sleep(LAG_INTERVAL)
        record(max(clock() - due, 0.0))
