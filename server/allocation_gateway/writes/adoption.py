"""What it means for a write that its shipment or consignment was found as it is.

An allocation is adopted, as what an unanswered request brought about, if it can be that and nothing speaks against it.
That it is *not* the write's own is only said where something proves it: another carrier service than the one asked for,
a date that is too old, or another write that is known to have made it. Everything in between is left undecided. A
de-allocation is judged by its goal.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2

from allocation_gateway.operations.model import Effect
from allocation_gateway.writes.moments import Timing, timing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.writes.moments import Sighting, Span
    from allocation_gateway.writes.note import Terms


# What the paths of that have in common, in small letters, by which one booking is told from another.
_TELLING: Final = ("date", "tracking", "service", "carrier", "more")
# The mark of what is not allocated.
UNALLOCATED: Final = ""


class Standing(enum.Enum):
    """What a write has come to, as far as one reading tells."""

    DONE = "done"
    """It has been carried out, or what it was to bring about is so."""
    OTHER = "other"
    """The shipment is allocated, or gone for good, and certainly not by this write."""
    ABSENT = "absent"
    """No effect of it is there. It may still come."""
    PENDING = "pending"
    """Upstream is at work on it, or its state says nothing."""
    UNDECIDED = "undecided"
    """The shipment is allocated, and no later reading will tell whether by this write."""
    UNCLEAR = "unclear"
    """The shipment is allocated. Whether by this write, another reading may tell, if it is faster."""


class Origin(NamedTuple):
    """What is known of the write that an allocation may come from.

    Attributes:
        claimed: When it was claimed.
        seen: What the reading tells of upstream's clock; None if it tells nothing.
        terms: What a quote promised that it allocates; None if there is none, or it is not known.
        before: How the shipment stood before anything was sent that can have had an effect, by `mark`; None if that was
            not read.
        has_sent: Whether anything was sent that can have had an effect.
        is_resumed: Whether others may have written to the shipment since something was sent.
        is_owned: Whether the allocation is known to be another write's: True or False if comparing them tells, None if
            another write is known to have allocated the shipment, and comparing tells nothing. False if there is none.
    """

    claimed: Span
    seen: Sighting | None
    terms: Terms | None = None
    before: str | None = None
    has_sent: bool = True
    is_resumed: bool = False
    is_owned: bool | None = False


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
    return _origin_of(request, found, origin) if phase is Standing.DONE else phase


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


def _origin_of(request: Any, found: AnyAllocation, origin: Origin) -> Standing:
    """Returns whose an allocation is, as far as that can be known."""
    if not origin.has_sent or not _is_service_asked_for(request, found, origin.terms):
        return Standing.OTHER
    if origin.before is not None:
        # With the claim as a lock, what was not there before has been made by this write since.
        shown = mark(found)
        if shown is None and origin.before != UNALLOCATED:
            return Standing.UNDECIDED
        if shown == origin.before:
            return Standing.OTHER
    elif not found.HasField("allocation_date"):
        return Standing.UNDECIDED
    else:
        made = timing(found.allocation_date, origin.claimed, origin.seen)
        is_claimed_since = made is Timing.AFTER and not origin.is_resumed
        if made is Timing.BEFORE or (origin.is_owned and not is_claimed_since):
            return Standing.OTHER
        if made is Timing.UNCLEAR:
            is_sharp = origin.seen is None or origin.seen.is_sharp
            return Standing.UNDECIDED if is_sharp else Standing.UNCLEAR
        if origin.is_owned is None and not is_claimed_since:
            return Standing.UNDECIDED
    return Standing.DONE if _agrees(request, found, origin.terms) else Standing.UNDECIDED


def may_be_another_writes(found: AnyAllocation, origin: Origin) -> bool:
    """Tells whether it matters for an allocation which other write is known to have allocated the shipment last."""
    if (
        origin.before is not None
        or not origin.has_sent
        or not is_allocated(found)
        or not found.HasField("allocation_date")
    ):
        return False
    made = timing(found.allocation_date, origin.claimed, origin.seen)
    return made in {Timing.NEAR, Timing.UNCLEAR} or (made is Timing.AFTER and origin.is_resumed)


def mark(found: AnyAllocation) -> str | None:
    """Returns what tells the allocation that there is from one that is made later; UNALLOCATED if there is none.

    None if not all of that could be read: two readings of one allocation must never look like two.
    """
    if not is_allocated(found):
        return UNALLOCATED
    if any(part in path.lower() for path in found.unreadable for part in _TELLING):
        return None
    made = found.allocation_date
    return " ".join((f"{made.seconds}.{made.nanos:09d}", _service(found), *sorted(_tracking_references(found))))


def is_same_booking(one: AnyAllocation, other: AnyAllocation) -> bool | None:
    """Tells whether two reports are of the same booking; None if they do not say enough.

    Carriers give tracking references to one booking each. Without them, only a difference of the service tells.
    """
    ours, theirs = _tracking_references(one), _tracking_references(other)
    if ours and theirs:
        return ours == theirs
    if _service(one) and _service(other) and _service(one) != _service(other):
        return False
    return None


def _tracking_references(found: AnyAllocation) -> frozenset[str]:
    return frozenset(_each_tracking_reference(found))


def _each_tracking_reference(found: AnyAllocation) -> Iterator[str]:
    if isinstance(found, core_pb2.Allocation):
        yield from found.tracking_details.shipment.tracking_references
        for contents in found.tracking_details.contents:
            yield from contents.tracking_references
    else:
        for leg in found.legs:
            yield from leg.tracking_references


def _is_service_asked_for(request: Any, found: AnyAllocation, terms: Terms | None) -> bool:
    """Tells whether an allocation can be with the service that was asked for. One that names none can be."""
    service = _service(found).casefold()
    wanted = _wanted(request, "carrier_service_reference") or (terms.service if terms is not None else "")
    return not service or not wanted or service == wanted.casefold()


def _agrees(request: Any, found: AnyAllocation, terms: Terms | None) -> bool:
    """Tells whether an allocation is what was asked for, as far as it says. A difference proves nothing by itself."""
    group = _wanted(request, "service_group")
    if group and isinstance(found, pb.ConsignmentAllocation) and found.service_group.casefold() != group.casefold():
        return False
    has_price = found.HasField("price") and found.price.HasField("gross")
    return terms is None or not has_price or terms.agrees(found.price.gross)


def _service(found: AnyAllocation) -> str:
    if isinstance(found, core_pb2.Allocation):
        return found.carrier.service_reference
    return found.carrier_service_reference


def _wanted(request: Any, field: str) -> str:
    """Returns what a request asks for; empty if it has no such field, or leaves it to upstream."""
    return getattr(request, field, "")
