"""A history, ordered by what its records are about."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from chaos.history import CANCELLED

if TYPE_CHECKING:
    from chaos.history import Call, Effect, History, Operation, Request

EFFECT_OF: Final = {"allocate": "allocated", "deallocate": "deallocated", "queue": "allocated"}
UNDONE_BY: Final = {"allocated": "deallocated", "deallocated": "allocated"}


class Records:
    """What one history has of each request id, and of each shipment or consignment.

    Attributes:
        history: All of it.
        operations: What was wanted, by its id.
        calls: The calls with an id, in the order in which they were begun.
        asked_for: The calls that name a reference.
        sent_for: The requests that name a reference.
        writes: The requests for an id that change something, in the order in which they arrived.
        effects_on: What happened to a reference, in the order of time.
        effects_for: What happened for an id, in the order of time.
        cancelled: The references that somebody outside has cancelled, and when.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.operations = {operation.id: operation for operation in history.operations}
        self.calls: dict[str, list[Call]] = defaultdict(list)
        self.asked_for: dict[str, list[Call]] = defaultdict(list)
        for call in sorted(history.calls, key=lambda one: one.started):
            self.calls[call.id].append(call)
            for reference in call.references:
                self.asked_for[reference].append(call)
        self.sent_for: dict[str, list[Request]] = defaultdict(list)
        self.writes: dict[str, list[Request]] = defaultdict(list)
        for request in sorted(history.requests, key=lambda one: one.arrived):
            if request.writes:
                self.writes[request.trace].append(request)
            for reference in request.references:
                self.sent_for[reference].append(request)
        self.effects_on: dict[str, list[Effect]] = defaultdict(list)
        self.effects_for: dict[str, list[Effect]] = defaultdict(list)
        self.cancelled = {one.reference: one.time for one in history.effects if one.kind == CANCELLED}
        for effect in sorted(history.effects, key=lambda one: one.time):
            if effect.kind in UNDONE_BY:
                self.effects_on[effect.reference].append(effect)
                self.effects_for[effect.trace].append(effect)

    def effects(self, operation: Operation) -> list[Effect]:
        """Returns what happened for an operation, of what it wanted."""
        kind = EFFECT_OF[operation.verb]
        return [
            one for one in self.effects_for[operation.id] if one.kind == kind and one.reference in operation.references
        ]

    def cause(self, effect: Effect) -> Request | None:
        """Returns the request that led to an effect: the last of its id that was passed on before; None if none was."""
        found = None
        for one in self.writes[effect.trace]:
            if effect.reference in one.references and one.forwarded is not None and one.forwarded <= effect.time:
                found = one
        return found
