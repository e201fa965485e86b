"""Whether what a reading shows is so, or may be left from before something was queued.

Upstream lets something be queued whose allocation has failed before, and does not document whether its state changes
then, or only when its turn has come. So a state of failure may be an old one. It is not, if another state was seen
since, or if it has lasted for longer than a queue does.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs.states import Stage
from allocation_gateway.errors import GatewayError
from allocation_gateway.upstream import error_table
from allocation_gateway.upstream.failures import DIALECTS

if TYPE_CHECKING:
    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation

_NOT_FOUND: Final = frozenset(
    {
        ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND,
        ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND,
        # Of a request that names one thing.
        ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
    }
)
_GONE_STATUS: Final = 410
_GONE_CODES: Final = frozenset(
    code for dialect in DIALECTS.values() for code, entry in dialect.by_code.items() if entry is error_table.GONE
)


class Standing(enum.Enum):
    """How something stands, as far as one reading tells."""

    PENDING = "pending"
    """It may still be allocated."""
    UNCLEAR = "unclear"
    """The reading has failed, or shows a state that nobody knows."""
    ALLOCATED = "allocated"
    """It is allocated, or has gone on from there."""
    FAILED = "failed"
    """The last try to allocate it has failed."""
    CANCELLED = "cancelled"
    """It was cancelled, and never gets an allocation again."""
    MISSING = "missing"
    """Upstream does not know it, or has removed it."""


def standing_of(row: Operation, found: AnyAllocation | GatewayError) -> Standing:
    """Returns what a reading tells.

    Args:
        row: The row that reads.
        found: What it has read.
    """
    if isinstance(found, GatewayError):
        is_gone = found.upstream_status == _GONE_STATUS or found.upstream_code in _GONE_CODES
        return Standing.MISSING if is_gone or found.reason in _NOT_FOUND else Standing.UNCLEAR
    stage = row.allocations.stage(found)
    if stage is Stage.ALLOCATED:
        return Standing.ALLOCATED
    if stage is Stage.GONE:
        return Standing.CANCELLED
    if row.allocations.states.has_failed(found.state):
        return Standing.FAILED
    # 0 is what neither API says: a state that is not documented.
    return Standing.PENDING if found.state else Standing.UNCLEAR


class Belief:
    """What was seen of one shipment or consignment since it is followed."""

    __slots__ = ("_has_moved", "_is_known", "_is_missing_since", "_since")

    def __init__(self, since: float, *, is_known: bool) -> None:
        """Has seen nothing.

        Args:
            since: When it was queued, or when it was begun to watch it, by the event loop's clock.
            is_known: Whether upstream is known to have had it: then one answer that it does not proves little.
        """
        self._since = since
        self._is_known = is_known
        self._has_moved = False
        self._is_missing_since: float | None = None

    def is_final(self, standing: Standing, now: float, patience: float) -> bool:
        """Records what a reading shows. Returns whether it stays like that.

        Args:
            standing: What it shows.
            now: The time.
            patience: For how many seconds a state must last that may be left from before.
        """
        if standing is Standing.MISSING:
            if self._is_missing_since is None:
                self._is_missing_since = now
            return not self._is_known or now - self._is_missing_since >= patience
        if standing is Standing.UNCLEAR:
            return False
        self._is_known = True
        self._is_missing_since = None
        if standing is Standing.PENDING:
            self._has_moved = True
            return False
        if standing is Standing.FAILED:
            return self._has_moved or now - self._since >= patience
        return True
