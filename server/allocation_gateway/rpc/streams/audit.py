"""The audit lines of the items of a job: one for all that have ended alike, when they have ended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from allocation_gateway.errors import status_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from allocation_gateway.callers.guard import Guard
    from allocation_gateway.rpc.streams.job import Item
    from allocation_gateway.rpc.streams.outcomes import Found


class ItemAudit:
    """The writes of one call's items, as the audit sees them."""

    def __init__(self, guard: Guard | None, fields: Mapping[str, Any]) -> None:
        """Has no writes yet.

        Args:
            guard: Leaves the lines; None if there are none.
            fields: What log lines say of the call.
        """
        self._guard = guard
        self._fields = fields
        # Those that have not ended, with what was told of each last.
        self._open: dict[str, Found | None] = {}
        self._ended: dict[tuple[str, str], list[str]] = {}

    def begun(self, items: Iterable[Item]) -> None:
        """Records that items may be sent from now on."""
        if self._guard is not None:
            for item in items:
                self._open.setdefault(item.reference, None)

    def waits(self, item: Item, found: Found) -> None:
        """Records that an item is asked for again, and why."""
        if self._guard is not None:
            self._open[item.reference] = found

    def ended(self, item: Item, found: Found) -> None:
        """Records what the write of an item has come to."""
        if self._guard is not None:
            self._open.pop(item.reference, None)
            self._end(item.reference, found)

    def _end(self, reference: str, found: Found | None) -> None:
        told = (StatusCode.CANCELLED.name, "") if found is None else status_names(found.error)
        self._ended.setdefault(told, []).append(reference)

    def leave_lines(self) -> None:
        """Leaves the lines of what has ended since the last time."""
        ended, self._ended = self._ended, {}
        if self._guard is None:
            return
        for (code, reason), references in ended.items():
            fields = {**self._fields, "reason": reason} if reason else self._fields
            self._guard.audit(code, fields, writes=True, references=partial(tuple, references))

    def close(self) -> None:
        """Leaves the lines of what the call did not see the end of, too: as it was known last."""
        for reference, found in self._open.items():
            self._end(reference, found)
        self._open.clear()
        self.leave_lines()
