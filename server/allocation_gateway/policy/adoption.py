"""What it means for a write that its shipment or consignment was found as it is.

An allocation is adopted, as what an unanswered request brought about, only if it can be that: it was not made before
the request was sent, and service, quote or group agree wherever they can be known. A de-allocation is judged by its
goal.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2

from allocation_gateway.operations.model import Effect

if TYPE_CHECKING:
    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.policy.quotes import Terms

# What upstream's clock shows is cut to seconds, in the header Date and perhaps in an allocation's date.
TOLERANCE: Final = timedelta(seconds=2)


class Standing(enum.Enum):
    """What a write has come to, as far as one reading tells."""

    DONE = "done"
    """It has been carried out, or what it was to bring about is so."""
    OTHER = "other"
    """The shipment is allocated, or gone for good, and not by this write."""
    ABSENT = "absent"
    """No effect of it is there. It may still come."""
    PENDING = "pending"
    """Upstream is at work on it, or its state says nothing."""


class Origin(NamedTuple):
    """What is known of the write that an allocation may come from.

    Attributes:
        sent_after: The moment, by upstream's clock, before which the write was certainly not sent.
        terms: What a quote promised that it allocates; None if there is none, or it is not known.
        is_other: True if the allocation last known here is another request's.
    """

    sent_after: datetime
    terms: Terms | None
    is_other: bool


def _states(kind: Any, *names: str) -> frozenset[int]:
    prefix = f"{kind.DESCRIPTOR.full_name.rpartition('.')[2].replace('State', '_State').upper()}_"
    return frozenset(kind.Value(prefix + name) for name in names)


_SHIP_UNALLOCATED: Final = _states(core_pb2.ShipmentState, "UNALLOCATED", "ALLOCATION_FAILED")
_SHIP_PENDING: Final = _states(core_pb2.ShipmentState, "UNSPECIFIED", "ALLOCATING")
_SHIP_GONE: Final = _states(core_pb2.ShipmentState, "CANCELLED", "CANCELLING")
_UNALLOCATED: Final = _states(pb.ConsignmentState, "UNALLOCATED", "ALLOCATION_FAILED")
_PENDING: Final = _states(pb.ConsignmentState, "UNSPECIFIED", "ALLOCATING")
_GONE: Final = _states(pb.ConsignmentState, "CANCELLED", "CANCELLING")


def is_allocated(found: AnyAllocation) -> bool:
    """Tells whether a shipment or consignment is allocated, or has gone on from there."""
    return _phase(found) is Standing.DONE


def standing(operation: Operation, request: Any, found: AnyAllocation, origin: Origin) -> Standing:
    """Returns what a reading tells of a write.

    Args:
        operation: The row that was called.
        request: The request as it was sent.
        found: How the shipment or consignment stands.
        origin: What is known of the write.
    """
    phase = _phase(found)
    if not operation.effect.allocates:
        # What is still allocated may be de-allocated any moment, and so may what is only being allocated.
        return {Standing.ABSENT: Standing.DONE, Standing.PENDING: Standing.PENDING}.get(phase, Standing.ABSENT)
    if phase is Standing.PENDING and operation.effect is Effect.ALLOCATE_BULK and _is_queued(found):
        return Standing.DONE
    if phase is not Standing.DONE:
        return phase
    if not found.HasField("allocation_date"):
        return Standing.PENDING
    return Standing.DONE if _can_come_from(request, found, origin) else Standing.OTHER


def _phase(found: AnyAllocation) -> Standing:
    if isinstance(found, core_pb2.Allocation):
        unallocated, pending, gone = _SHIP_UNALLOCATED, _SHIP_PENDING, _SHIP_GONE
    else:
        unallocated, pending, gone = _UNALLOCATED, _PENDING, _GONE
    if found.state in unallocated:
        return Standing.ABSENT
    if found.state in pending:
        return Standing.PENDING
    return Standing.OTHER if found.state in gone else Standing.DONE


def _is_queued(found: AnyAllocation) -> bool:
    """Tells whether a bulk call to Ship has done what it promises: to queue."""
    return isinstance(found, core_pb2.Allocation) and found.state == core_pb2.SHIPMENT_STATE_ALLOCATING


def _can_come_from(request: Any, found: AnyAllocation, origin: Origin) -> bool:
    made = found.allocation_date.ToDatetime(tzinfo=UTC)
    if origin.is_other or made < origin.sent_after - TOLERANCE:
        return False
    service = _service(found)
    wanted = _wanted(request, "carrier_service_reference")
    if wanted and service and service != wanted:
        return False
    group = _wanted(request, "service_group")
    if group and isinstance(found, pb.ConsignmentAllocation) and found.service_group.casefold() != group.casefold():
        return False
    terms = origin.terms
    if terms is None:
        return True
    if terms.service and service and service != terms.service:
        return False
    return not (found.HasField("price") and found.price.HasField("gross")) or terms.agrees(found.price.gross)


def _service(found: AnyAllocation) -> str:
    if isinstance(found, core_pb2.Allocation):
        return found.carrier.service_reference
    return found.carrier_service_reference


def _wanted(request: Any, field: str) -> str:
    """Returns what a request asks for; empty if it has no such field, or leaves it to upstream."""
    return getattr(request, field, "")
