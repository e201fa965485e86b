"""The benchmark: `make bench`.

Environment:
    BENCH_ROWS: The keys of the rows to measure, separated by commas; all of them if empty. `caller` is one too.
    BENCH_CONTENDERS: The keys of the contenders, likewise.
    BENCH_QUICK: If set, one short round of each, to see that everything works.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bench import building, callers, machine, measuring, report
from bench.contenders import CONTENDERS
from bench.processes import end_in_order
from bench.results import Results
from bench.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.contenders import Contender
    from bench.machine import Cores
    from bench.measuring import Sample
    from bench.processes import FailedError
    from bench.rows import Row

_QUICK_SECONDS: Final = 1.0
_CALLER_ROUNDS: Final = 3


def main() -> int:
    """Builds, measures and reports. Returns the exit code."""
    begun = time.monotonic()
    end_in_order()
    wanted = _listed("BENCH_CONTENDERS")
    rows = [_shortened(row) for row in ROWS if not _listed("BENCH_ROWS") or row.key in _listed("BENCH_ROWS")]
    building.build_instruments()
    building.build_rivals()
    building.install_envoy()
    machine.raise_limits()
    cores = machine.take_cores()
    samples: list[Sample] = []
    failed: list[str] = []
    for row in rows:
        chosen = [key for key in row.contenders if not wanted or key in wanted]
        print(f"\n{row.title}", flush=True)
        samples += _measured(row, [CONTENDERS[key] for key in chosen], cores, failed)
    found: Mapping[str, Sequence[float]] = {}
    if not _listed("BENCH_ROWS") or callers.KEY in _listed("BENCH_ROWS"):
        print("\nwhat a call costs its caller", flush=True)
        found = callers.measure_callers(cores, 1 if _is_quick() else _CALLER_ROUNDS)
    whole = not wanted and not _listed("BENCH_ROWS") and not _is_quick() and not failed
    results = Results(samples, found, machine.describe(), time.monotonic() - begun)
    report.write(results, publish=whole)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _listed(name: str) -> frozenset[str]:
    return frozenset(filter(None, os.environ.get(name, "").split(",")))


def _is_quick() -> bool:
    return bool(os.environ.get("BENCH_QUICK"))


def _shortened(row: Row) -> Row:
    return replace(row, rounds=1, seconds=_QUICK_SECONDS) if _is_quick() else row


def _measured(row: Row, contenders: list[Contender], cores: Cores, failed: list[str]) -> Iterator[Sample]:
    """Measures a row, and adds to `failed` whoever did not come through it."""

    def on_failure(key: str, error: FailedError) -> None:
        print(f"  {key:16} failed: {error}", flush=True)
        failed.append(f"{key} in {row.key}")

    present = []
    for contender in contenders:
        if missing := contender.missing():
            print(f"  {contender.key:16} left out: this gateway has no setting {', '.join(missing)}")
        elif "{store}" in contender.settings.values() and not measuring.has_store():
            print(f"  {contender.key:16} left out: no server for claims is installed")
        else:
            present.append(contender)
    for sample in measuring.measure(row, present, cores, on_failure):
        print(f"  {report.line(sample)}", flush=True)
        yield sample


if __name__ == "__main__":
    try:
        sys.exit(main())
    except machine.NotPossibleError as error:
        sys.exit(f"bench: {error}")
