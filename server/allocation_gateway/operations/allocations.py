"""How the policies read the allocations of each API: by what is named here, whatever messages they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2

from allocation_gateway.codecs import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from allocation_gateway.codecs.states import Stage, States
    from allocation_gateway.errors import AnyAllocation


@dataclass(frozen=True, slots=True)
class AllocationType:
    """The allocations of one API.

    Attributes:
        message: The class of their messages.
        states: In which states something is allocated.
        is_conclusive: Tells whether the answer to a single allocation says how it ended.
        proves_group: Tells whether the answer to a single allocation proves that the group which it names exists.
        is_queued: Tells whether something is queued to be allocated, which is all that a bulk call promises.
        carrier: Returns the reference of the carrier; empty if it is not told.
        service: Returns the reference of the carrier service; empty if it is not told.
        agrees_on_group: Tells whether the service group that is told is the one of a code, which is empty where none
            was asked for; True if none is ever told.
        tracking_references: Returns all tracking references.
        quoted_service: Returns the reference of the carrier service that a quote is for; empty if it is not told.
    """

    message: type[Message]
    states: States
    is_conclusive: Callable[[Any], bool]
    proves_group: Callable[[Any], bool]
    is_queued: Callable[[Any], bool]
    carrier: Callable[[Any], str]
    service: Callable[[Any], str]
    agrees_on_group: Callable[[Any, str], bool]
    tracking_references: Callable[[Any], Iterator[str]]
    quoted_service: Callable[[Any], str]

    def stage(self, found: AnyAllocation) -> Stage:
        """Returns how far a shipment or consignment has come."""
        return self.states.stage(found.state)

    def is_allocated(self, found: AnyAllocation) -> bool:
        """Tells whether a shipment or consignment is allocated, or has gone on from there."""
        return self.states.is_allocated(found.state)


def _shipment_tracking_references(found: core_pb2.Allocation) -> Iterator[str]:
    yield from found.tracking_details.shipment.tracking_references
    for contents in found.tracking_details.contents:
        yield from contents.tracking_references


def _says_consignment_allocated(found: pb.ConsignmentAllocation) -> bool:
    # A summary has no state: what has no word of its own only says that the request was accepted.
    says = found.carrier_service_reference or found.description or found.links
    return bool(says) or states.CONSIGNMENTS.is_allocated(found.state)


def _consignment_tracking_references(found: pb.ConsignmentAllocation) -> Iterator[str]:
    for leg in found.legs:
        yield from leg.tracking_references


SHIP: Final = AllocationType(
    message=core_pb2.Allocation,
    states=states.SHIP,
    is_conclusive=lambda found: states.SHIP.is_allocated(found.state),
    # Only the state of an allocation that has just been made, and not one that follows it.
    proves_group=lambda found: found.state == core_pb2.SHIPMENT_STATE_ALLOCATED,
    is_queued=lambda found: found.state == core_pb2.SHIPMENT_STATE_ALLOCATING,
    carrier=lambda found: found.carrier.reference,
    service=lambda found: found.carrier.service_reference,
    agrees_on_group=lambda _found, _code: True,
    tracking_references=_shipment_tracking_references,
    quoted_service=lambda quote: quote.carrier.service_reference,
)
CONSIGNMENTS: Final = AllocationType(
    message=pb.ConsignmentAllocation,
    states=states.CONSIGNMENTS,
    is_conclusive=_says_consignment_allocated,
    proves_group=lambda found: bool(found.carrier_service_reference),
    is_queued=lambda _: False,
    carrier=lambda found: found.carrier_reference,
    service=lambda found: found.carrier_service_reference,
    agrees_on_group=lambda found, code: found.service_group.casefold() == code.casefold(),
    tracking_references=_consignment_tracking_references,
    quoted_service=lambda quote: quote.carrier_service_reference,
)
