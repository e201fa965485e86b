"""Ten faults, by which panels of the dashboards each is told from all the others, and which alerts it fires."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.prometheus import selected

from helm import panels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

_PANELS: Final = {panel.question: panel for board in panels.BOARDS for _, row in board.rows for panel in row}
_BOARDS: Final = {panel.question: board.name for board in panels.BOARDS for _, row in board.rows for panel in row}
# What is a rate is one of the last seconds, so that nobody waits for long until a fault is forgotten.
_INTERVAL: Final = "4s"


class Sign(NamedTuple):
    """Something that can be seen on a panel.

    Attributes:
        question: The panel.
        series: The legend of the series that shows it, as a regular expression.
        above: What the value is above of; None if it has to be below something.
        below: What the value is below of.
    """

    question: str
    series: str
    above: float | None = None
    below: float | None = None

    def is_in(self, values: Mapping[str, Sequence[tuple[str, float]]]) -> bool:
        """Tells whether it can be seen in what panels show: the series of each, by its question."""
        return any(
            re.fullmatch(self.series, legend)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            for legend, value in values[self.question]
        )


def signs(client: httpx.Client) -> frozenset[str]:
    """Asks Prometheus which signs can be seen now."""
    values = {question: _values(client, question) for question in {sign.question for sign in SIGNS.values()}}
    return frozenset(name for name, sign in SIGNS.items() if sign.is_in(values))


def _values(client: httpx.Client, question: str) -> list[tuple[str, float]]:
    """Returns the series of a panel as they are now, by their legends."""
    found = []
    for query in _PANELS[question].queries:
        answer = client.get("/api/v1/query", params={"query": selected(query.expression, _INTERVAL)}).json()
        found += [(_legend(query.legend, one["metric"]), float(one["value"][1])) for one in answer["data"]["result"]]
    return found


def _legend(template: str, labels: Mapping[str, Any]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: str(labels.get(match[1], "")), template)


_FAULT: Final = "Whose fault are the calls that fail?"
_ANSWERS: Final = "What does Sorted answer?"
SOME: Final = 0.3
"""So many in a second are no accident."""

SIGNS: Final = {
    "Sorted is blamed": Sign(_FAULT, "Sorted", above=SOME),
    "the store is blamed": Sign(_FAULT, "the store", above=SOME),
    "too many calls are blamed": Sign(_FAULT, "too many calls", above=SOME),
    "Sorted answers 500": Sign(_ANSWERS, "500", above=SOME),
    "Sorted answers 429": Sign(_ANSWERS, "429", above=SOME),
    "Sorted answers 401": Sign(_ANSWERS, "401", above=SOME),
    "requests are slow": Sign("How long does Sorted take?", "95%", above=1.1),
    "steps of the store are slow": Sign("Is the store there, and quick?", "95%", above=0.2),
    "the store cannot be used": Sign("Can the store be used?", ".*", below=0.5),
    "one caller calls very often": Sign("Who calls how often?", "jwt:flood", above=20.0),
    "the catalogue cannot be used": Sign("Can catalogue and cache be used?", "catalogue", below=0.5),
    "the event loop is held up": Sign("Is the event loop held up?", ".*", above=0.45),
    "a worker was replaced": Sign("How often were workers replaced?", ".*", above=0.5),
}


class Look(NamedTuple):
    """What a fault looks like.

    Attributes:
        shows: The signs that are always there.
        may_show: Those that are there now and then. All others are not.
        stays: Those that stay when it is over.
        fires: The alerts that it fires, without the name of the gateway that they begin with.
        runbook: The one that says what to do.
    """

    shows: frozenset[str]
    may_show: frozenset[str]
    stays: frozenset[str]
    fires: frozenset[str]
    runbook: str = ""

    def is_told_from(self, other: Look) -> bool:
        """Tells whether something shows which of two faults it is."""
        return bool(self.shows - other.shows - other.may_show or other.shows - self.shows - self.may_show)

    def fits(self, seen: frozenset[str]) -> bool:
        """Tells whether it is what is seen."""
        return self.shows <= seen <= self.shows | self.may_show


def _look(
    *shows: str,
    may: tuple[str, ...] = (),
    stays: tuple[str, ...] = (),
    fires: tuple[str, ...] = (),
    runbook: str = "",
) -> Look:
    return Look(frozenset(shows), frozenset(may), frozenset(stays), frozenset(fires), runbook)


def row(fault: str) -> str:
    """Returns the row of a fault in docs/runbooks/README.md: what shows it, where, and what to do."""
    look = TABLE[fault]
    shown = [name for name in SIGNS if name in look.shows]
    on = {name: _BOARDS[SIGNS[name].question] for name in shown}
    first = [name for name in shown if on[name] == panels.OVERVIEW.name]
    told = SIGNS[first[0]].question if first else "none of the overview"
    rest = "; ".join(f"{name} (*{on[name]}*)" for name in shown)
    return f"| {fault} | {told} | {rest} | [{look.runbook}]({look.runbook}.md) |"


# By the names that docs/runbooks/README.md has for them.
TABLE: Final[Mapping[str, Look]] = {
    "Sorted is slow": _look("requests are slow", fires=("UpstreamSlow",), runbook="upstream-slow"),
    "Sorted answers 5xx": _look(
        "Sorted is blamed",
        "Sorted answers 500",
        fires=("UpstreamFailing", "ErrorBudgetFast", "ErrorBudgetSlow"),
        runbook="upstream-failing",
    ),
    # Who is throttled gets RESOURCE_EXHAUSTED, by which nobody is woken up: callers slow down.
    "Sorted throttles": _look("Sorted is blamed", "Sorted answers 429", runbook="upstream-failing"),
    "the key is rejected": _look(
        "Sorted is blamed", "Sorted answers 401", fires=("UpstreamKeyRejected",), runbook="upstream-key-rejected"
    ),
    "the store is down": _look(
        "the store is blamed", "the store cannot be used", fires=("ClaimStoreDown",), runbook="claim-store-down"
    ),
    "the store is slow": _look("steps of the store are slow", runbook="claim-store-down"),
    "one caller floods": _look(
        "too many calls are blamed",
        "one caller calls very often",
        may=("steps of the store are slow",),
        fires=("Overloaded",),
        runbook="overloaded",
    ),
    "a bad edit of the catalogue": _look(
        "the catalogue cannot be used", fires=("CatalogueNotUsable",), runbook="catalogue-not-usable"
    ),
    "the event loop is blocked": _look(
        "the event loop is held up",
        may=("steps of the store are slow", "requests are slow"),
        fires=("EventLoopBlocked",),
        runbook="event-loop-blocked",
    ),
    "a worker dies": _look(
        "a worker was replaced",
        stays=("a worker was replaced",),
        fires=("WorkerRestarting",),
        runbook="worker-restarting",
    ),
}

FURTHER: Final[Mapping[str, Look]] = {
    "nothing comes back from Sorted": _look(fires=("BreakerOpen", "WriteInDoubt")),
    "Sorted answers what is not documented": _look(fires=("ContractBroken",)),
    "somebody else allocates": _look(fires=("OutcomeUnknown",)),
    "a worker cannot be replaced": _look(stays=("a worker was replaced",), fires=("WorkerMissing",)),
}
"""What is beside the ten, of which the alerts alone are told: with them, there is a fault for every alert."""
