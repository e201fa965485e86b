"""What it means for a write that its shipment or consignment was found as it is.

An allocation is adopted, as what an unanswered request brought about, if it can be that and nothing speaks against it.
That it is *not* the write's own is only said where something proves it: another carrier service than the one asked for,
a date that is too old or too late, or another write that is known to have made it. Everything in between is left
undecided. A de-allocation is judged by its goal, and never sent against an allocation that was made after it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation_gateway.codecs.states import Stage
from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.operations.model import Action
from allocation_gateway.references import is_same
from allocation_gateway.writes.clocks import Timing, is_after, timing

if TYPE_CHECKING:
    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.allocations import AllocationType
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.writes.clocks import ClockReading, Interval
    from allocation_gateway.writes.note import Terms


# Parts of the paths, in lower case, of the fields by which one booking is told from another.
_TELLING: Final = ("date", "tracking", "service", "carrier", "more")
# The snapshot of what is not allocated, and of what upstream is at work on, or whose state says nothing.
UNALLOCATED: Final = ""
IN_HAND: Final = "?"


class Origin(NamedTuple):
    """What is known of the write that an allocation may come from.

    Attributes:
        claimed: When it was claimed.
        clock: What the reading tells of upstream's clock; None if it tells nothing.
        terms: What a quote promised that it allocates; None if there is none, or it is not known.
        before: How the shipment stood before anything was sent that can have had an effect, by `snapshot`; None if that
            was not read.
        has_sent: Whether anything was sent that can have had an effect.
        effects_end_at: Until when what was sent can take effect, by the event loop's clock.
        is_resumed: Whether others may have written to the shipment since something was sent.
        is_of_another: Whether the allocation is known to be another write's: True or False if comparing them tells,
            None if another write is known to have allocated the shipment, and comparing tells nothing. False if there
            is none.
        is_queued_by_another: Whether another write is known to have had the shipment queued, so that its turn may come
            at any time.
        is_new: Of a de-allocation: whether the allocation is known to be another than the one that the gateway has
            made last.
    """

    claimed: Interval
    clock: ClockReading | None
    terms: Terms | None = None
    before: str | None = None
    has_sent: bool = True
    effects_end_at: float = math.inf
    is_resumed: bool = False
    is_of_another: bool | None = False
    is_queued_by_another: bool = False
    is_new: bool = False


def assess(operation: Operation, request: Any, found: AnyAllocation, origin: Origin) -> Assessment:
    """Returns what a reading tells of a write.

    Args:
        operation: The row that was called.
        request: The request as it was sent.
        found: How the shipment or consignment stands.
        origin: What is known of the write.
    """
    stage = operation.allocations.stage(found)
    if not operation.action.allocates:
        return _assess_deallocation(operation.allocations, stage, found, origin)
    match stage:
        case Stage.ALLOCATED:
            return _assess_allocation(operation, request, found, origin)
        case Stage.UNALLOCATED:
            return Assessment.ABSENT
        case Stage.GONE:
            # It may have been allocated before it was cancelled.
            return Assessment.UNDECIDED if origin.has_sent else Assessment.NOT_OWN
        case Stage.PENDING:
            return Assessment.DONE if _is_queued(operation, found, origin) else Assessment.PENDING


def _assess_deallocation(allocations: AllocationType, stage: Stage, found: AnyAllocation, origin: Origin) -> Assessment:
    match stage:
        case Stage.UNALLOCATED:
            return Assessment.DONE
        case Stage.PENDING:
            return Assessment.PENDING
        case Stage.GONE:
            # It may have been de-allocated before it was cancelled.
            return Assessment.UNDECIDED if origin.has_sent else Assessment.ABSENT
        case Stage.ALLOCATED:
            # What is still allocated may be de-allocated any moment. What was allocated since is not what was to be
            # taken back: it is not sent again against that, whether or not it was carried out.
            is_new = origin.has_sent and _may_be_new(allocations, found, origin)
            return Assessment.UNDECIDED if is_new else Assessment.ABSENT


def _may_be_new(allocations: AllocationType, found: AnyAllocation, origin: Origin) -> bool:
    """Tells whether an allocation may be another than the one that there was when its de-allocation was claimed."""
    shown = snapshot(allocations, found)
    if origin.before not in {None, UNALLOCATED, IN_HAND} and shown is not None:
        return _booking(shown) != _booking(origin.before)
    is_suspicious = origin.is_new or origin.is_queued_by_another
    return _timing(found, origin) is Timing.AFTER or (is_suspicious and not _is_older(found, origin))


def _is_older(found: AnyAllocation, origin: Origin) -> bool:
    """Tells whether an allocation is older than a write by more than upstream's machines differ."""
    is_timed = found.HasField("allocation_date") and origin.clock is not None
    return is_timed and _timing(found, origin) in {Timing.BEFORE, Timing.UNCLEAR}


def _timing(found: AnyAllocation, origin: Origin) -> Timing:
    """Returns when an allocation was made, as seen from a write; unclear of one without a date."""
    if not found.HasField("allocation_date"):
        return Timing.UNCLEAR
    return timing(found.allocation_date, origin.claimed, origin.clock)


def _is_queued(operation: Operation, found: AnyAllocation, origin: Origin) -> bool:
    """Tells whether something is queued by this write, which is all that a bulk call promises of it."""
    return (
        operation.action is Action.ALLOCATE_BULK
        and operation.allocations.is_queued(found)
        and origin.has_sent
        and (origin.before == UNALLOCATED or (origin.before is None and not origin.is_queued_by_another))
    )


def _assess_allocation(operation: Operation, request: Any, found: AnyAllocation, origin: Origin) -> Assessment:
    """Returns whose an allocation is, as far as that can be known."""
    allocations = operation.allocations
    if not origin.has_sent or not _is_service_asked_for(allocations, request, found, origin.terms):
        return Assessment.NOT_OWN
    if _is_too_late(operation, found, origin):
        return Assessment.NOT_OWN
    if origin.before is None:
        judged = _by_its_date(found, origin)
    elif origin.before == UNALLOCATED:
        # With the claim as a lock, what was not there before has been made by this write since.
        judged = Assessment.DONE
    else:
        judged = _compared(allocations, found, origin, origin.before)
    if judged is not Assessment.DONE:
        return judged
    return Assessment.DONE if _agrees(allocations, request, found, origin.terms) else Assessment.UNDECIDED


def _is_too_late(operation: Operation, found: AnyAllocation, origin: Origin) -> bool:
    """Tells whether an allocation was made when nothing that the write has sent could take effect any more.

    That is never said of what is queued: when its turn comes is upstream's affair.
    """
    return (
        not operation.action.is_bulk
        and found.HasField("allocation_date")
        and is_after(found.allocation_date, origin.effects_end_at, origin.clock)
    )


def _compared(allocations: AllocationType, found: AnyAllocation, origin: Origin, before: str) -> Assessment:
    """Returns whose an allocation is, compared with the one that was there, or on its way, before anything was sent."""
    shown = snapshot(allocations, found)
    if shown == before:
        return Assessment.NOT_OWN
    if before != IN_HAND and shown is not None and _booking(shown) != _booking(before):
        return Assessment.DONE
    # It is the one that was on its way; or the one that was there, with tracking references that came later.
    return Assessment.NOT_OWN if _timing(found, origin) is Timing.BEFORE else Assessment.UNDECIDED


def explains_refusal(operation: Operation, request: Any, found: AnyAllocation, origin: Origin) -> bool:
    """Tells whether how a shipment or consignment stands is why its allocation was refused for its state.

    It is not if it may be the write's own doing: a proxy that sends a request twice passes on how the second one is
    refused. That may be an allocation of which it is not certain whose it is, or one that is on its way and was not
    before. Nor is it if nothing is there: then the first of both may still be at work.
    """
    allocations = operation.allocations
    match allocations.stage(found):
        case Stage.ALLOCATED:
            judged = assess(operation, request, found, origin)
            if judged is not Assessment.UNDECIDED:
                return judged is Assessment.NOT_OWN
            is_precise = origin.clock is not None and origin.clock.is_precise
            # What another write is known to have allocated is why this one was refused, whatever comparing tells.
            return origin.is_of_another is None or (is_precise and _is_older(found, origin))
        case Stage.PENDING:
            return origin.before not in {None, UNALLOCATED}
        case Stage.UNALLOCATED:
            return allocations.states.has_failed(found.state)
        case Stage.GONE:
            return True


def _booking(shown: str) -> list[str]:
    """Returns the moment and the service of a snapshot."""
    return shown.split(" ")[:2]


def _by_its_date(found: AnyAllocation, origin: Origin) -> Assessment:
    """Returns whose an allocation is by when it was made, and by what is known of other writes."""
    if not found.HasField("allocation_date"):
        return Assessment.UNDECIDED
    made = timing(found.allocation_date, origin.claimed, origin.clock)
    is_claimed_since = made is Timing.AFTER and not origin.is_resumed and not origin.is_queued_by_another
    if made is Timing.BEFORE or (origin.is_of_another and not is_claimed_since):
        return Assessment.NOT_OWN
    if made is Timing.UNCLEAR:
        is_precise = origin.clock is None or origin.clock.is_precise
        return Assessment.UNDECIDED if is_precise else Assessment.UNCLEAR
    if origin.is_of_another is None and not is_claimed_since:
        return Assessment.UNDECIDED
    return Assessment.DONE


def may_be_another_writes(operation: Operation, found: AnyAllocation, origin: Origin) -> bool:
    """Tells whether it matters for what is there which other write is known to have allocated the shipment last."""
    if origin.before is not None or not origin.has_sent:
        return False
    if not operation.action.allocates:
        return operation.allocations.is_allocated(found) and not _is_older(found, origin)
    if operation.allocations.is_allocated(found):
        return found.HasField("allocation_date") and _timing(found, origin) is not Timing.BEFORE
    return operation.action is Action.ALLOCATE_BULK and operation.allocations.is_queued(found)


def snapshot(allocations: AllocationType, found: AnyAllocation) -> str | None:
    """Returns what tells the allocation that there is from one that is made later.

    UNALLOCATED if there is none, IN_HAND if there may be one any moment. None if not all of that could be read: two
    readings of one allocation must never look like two.
    """
    if not allocations.is_allocated(found):
        return IN_HAND if allocations.stage(found) is Stage.PENDING else UNALLOCATED
    if any(part in path.lower() for path in found.unreadable for part in _TELLING):
        return None
    made = found.allocation_date
    moment = f"{made.seconds}.{made.nanos:09d}"
    return " ".join((moment, allocations.service(found), *sorted(_tracking_references(allocations, found))))


def is_same_booking(allocations: AllocationType, one: AnyAllocation, other: AnyAllocation) -> bool | None:
    """Tells whether two reports are of the same booking; None if they do not say enough.

    Carriers give tracking references to one booking each, of which one report may have more than another. Without them,
    only a difference of the service tells.
    """
    ours, theirs = _tracking_references(allocations, one), _tracking_references(allocations, other)
    if ours and theirs:
        return not ours.isdisjoint(theirs)
    service, other_service = allocations.service(one), allocations.service(other)
    return False if service and other_service and not is_same(service, other_service) else None


def _tracking_references(allocations: AllocationType, found: AnyAllocation) -> frozenset[str]:
    return frozenset(allocations.tracking_references(found))


def _is_service_asked_for(allocations: AllocationType, request: Any, found: AnyAllocation, terms: Terms | None) -> bool:
    """Tells whether an allocation can be with the service that was asked for. One that names none can be."""
    service = allocations.service(found)
    wanted = _wanted(request, "carrier_service_reference") or (terms.service if terms is not None else "")
    return not service or not wanted or is_same(service, wanted)


def _agrees(allocations: AllocationType, request: Any, found: AnyAllocation, terms: Terms | None) -> bool:
    """Tells whether an allocation is what was asked for, as far as it says. A difference proves nothing by itself."""
    group = _wanted(request, "service_group")
    # Which group a quote was made with, it does not say.
    if not _wanted(request, "quote_reference") and not allocations.agrees_on_group(found, group):
        return False
    has_price = found.HasField("price") and found.price.HasField("gross")
    return terms is None or not has_price or terms.agrees(found.price.gross)


def _wanted(request: Any, field: str) -> str:
    """Returns what a request asks for; empty if it has no such field, or leaves it to upstream."""
    return getattr(request, field, "")
