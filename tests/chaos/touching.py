"""Which faults touch which calls, and for how long."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaos.history import CALLER_KILLED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Call, History, Incident, Request


class Touching:
    """The faults of one phase, by what they touch.

    A fault touches a call if it struck an HTTP request or a command to the store for something that the call names, or
    befell a process, a whole wire or the store; and if it was not over, its settle time included, when the call began.
    """

    def __init__(self, history: History) -> None:
        run = history.run
        self._history = history
        self._linger = run.linger
        self._recovery = run.recovery
        self._timeout = run.timeout
        self._struck: dict[str, list[Request]] = defaultdict(list)
        self._incidents: dict[str, list[Incident]] = defaultdict(list)
        for request in history.requests:
            # Of one to which nothing was done the answer found nobody if the gateway had left: its process had ended,
            # or had been too slow to send it. That is not asked here, since it is counted as a fault of the process.
            if request.fault:
                for reference in request.references:
                    self._struck[reference].append(request)
        for incident in history.incidents:
            if incident.kind == CALLER_KILLED:
                continue
            for name in incident.named or ("",):
                self._incidents[name].append(incident)

    def _incidents_of(self, call: Call) -> Iterator[Incident]:
        if self._incidents:
            for name in ("", call.id, *call.references):
                yield from self._incidents.get(name, ())

    def _spans(self, call: Call) -> Iterator[tuple[float, float]]:
        for reference in call.references:
            yield from ((request.arrived, request.over) for request in self._struck.get(reference, ()))
        yield from ((one.started, one.ended) for one in self._incidents_of(call))

    def over(self, call: Call) -> float | None:
        """Returns when the last fault that touches a call was over; None if none touches it."""
        ends = [end for start, end in self._spans(call) if start <= call.ended and end + self._linger >= call.started]
        return max(ends, default=None)

    def kinds(self, call: Call) -> frozenset[str]:
        """Returns the kinds of faults that touch a call."""
        struck = (request for reference in call.references for request in self._struck.get(reference, ()))
        return frozenset(
            [
                request.fault
                for request in struck
                if request.arrived <= call.ended and request.over + self._linger >= call.started
            ]
            + [
                one.kind
                for one in self._incidents_of(call)
                if one.started <= call.ended and one.ended + self._linger >= call.started
            ]
        )

    def recovered(self, call: Call) -> bool:
        """Tells whether a fault touches a call, and its upstream recovered well before its deadline."""
        over = self.over(call)
        return (
            over is not None
            and call.deadline - over >= self._timeout
            and call.deadline - call.started >= self._recovery
        )

    def amplification(self, outage: Incident) -> tuple[int, int]:
        """Counts the writes that were sent while nothing was answered, and the calls that asked for one."""
        sent = sum(one.writes and outage.started <= one.arrived <= outage.ended for one in self._history.requests)
        asked = sum(outage.started <= one.started <= outage.ended for one in self._history.calls)
        return sent, asked
