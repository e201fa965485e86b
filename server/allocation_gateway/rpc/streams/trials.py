"""Whose fault it is that upstream refuses bulk calls as a whole: one item's, or that of the selector they share.

A bulk call with one item at fault is halved until that one is found, which takes some fifteen calls. If the selector
is at fault, as with a service group that is not there, halving would take two calls for each item, and end with the
same refusal for each. So items that are drawn at random are tried alone first. The first one that is let through shows
that it is not the selector's fault. If none of so many is, the others are not asked for one by one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from google.rpc import error_details_pb2

if TYPE_CHECKING:
    from allocation_gateway.errors import GatewayError

# So many items alone have to be refused for the reason for which the bulk call was: fewer if the refusal speaks of what
# the selector names, more if it may as well be about the items.
_FEW: Final = 8
_MANY: Final = 200
# Of so many selectors it is remembered.
_MOST: Final = 64
# What is never about the selector, however many items are refused for it.
_OF_ITEMS: Final = frozenset(
    {
        ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND,
        ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND,
        ErrorReason.ERROR_REASON_INVALID_STATE,
    }
)
_OF_SELECTOR: Final = frozenset({"service_group", "carrier_service_reference", "capabilities"})


class Trial:
    """What is known of one selector.

    Attributes:
        turn: Taken by whoever tries items alone: others wait for what comes of it.
    """

    def __init__(self) -> None:
        """Knows nothing yet."""
        self.turn = asyncio.Lock()
        self._has_passed = False
        # For which reason items were refused alone, one after the other, since one was let through; and how many were.
        self._reason: ErrorReason.ValueType | None = None
        self._refused = 0

    def passed(self) -> None:
        """Records that upstream has answered a bulk call with this selector item by item."""
        self._has_passed = True
        self._refused = 0

    def refused_alone(self, error: GatewayError) -> None:
        """Records that upstream has refused a call for one item alone."""
        if error.reason != self._reason:
            self._reason, self._refused = error.reason, 0
        self._refused += 1

    def blames_selector(self, error: GatewayError, selector: Any) -> bool:
        """Tells whether a refusal of several items is known to be the selector's fault."""
        if error.reason in _OF_ITEMS:
            return False
        return _names_selector_alone(error) or (
            self._reason == error.reason and self._refused >= self._enough(error, selector)
        )

    def needs_another(self, error: GatewayError, selector: Any) -> bool:
        """Tells whether another item has to be tried alone before it is known whose fault a refusal is."""
        if self._has_passed or error.reason in _OF_ITEMS or self.blames_selector(error, selector):
            return False
        return self._reason in {None, error.reason}

    def _enough(self, error: GatewayError, selector: Any) -> int:
        is_not_found = error.reason == ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND
        return _FEW if is_not_found and selector.WhichOneof("scope") else _MANY


class Trials:
    """What is known of the selectors of one call."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._of: OrderedDict[bytes, Trial] = OrderedDict()

    def of(self, key: bytes) -> Trial:
        """Returns what is known of a selector."""
        trial = self._of.get(key)
        if trial is None:
            trial = self._of[key] = Trial()
            if len(self._of) > _MOST:
                self._of.popitem(last=False)
        self._of.move_to_end(key)
        return trial


def _names_selector_alone(error: GatewayError) -> bool:
    """Tells whether a refusal complains about fields of the selector, and about nothing else."""
    fields = [
        violation.field.partition("[")[0].partition(".")[0]
        for detail in error.details
        if isinstance(detail, error_details_pb2.BadRequest)
        for violation in detail.field_violations
    ]
    return bool(fields) and _OF_SELECTOR.issuperset(fields)
