"""Of many samples, the numbers that are told: medians, their spread, and ratios within the same round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.measuring import Sample


class Spread(NamedTuple):
    """A median, and what it lies between."""

    middle: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    """Returns the median of some values; None if there are none."""
    return Spread(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Attributes:
        samples: All rounds of all rows.
        callers: CPU time per allocation of each way to make it, round by round; empty if it was not measured.
        machine: What the numbers depend on, by name.
        seconds: How long all of it took.
    """

    samples: Sequence[Sample]
    callers: Mapping[str, Sequence[float]]
    machine: Mapping[str, str]
    seconds: float

    def of(self, row: str, contender: str) -> list[Sample]:
        """Returns the rounds of one contender in one row."""
        return [sample for sample in self.samples if (sample.row, sample.contender) == (row, contender)]

    def contenders(self, row: str) -> list[str]:
        """Returns who was measured in a row, in order."""
        return list(dict.fromkeys(sample.contender for sample in self.samples if sample.row == row))

    def cpu(self, row: str, contender: str) -> Spread | None:
        """Returns the CPU time per call in microseconds."""
        return spread([sample.cpu_us for sample in self.of(row, contender) if sample.cpu_us is not None])

    def latency(self, row: str, contender: str, quantile: str) -> Spread | None:
        """Returns a latency in milliseconds."""
        return spread([sample.latency_ms[quantile] for sample in self.of(row, contender) if sample.cpu_us is not None])

    def ratio(
        self, row: str, contender: str, other: str, value: Callable[[Sample], float | None] | None = None
    ) -> Spread | None:
        """Returns what a contender takes as a multiple of another one in the same round: CPU time, or what is read."""
        read = value or (lambda sample: sample.cpu_us)
        pairs = [(read(one), read(two)) for one, two in zip(self.of(row, contender), self.of(row, other), strict=False)]
        return spread([one / two for one, two in pairs if one is not None and two])

    def start_mb(self, row: str, contender: str) -> float | None:
        """Returns the resident memory before the first call."""
        found = spread([sample.start_kb / 1024 for sample in self.of(row, contender)])
        return found.middle if found else None

    def peak_mb(self, row: str, contender: str) -> float | None:
        """Returns the highest resident memory under load."""
        found = spread([sample.peak_kb / 1024 for sample in self.of(row, contender)])
        return found.middle if found else None

    def split(self, row: str, contender: str) -> float | None:
        """Returns the larger part of what the two busiest processes of a gateway used between them."""
        parts = [
            sorted(sample.detail["seen"]["gateway_process_cpu_seconds"])[-2:] for sample in self.of(row, contender)
        ]
        found = spread([max(pair) / sum(pair) for pair in parts if len(pair) > 1 and sum(pair)])
        return found.middle if found else None
