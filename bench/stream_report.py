"""Tells what streams and watches took, beside the loop in Go that a team would write by hand."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEADS: Final = (
    "what",
    "shipments/s",
    "to Go",
    "CPU us each",
    "most memory",
    "bulk calls",
    "readings each",
    "single calls beside, p99 ms",
)
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
        singles: How long single calls took meanwhile, in seconds; empty if there were none.
    """

    title: str
    done: int
    seconds: float
    cpu: float
    most_kb: int
    bulk_calls: int
    readings: int
    remark: str = ""
    singles: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """How many shipments there were in a second."""
        return self.done / self.seconds


@dataclass(frozen=True)
class Pair:
    """The same work, done in Go by hand and by the gateway."""

    by_hand: Work
    ours: Work


def report(pairs: Sequence[Pair], alone: Sequence[float], rate: float, machine: Mapping[str, str]) -> str:
    """Returns the table of the report, and what it was measured on.

    Args:
        pairs: What was measured.
        alone: How long single calls took beside nothing, in seconds.
        rate: How many of them there were in a second.
        machine: What the numbers depend on, by name.
    """
    lines = [_HEADS, ("---",) * len(_HEADS), *_lines(pairs, alone)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    told = ", ".join(f"{name} {text}" for name, text in machine.items() if text)
    return (
        f"{table}\n\nSingle calls: {rate:g} in a second; beside nothing their p99 is {p99(alone) * 1e3:.1f} ms.\n\n"
        f"Measured on: {told}."
    )


def _lines(pairs: Sequence[Pair], alone: Sequence[float]) -> Iterator[tuple[str, ...]]:
    for pair in pairs:
        for work in (pair.by_hand, pair.ours):
            singles = ""
            if work.singles:
                singles = f"{p99(work.singles) * 1e3:.1f} ({p99(work.singles) / p99(alone):.2f} times)"
            yield (
                f"{work.title} ({work.remark})" if work.remark else work.title,
                f"{work.rate:,.0f}",
                f"{work.rate / pair.by_hand.rate:.0%}",
                f"{work.cpu / work.done * _MICRO:.0f}",
                f"{work.most_kb / 1024:.0f} MB",
                f"{work.bulk_calls:,}",
                f"{work.readings / work.done:.2f}",
                singles,
            )


def p99(seconds: Sequence[float]) -> float:
    """Returns what one in a hundred exceeds."""
    return quantiles(seconds, n=100)[98]
