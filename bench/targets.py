"""What must come out of the benchmark, each with the number that decides it."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Results, Spread

# How many times as much a call may cost with mutual TLS, a token, a policy and accounts as without. See bench.knowing.
KNOWING_CALLERS: Final = 1.08
_CALLS: Final = {row.key: row.calls for row in ROWS}


class Target(NamedTuple):
    """A bound on what is measured.

    Attributes:
        text: What is bounded.
        limit: The highest value that is good enough.
        unit: What the value is counted in.
        value: Reads it; None if it was not measured.
    """

    text: str
    limit: float
    unit: str
    value: Callable[[Results], float | None]


def _middle(found: Spread | None) -> float | None:
    return found.middle if found else None


def _cpu_against(other: str, *, of: str = "ours", row: str = "slow400") -> Callable[[Results], float | None]:
    return lambda results: _middle(results.ratio(row, of, other))


def _added_by_store(results: Results) -> float | None:
    with_store, without = results.cpu("slow400", "ours-store"), results.cpu("slow400", "ours")
    return with_store.middle - without.middle if with_store and without else None


def _flat(results: Results) -> float | None:
    found = [results.cpu(row, "ours") for row in ("slow64", "slow400", "slow4000")]
    values = [one.middle for one in found if one]
    return max(values) / min(values) if len(values) == len(found) else None


def _p99_against_envoy(results: Results) -> float | None:
    return _middle(results.ratio("rate", "ours", "envoy", lambda sample: sample.latency_ms["p99"]))


def _per_call_in_flight(results: Results) -> float | None:
    start, peak = results.start_mb("slow4000", "ours"), results.peak_mb("slow4000", "ours")
    return (peak - start) * 1024 / _CALLS["slow4000"] if start is not None and peak is not None else None


def _caller(stub: str, direct: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        pairs = zip(results.callers.get(stub, ()), results.callers.get(direct, ()), strict=True)
        found = [one / two for one, two in pairs]
        return median(found) if found else None

    return value


TARGETS: Final = (
    Target("CPU per call against Go by hand, 50 ms upstream, 400 in flight", 1.35, "times", _cpu_against("go")),
    Target("the same with claims on a server", 2.0, "times", _cpu_against("go", of="ours-store")),
    Target("CPU that claims on a server add to a call, same row", 60.0, "us", _added_by_store),
    Target("CPU per call against Vanguard, same row", 1.0, "times", _cpu_against("vanguard")),
    Target("CPU per call against Envoy, same row", 1.0, "times", _cpu_against("envoy")),
    Target("CPU per call against the naive Python gateway, same row", 1 / 6, "times", _cpu_against("naive")),
    Target("CPU per call with metrics and 1 % traced, against neither", 1.15, "times", _cpu_against("ours-untold")),
    Target(
        "CPU per call with metrics and every call traced, against neither",
        1.7,
        "times",
        _cpu_against("ours-untold", of="ours-traced"),
    ),
    Target(
        "CPU per call with mutual TLS, a token, a policy and accounts, against without",
        KNOWING_CALLERS,
        "times",
        _cpu_against("ours", of="ours-secured", row="secured"),
    ),
    Target("the same, against TLS alone", 1.08, "times", _cpu_against("ours-tls", of="ours-secured", row="secured")),
    Target("CPU per call, highest against lowest from 64 to 4,000 in flight", 1.2, "times", _flat),
    Target("p99 against Envoy at the same rate", 1.0, "times", _p99_against_envoy),
    Target("memory at the start", 90.0, "MB", lambda results: results.start_mb("slow4000", "ours")),
    Target("memory per call in flight, of 4,000", 40.0, "kB", _per_call_in_flight),
    Target(
        "CPU per call of two workers against one, same rate",
        1.15,
        "times",
        lambda results: _middle(results.ratio("workers", "ours-workers", "ours")),
    ),
    Target(
        "the busier of two workers, by CPU time",
        0.6,
        "of both",
        lambda results: results.split("workers", "ours-workers"),
    ),
    Target("caller's CPU, Python stub against httpx and JSON", 0.25, "times", _caller("stub", "httpx")),
    Target("the same with asyncio, 16 in flight", 0.25, "times", _caller("async-stub", "async-httpx")),
)
