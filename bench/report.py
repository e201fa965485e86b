"""Tells what was measured: lines while it runs, then JSON, tables and a picture."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from bench import plot
from bench.contenders import ALWAYS_ON, CONTENDERS
from bench.documents import put_between_marks
from bench.machine import ROOT
from bench.results import spread
from bench.rows import RATE, ROWS, Mode
from bench.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.measuring import Sample
    from bench.results import Results, Spread
    from bench.rows import Row

_DOCUMENT: Final = ROOT / "docs" / "performance.md"
_BEGIN: Final = "<!-- bench: written by `make bench` -->"
_END: Final = "<!-- /bench -->"
# So many calls of an open load may be under way at its end for the rate to count as held: those of a fifth of a second.
_MOST_WAITING: Final = RATE / 5
_MICRO: Final = 1e6


def line(sample: Sample) -> str:
    """Returns one sample as a line of text."""
    cpu = f"{sample.cpu_us:8.0f} us" if sample.cpu_us is not None else "       - us"
    latency, seen = sample.latency_ms, sample.detail["seen"]
    text = (
        f"{sample.contender:16}{cpu}  {sample.calls_per_second:8.0f}/s  p50 {latency['p50']:8.2f}  "
        f"p99 {latency['p99']:8.2f} ms  {sample.peak_kb // 1024:4} MB  "
        f"at upstream {seen['upstream_in_service_mean']:5.0f} on {seen['upstream_sockets_peak']:5} sockets  "
        f"load {sample.load_busy:4.0%}  others {seen['foreign_cpu_seconds'] / sample.detail['seconds']:.1f} cores"
    )
    return f"{text}  WRONG {sample.wrong:.2%} {sample.detail['statuses']}" if sample.wrong else text


def write(results: Results, *, publish: bool) -> None:
    """Prints the tables, and writes them with all samples and the picture.

    Args:
        results: What was measured.
        publish: Whether to write to docs/, which only a whole benchmark should, or else to build/bench/.
    """
    folder = ROOT / "docs" if publish else ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "machine": results.machine,
        "seconds": round(results.seconds),
        "callers_us": results.callers,
        "samples": [asdict(sample) for sample in results.samples],
    }
    raw = ROOT / "build" / "bench"
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "results.json").write_text(json.dumps(told, indent=1))
    drawn = [(row.key, row.title) for row in ROWS if row.key not in {"calibration", "workers"}]
    (folder / "performance.svg").write_text(plot.draw(results, drawn))
    text = "\n\n".join(_sections(results))
    print(f"\n{text}")
    if publish:
        put_between_marks(_DOCUMENT, _BEGIN, _END, text)
    else:
        (folder / "performance.md").write_text(f"{text}\n")
    print(f"\nWritten to {folder.relative_to(ROOT)}/ and {raw.relative_to(ROOT)}/results.json")


def _sections(results: Results) -> Iterator[str]:
    yield _machine(results)
    yield "## Targets\n\n" + _table(("what", "at most", "measured", ""), _targets(results))
    yield "![CPU time per call](performance.svg)"
    for row in ROWS:
        if results.contenders(row.key):
            yield f"## {row.title[0].upper()}{row.title[1:]}\n\n" + _row(results, row)
    if results.callers:
        yield "## What a call costs its caller\n\n" + _table(("way", "CPU us per allocation"), _callers(results))
    yield "## Memory\n\n" + _table(
        ("gateway", "at the start", "400 in flight", "4,000 in flight", "per call"), _memory(results)
    )
    yield "## What the others don't do\n\n" + _lacking()
    yield "## What the load and upstream took\n\n" + _table(
        ("row", "load, us per call", "upstream, us per call", "their core, at most", "others, cores"), _proof(results)
    )


def _machine(results: Results) -> str:
    told = ", ".join(f"{name} {text}" for name, text in results.machine.items() if text)
    return f"Measured in {results.seconds / 60:.0f} minutes on: {told}."


def _table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    rows = [heads, ("---",) * len(heads), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _targets(results: Results) -> Iterator[tuple[str, ...]]:
    for target in TARGETS:
        value = target.value(results)
        limit = f"{target.limit:.3g} {target.unit}"
        if value is None:
            yield target.text, limit, "not measured", ""
        else:
            yield target.text, limit, f"{value:.3g} {target.unit}", "holds" if value <= target.limit else "**missed**"


def _row(results: Results, row: Row) -> str:
    unit = "burst" if row.mode is Mode.BURST else "call"
    heads = ("gateway", "CPU us per call", "to Go", "calls/s per core", f"p50 ms per {unit}", f"p99 ms per {unit}", "")
    return _table(heads, (_cells(results, row, name) for name in results.contenders(row.key)))


def _cells(results: Results, row: Row, name: str) -> tuple[str, ...]:
    cpu = results.cpu(row.key, name)
    return (
        CONTENDERS[name].title,
        _spread(cpu, ".0f"),
        _spread(results.ratio(row.key, name, "go"), ".2f"),
        f"{_MICRO / cpu.middle:,.0f}" if cpu else "-",
        _spread(results.latency(row.key, name, "p50"), ".2f"),
        _spread(results.latency(row.key, name, "p99"), ".2f"),
        _remark(results, row, name),
    )


def _spread(found: Spread | None, form: str) -> str:
    if found is None:
        return "-"
    return f"{found.middle:{form}} ({found.low:{form}} to {found.high:{form}})"


def _remark(results: Results, row: Row, name: str) -> str:
    """Returns what a reader must know before comparing: that calls failed, or that the load was another one."""
    samples = results.of(row.key, name)
    remarks = []
    if wrong := max(sample.wrong for sample in samples):
        remarks.append(f"up to {max(wrong, 0.0001):.2%} of the calls ended otherwise than they must")
    if row.mode is Mode.OPEN and max(sample.detail["in_flight"] for sample in samples) > _MOST_WAITING:
        remarks.append("does not hold this rate")
    held = min(sample.detail["seen"]["upstream_in_service_mean"] for sample in samples)
    if row.alone:
        sockets = min(sample.detail["seen"]["upstream_sockets_peak"] for sample in samples)
        remarks.append(f"{held:,.0f} at upstream on {sockets:,} sockets")
    return "; ".join(remarks)


def _callers(results: Results) -> Iterator[tuple[str, ...]]:
    for way, values in results.callers.items():
        yield way, _spread(spread(values), ".0f")


def _memory(results: Results) -> Iterator[tuple[str, ...]]:
    in_flight = next(row.calls for row in ROWS if row.key == "slow4000")
    for name in results.contenders("slow4000"):
        start, peak = results.start_mb("slow4000", name), results.peak_mb("slow4000", name)
        some = results.peak_mb("slow400", name)
        if start is None or peak is None:
            continue
        yield (
            CONTENDERS[name].title,
            f"{start:.0f} MB",
            f"{some:.0f} MB" if some is not None else "-",
            f"{peak:.0f} MB",
            f"{(peak - start) * 1024 / in_flight:.1f} kB",
        )


def _proof(results: Results) -> Iterator[tuple[str, ...]]:
    for row in ROWS:
        samples = [sample for sample in results.samples if sample.row == row.key and sample.cpu_us is not None]
        if samples:
            others = max(sample.detail["seen"]["foreign_cpu_seconds"] / sample.detail["seconds"] for sample in samples)
            yield (
                row.title,
                f"{max(sample.load_cpu_us for sample in samples):.1f}",
                f"{max(sample.upstream_cpu_us for sample in samples):.1f}",
                f"{max(sample.load_busy for sample in samples):.0%}",
                f"{others:.1f}",
            )


def _lacking() -> str:
    lines = [f"- {one.title}: {one.lacks}." for one in CONTENDERS.values() if one.lacks]
    return "\n".join((*lines, f"- Ours cannot do without these, so that they are in every number: {ALWAYS_ON}."))
