"""What a run has found, for people."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.history import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.check import Checker, Violation
    from chaos.history import History

_EXAMPLES = 4
# What a whole run must have at least, so that what it shows means something.
LEAST_CALLS = 15_000
LEAST_FAULTS = 300


@dataclass(frozen=True)
class _Phase:
    seconds: float
    operations: int
    calls: int
    writes: int
    asked: int
    faults: Counter[str]
    touched: Counter[str]
    answers: dict[str, Counter[str]]
    unknown: tuple[int, int]
    undecided: int
    others: Counter[str]
    is_broken: bool
    violations: Sequence[Violation]


class Report:
    """Collects phases and prints them."""

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}

    def add(
        self,
        history: History,
        checker: Checker,
        violations: Sequence[Violation],
        seconds: float,
        *,
        is_broken: bool,
    ) -> None:
        """Takes a phase.

        Args:
            history: What happened in it.
            checker: What has checked that.
            violations: What it has found.
            seconds: How long it took.
            is_broken: Whether a policy was broken in it.
        """
        faults = Counter(request.fault for request in history.requests if request.fault)
        faults.update(one.kind for one in history.incidents)
        touched: Counter[str] = Counter()
        for one in history.incidents:
            touched[one.kind] += one.touched
        answers: dict[str, Counter[str]] = defaultdict(Counter)
        for call in history.calls:
            answer = f"{call.code} {call.reason or ('' if call.code == 'OK' else '(nobody says why)')}".strip()
            for kind in checker.touching.kinds(call) or {"no fault"}:
                answers[kind][answer] += 1
        self._phases[history.run.phase] = _Phase(
            seconds=seconds,
            operations=len(history.operations),
            calls=len(history.calls),
            writes=sum(request.writes for request in history.requests),
            asked=len({call.id for call in history.calls}),
            faults=faults,
            touched=touched,
            answers=answers,
            unknown=checker.share_of_unknown(),
            undecided=checker.undecided(),
            others=Counter(one.kind for one in history.effects if one.trace.startswith(OUTSIDE)),
            is_broken=is_broken,
            violations=violations,
        )

    def print_phase(self, name: str, seed: int) -> None:
        """Prints one phase."""
        _say(f"=== {name}, seed {seed}")
        phase = self._phases[name]
        told, faulted = phase.unknown
        _say(
            f"{phase.operations} operations in {phase.calls} calls and {phase.seconds:.0f} s; "
            f"{phase.writes} writes on the wire, {phase.writes / max(phase.asked, 1):.3f} for each request id; "
            f"unknown: {told} of {faulted} faulted calls whose upstream recovered; undecidable: {phase.undecided}"
        )
        if phase.others:
            deeds = ", ".join(f"{kind} {count} times" for kind, count in sorted(phase.others.items()))
            _say(f"Others than the clients have: {deeds}")
        by_rule: dict[str, list[Violation]] = defaultdict(list)
        for one in phase.violations:
            by_rule[one.rule].append(one)
        for rule, violations in by_rule.items():
            _say(f"  {len(violations)} times: {rule}")
            for one in violations[:_EXAMPLES]:
                _say(f"    {one.id}: {one.text}")

    def undecided(self) -> tuple[int, int]:
        """Counts the operations of which it can never be known what became of them, and all; of real gateways only."""
        phases = [phase for phase in self._phases.values() if not phase.is_broken]
        return sum(phase.undecided for phase in phases), sum(phase.operations for phase in phases)

    def shortfalls(self) -> list[str]:
        """Returns what there was too little of for a whole run.

        What befell a process, a whole wire or the store counts for each call that it touched.
        """
        calls = sum(phase.calls for phase in self._phases.values())
        faults, befallen = self._faults()
        touched: Counter[str] = Counter()
        for phase in self._phases.values():
            for kind, answers in phase.answers.items():
                touched[kind] += answers.total()
        few = {kind: max(count, touched[kind], befallen[kind]) for kind, count in faults.items()}
        return [f"{calls} calls instead of {LEAST_CALLS}"] * (calls < LEAST_CALLS) + [
            f"{count} times {kind} instead of {LEAST_FAULTS}" for kind, count in few.items() if count < LEAST_FAULTS
        ]

    def _faults(self) -> tuple[Counter[str], Counter[str]]:
        phases = self._phases.values()
        faults = sum((phase.faults for phase in phases), Counter[str]())
        return faults, sum((phase.touched for phase in phases), Counter[str]())

    def print_whole(self) -> None:
        """Prints what all phases together have seen."""
        phases = self._phases.values()
        faults, touched = self._faults()
        _say(f"\n{sum(p.operations for p in phases)} operations in {sum(p.calls for p in phases)} calls")
        _say("Faults really injected, and the calls in flight where one befell a process, a whole wire or the store:")
        for kind, count in sorted(faults.items()):
            _say(f"  {kind:24} {count:6}" + (f" {touched[kind]:8} calls" if touched[kind] else ""))
        answers: dict[str, Counter[str]] = defaultdict(Counter)
        for phase in phases:
            for kind, counts in phase.answers.items():
                answers[kind] += counts
        _say("Answers of calls by the faults that touched them:")
        for kind, counts in sorted(answers.items()):
            _say(f"  {kind}")
            for answer, count in counts.most_common():
                _say(f"    {count:6} {answer}")
        undecided, operations = self.undecided()
        _say(f"Of {undecided} of {operations} operations it can never be known what became of them")
        _say(f"{sum(len(phase.violations) for phase in phases)} violations, those of broken policies included")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
