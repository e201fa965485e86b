"""Tells what streams and watches took, beside the loop in Go that a team would write by hand."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.beside import Singles

_HEADS: Final = (
    "what",
    "shipments/s",
    "to Go",
    "CPU us each",
    "most memory",
    "bulk calls",
    "readings each",
)
_HEADS_OF_SINGLES: Final = ("single calls", "beside nothing", "beside a stream", "ratio")
_MICRO: Final = 1e6


@dataclass(frozen=True)
class Work:
    """What one way to allocate or to watch shipments took.

    Attributes:
        title: What was done, and how.
        done: How many shipments it was done for.
        seconds: How long it took.
        cpu: The CPU time of the gateway, or of the program in Go, in seconds.
        most_kb: The most memory that it had.
        bulk_calls: How many bulk calls were made.
        readings: How often a shipment was read.
        remark: What a reader must know before comparing; empty if nothing.
    """

    title: str
    done: int
    seconds: float
    cpu: float
    most_kb: int
    bulk_calls: int
    readings: int
    remark: str = ""

    @property
    def rate(self) -> float:
        """How many shipments there were in a second."""
        return self.done / self.seconds


@dataclass(frozen=True)
class Pair:
    """The same work, done in Go by hand and by the gateway."""

    by_hand: Work
    ours: Work


def report(pairs: Sequence[Pair], singles: Singles, machine: Mapping[str, str]) -> str:
    """Returns the tables of the report, and what it was measured on.

    Args:
        pairs: What was measured.
        singles: How long single calls took beside a stream.
        machine: What the numbers depend on, by name.
    """
    told = ", ".join(f"{name} {text}" for name, text in machine.items() if text)
    works = _table([_HEADS, *_lines(pairs)])
    calls = _table([_HEADS_OF_SINGLES, *_lines_of_singles(singles)])
    about = (
        f"Single allocations, {singles.rate:g} in a second, of which upstream takes {singles.delay * 1e3:.0f} ms each, "
        f"beside nothing and beside a stream of which {singles.stream_rate:,.0f} items are queued in a second:"
    )
    return f"{works}\n\n{about}\n\n{calls}\n\nMeasured on: {told}."


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = lines
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


def _lines(pairs: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    for pair in pairs:
        for work in (pair.by_hand, pair.ours):
            yield (
                f"{work.title} ({work.remark})" if work.remark else work.title,
                f"{work.rate:,.0f}",
                f"{work.rate / pair.by_hand.rate:.0%}",
                f"{work.cpu / work.done * _MICRO:.0f}",
                f"{work.most_kb / 1024:.0f} MB",
                f"{work.bulk_calls:,}",
                f"{work.readings / work.done:.2f}",
            )


def _lines_of_singles(singles: Singles) -> Iterator[tuple[str, ...]]:
    for title, percentile in (("median", 50), ("p99", 99)):
        alone, beside = (quantiles(taken, n=100)[percentile - 1] for taken in (singles.alone, singles.beside))
        yield title, f"{alone * 1e3:.1f} ms", f"{beside * 1e3:.1f} ms", f"{beside / alone:.2f} times"
