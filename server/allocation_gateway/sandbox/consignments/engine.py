"""The one place where bookings are made and undone. Every answer about an allocation comes from here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from allocation_gateway.sandbox import journal as effects
from allocation_gateway.sandbox.consignments import errors, states
from allocation_gateway.sandbox.consignments.booking import book
from allocation_gateway.sandbox.consignments.consignments import FailedAllocation, Pool, Quotation, Quote
from allocation_gateway.sandbox.consignments.eligibility import assess, best, cheapness
from allocation_gateway.sandbox.consignments.errors import ConsignmentsError
from allocation_gateway.sandbox.consignments.selection import Scope, check_quote, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from allocation_gateway.sandbox.consignments.catalogue import Service
    from allocation_gateway.sandbox.consignments.consignments import Allocation, Consignment, Details
    from allocation_gateway.sandbox.consignments.eligibility import Offer
    from allocation_gateway.sandbox.consignments.selection import Selection
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.consignments.world import World
    from allocation_gateway.sandbox.journal import Arrival, Journal
    from allocation_gateway.sandbox.switches import SwitchBoard

NOT_FOUND = 404
SHORT_QUOTE_LIFE = timedelta(seconds=5)
# "Within a day" is all that the samples tell.
LONG_QUOTE_LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Job:
    """One consignment that waits for the background worker. `life` tells whether it has been restored meanwhile."""

    consignment: Consignment
    life: int
    selection: Selection
    arrival: Arrival


class Engine:
    """Allocates, deallocates, quotes, and changes states, by the rules of the world and the switches of the moment."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        clock: Callable[[], datetime],
        switches: SwitchBoard[ConsignmentsSwitches],
        enqueue: Callable[[Job], None],
    ) -> None:
        self._world = world
        self._journal = journal
        self._clock = clock
        self._switches = switches
        self._enqueue = enqueue

    def find(self, reference: str, status: int = NOT_FOUND) -> Consignment:
        """The consignment of that reference.

        Raises:
            ConsignmentsError: there is none; the status says so.
        """
        in_any_case = self._switches.current.reference_case == "any"
        consignment = self._world.consignment(reference, in_any_case=in_any_case)
        if consignment is None:
            raise errors.unknown_consignment(reference, status)
        return consignment

    def scope(self, selection: Selection) -> Scope:
        """The services a selection means now; raises ConsignmentsError where it means nothing."""
        return resolve(selection, self._world, self._switches.current)

    def admit(self, reference: str, selection: Selection) -> tuple[Consignment, Scope]:
        """Check all that can be checked before an allocation is tried.

        Raises:
            ConsignmentsError: no such consignment, nothing to allocate with, a quote this consignment cannot use, or a
                state that forbids it.
        """
        switches = self._switches.current
        consignment = self.find(reference, switches.unknown_consignment)
        scope = self.scope(selection)
        if scope.quote is not None:
            check_quote(scope.quote, consignment, self._clock(), switches)
        if not self._may_allocate(consignment):
            raise errors.wrong_state(reference, consignment.state, "allocated", switches)
        return consignment, scope

    def allocate(self, reference: str, selection: Selection, arrival: Arrival) -> tuple[Consignment, Allocation]:
        """Book the cheapest eligible service at once.

        Raises:
            ConsignmentsError: refused, or tried and failed; a failed try leaves the consignment in `AllocationFailed`.
        """
        consignment, scope = self.admit(reference, selection)
        return consignment, self._attempt(consignment, scope, arrival)

    def queue(self, reference: str, selection: Selection, arrival: Arrival) -> None:
        """Leave an allocation to the background worker; raises as `admit` does."""
        consignment, _ = self.admit(reference, selection)
        consignment.state = states.ALLOCATING
        self._journal.write(consignment.reference, "allocating", arrival)
        self._enqueue(Job(consignment, consignment.life, selection, arrival))

    def process(self, job: Job) -> None:
        """Do a queued allocation, unless the consignment was restored or taken by another request meanwhile."""
        consignment = job.consignment
        waiting = consignment.state == states.ALLOCATING or self._may_allocate(consignment)
        if consignment.life != job.life or not waiting:
            return
        # Nobody waits for an error: the failure is on the consignment and in the journal.
        try:
            scope = self.scope(job.selection)
        except ConsignmentsError as problem:
            self._failed(consignment, Scope(()), None, problem.message, job.arrival)
            return
        with suppress(ConsignmentsError):
            self._attempt(consignment, scope, job.arrival)

    def deallocate(self, reference: str, arrival: Arrival) -> None:
        """Undo a booking.

        Raises:
            ConsignmentsError: no such consignment, or a state that forbids it.
        """
        consignment, switches = self.find(reference), self._switches.current
        ready = consignment.state == states.READY_TO_SHIP and switches.deallocate_ready_to_ship
        booked = consignment.allocation
        if booked is None or not (ready or consignment.state in states.DEALLOCATABLE):
            raise errors.wrong_state(reference, consignment.state, "deallocated", switches)
        consignment.allocation = None
        consignment.failed = None
        consignment.state = states.UNALLOCATED
        service = booked.service_reference
        self._journal.write(consignment.reference, effects.DEALLOCATED, arrival, service_reference=service)

    def cancel(self, reference: str, arrival: Arrival) -> None:
        """Cancel a consignment for good; raises as `deallocate` does."""
        switches = self._switches.current
        allowed = states.CANCELLABLE if switches.cancel_once_manifested else states.CANCELLABLE_BEFORE_MANIFEST
        if switches.cancel_once_manifested and switches.cancel_delivery_failed:
            allowed |= {states.DELIVERY_FAILED}
        self._change(reference, allowed, states.CANCELLED, "cancelled", arrival)

    def set_ready(self, reference: str, arrival: Arrival) -> None:
        """Mark an allocated consignment as ready to ship; raises as `deallocate` does."""
        self._change(reference, {states.ALLOCATED}, states.READY_TO_SHIP, "set ready to ship", arrival)

    def set_not_ready(self, reference: str, arrival: Arrival) -> None:
        """Undo that; raises as `deallocate` does."""
        self._change(reference, {states.READY_TO_SHIP}, states.ALLOCATED, "set not ready to ship", arrival)

    def manifest(self, reference: str, arrival: Arrival) -> None:
        """Manifest a consignment; raises as `deallocate` does."""
        self._change(reference, states.MANIFESTABLE, states.MANIFESTED, "manifested", arrival)

    def label(self, reference: str) -> Allocation:
        """Count a label that is made for a consignment; the answer is the booking that it is for.

        Raises:
            ConsignmentsError: no such consignment, or nothing booked that a label could be for.
        """
        consignment = self.find(reference)
        if consignment.allocation is None or consignment.state not in states.LABELLED:
            raise errors.no_label(reference)
        consignment.labels += 1
        consignment.first_printed = consignment.first_printed or self._clock()
        return consignment.allocation

    def quote(self, details: Details, consignment_reference: str | None) -> Quotation:
        """Quote with every eligible service."""
        return self._quote(details, consignment_reference, tuple(self._world.services.values()), None)

    def quote_groups(self, details: Details) -> list[Quotation]:
        """Quote with the eligible services of each group."""
        return [
            self._quote(details, None, self._world.members(group), Pool(group.code, group.name))
            for group in self._world.groups.values()
        ]

    def _may_allocate(self, consignment: Consignment) -> bool:
        switches, state = self._switches.current, consignment.state
        return (
            state in states.ALLOCATABLE
            or (state == states.READY_TO_SHIP and switches.allocate_ready_to_ship)
            or (state in {states.ALLOCATED, states.ALLOCATING} and not switches.guard)
        )

    def _attempt(self, consignment: Consignment, scope: Scope, arrival: Arrival) -> Allocation:
        now = self._clock()
        offers, unqualified = assess(consignment.details, scope.services, now)
        if not offers:
            reason = unqualified[0].reason if scope.named is not None else errors.NO_SERVICE
            raise self._failed(consignment, scope, scope.named, reason, arrival)
        selected = best(offers)
        if selected.service.refuses:
            raise self._failed(consignment, scope, selected.service, errors.COURIER_REFUSAL, arrival)
        return self._book(consignment, scope, selected, arrival, now)

    def _book(
        self, consignment: Consignment, scope: Scope, offer: Offer, arrival: Arrival, now: datetime
    ) -> Allocation:
        price = None if scope.quote is None else scope.quote.price
        booked = book(consignment, offer, self._world.carriers, now, group=scope.group, price=price)
        consignment.allocation = booked
        consignment.failed = None
        consignment.bookings += 1
        consignment.state = states.ALLOCATED
        self._journal.write(
            consignment.reference,
            effects.ALLOCATED,
            arrival,
            service_reference=booked.service_reference,
            net=booked.price.net,
            currency=booked.price.currency,
        )
        return booked

    def _failed(
        self, consignment: Consignment, scope: Scope, tried: Service | None, reason: str, arrival: Arrival
    ) -> ConsignmentsError:
        consignment.state = states.ALLOCATION_FAILED
        consignment.failed = FailedAllocation(
            reason,
            self._clock(),
            None if tried is None else tried.reference,
            None if tried is None else tried.name,
            scope.group,
        )
        self._journal.write(consignment.reference, "allocation_failed", arrival)
        return errors.failed(consignment.reference, reason)

    def _change(
        self, reference: str, allowed: frozenset[str] | set[str], state: str, doing: str, arrival: Arrival
    ) -> None:
        consignment = self.find(reference)
        if consignment.state not in allowed:
            raise errors.wrong_state(reference, consignment.state, doing, self._switches.current)
        self._journal.write(consignment.reference, "state_changed", arrival, before=consignment.state, after=state)
        consignment.state = state

    def _quote(
        self, details: Details, consignment_reference: str | None, services: Sequence[Service], group: Pool | None
    ) -> Quotation:
        now = self._clock()
        offers, unqualified = assess(details, services, now)
        quotes = tuple(
            Quote(
                reference=self._world.make_guid(),
                consignment_reference=consignment_reference,
                service_reference=offer.service.reference,
                service_name=offer.service.name,
                carrier_reference=offer.service.carrier,
                carrier_name=self._world.carriers[offer.service.carrier].name,
                price=offer.price,
                shipping=offer.shipping,
                earliest=offer.earliest,
                latest=offer.latest,
                created=now,
                expires=self._expiry(offer, now),
            )
            for offer in sorted(offers, key=cheapness)
        )
        quotation = Quotation(
            self._world.make_guid(), consignment_reference, details, quotes, tuple(unqualified), group
        )
        self._world.keep(quotation)
        return quotation

    def _expiry(self, offer: Offer, now: datetime) -> datetime:
        kind = self._switches.current.quote_expiry
        if kind == "seconds":
            return now + SHORT_QUOTE_LIFE
        collected = offer.shipping
        expires = collected if kind == "cutoff" else collected.replace(hour=0, minute=0, second=0, microsecond=0)
        return expires if now < expires else now + LONG_QUOTE_LIFE
