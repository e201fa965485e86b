"""Which faults touch which calls, and for how long."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaos.history import Call, History, Incident, Request

# A request that takes so much of its time-out without any fault was delayed by the machine, which is a fault too.
_SLOW: Final = 0.5
# Seconds for the gateway and this machine to get to it.
_MARGIN: Final = 1.0


class Touching:
    """The faults of one phase, by what they touch.

    A fault touches a call if it struck an HTTP request for something that the call names, or befell a process, a whole
    wire or the store; and if it was not over, its settle time included, when the call began.

    Attributes:
        recovery: Seconds in which a call must be answered for good once its last fault is over.
    """

    def __init__(self, history: History) -> None:
        run = history.run
        self._history = history
        self._linger = run.settle + run.lease + run.breaker + _MARGIN
        self.recovery = run.settle + run.lease + run.breaker + 2 * run.timeout + _MARGIN
        self._timeout = run.timeout
        self._struck: dict[str, list[Request]] = defaultdict(list)
        for request in history.requests:
            # Nothing was done to it, and yet its answer found nobody: it came when its time was nearly up.
            late = not request.delivered
            if request.fault or late or request.over - request.arrived > _SLOW * run.timeout:
                for reference in request.references:
                    self._struck[reference].append(request)

    def _began(self, request: Request) -> float:
        return request.arrived if request.fault else request.arrived - self._timeout

    def _spans(self, call: Call) -> Iterator[tuple[float, float]]:
        for reference in call.references:
            yield from ((self._began(request), request.over) for request in self._struck[reference])
        yield from ((one.started, one.ended) for one in self._history.incidents)

    def over(self, call: Call) -> float | None:
        """Returns when the last fault that touches a call was over; None if none touches it."""
        ends = [end for start, end in self._spans(call) if start <= call.ended and end + self._linger >= call.started]
        return max(ends, default=None)

    def kinds(self, call: Call) -> frozenset[str]:
        """Returns the kinds of faults that touch a call."""
        struck = (request for reference in call.references for request in self._struck[reference])
        return frozenset(
            [
                request.fault or "slow machine"
                for request in struck
                if self._began(request) <= call.ended and request.over + self._linger >= call.started
            ]
            + [
                one.kind
                for one in self._history.incidents
                if one.started <= call.ended and one.ended + self._linger >= call.started
            ]
        )

    def unknown_of_recovering(self, calls: Iterable[Call]) -> tuple[int, int]:
        """Counts the calls whose upstream recovered before their deadline: those told *unknown*, and all of them."""
        told = asked = 0
        for call in calls:
            over = self.over(call)
            if over is None or call.deadline - over < self._timeout or call.deadline - call.started < self.recovery:
                continue
            asked += 1
            told += call.reason == "OUTCOME_UNKNOWN"
        return told, asked

    def amplification(self, outage: Incident) -> tuple[int, int]:
        """Counts the writes that were sent while nothing was answered, and the calls that asked for one."""
        sent = sum(one.writes and outage.started <= one.arrived <= outage.ended for one in self._history.requests)
        asked = sum(outage.started <= one.started <= outage.ended for one in self._history.calls)
        return sent, asked
