"""The one place where bookings are made and undone. Every answer of Ship about an allocation comes from here."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocation_gateway.sandbox import journal as effects
from allocation_gateway.sandbox.ship import errors, states
from allocation_gateway.sandbox.ship.eligibility import Exclusion, Offer, assess, best, passed_over, takes_type
from allocation_gateway.sandbox.ship.errors import Detail, ShipError
from allocation_gateway.sandbox.ship.selection import Scope, check_quote, resolve
from allocation_gateway.sandbox.ship.shipments import Allocation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from allocation_gateway.sandbox.journal import Arrival, Journal
    from allocation_gateway.sandbox.ship.catalogue import Service
    from allocation_gateway.sandbox.ship.eligibility import ProofOfDelivery
    from allocation_gateway.sandbox.ship.selection import Selection
    from allocation_gateway.sandbox.ship.shipments import Quote, Shipment
    from allocation_gateway.sandbox.ship.switches import ShipSwitches
    from allocation_gateway.sandbox.ship.world import World
    from allocation_gateway.sandbox.switches import SwitchBoard


@dataclass(frozen=True, slots=True)
class Job:
    """One shipment that waits for the background worker. `life` tells whether it has been restored meanwhile."""

    shipment: Shipment
    life: int
    selection: Selection
    proof: ProofOfDelivery | None
    arrival: Arrival


class Engine:
    """Allocates, deallocates, and changes states, by the rules of the world and the switches of the moment."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        clock: Callable[[], datetime],
        switches: SwitchBoard[ShipSwitches],
        enqueue: Callable[[Job], None],
    ) -> None:
        self._world = world
        self._journal = journal
        self._clock = clock
        self._switches = switches
        self._enqueue = enqueue

    def known(self, reference: str) -> Shipment | None:
        """The shipment of that reference, if there is one."""
        in_any_case = self._switches.current.reference_case == "any"
        return self._world.shipment(reference, in_any_case=in_any_case)

    def find(self, reference: str) -> Shipment:
        """The shipment of that reference.

        Raises:
            ShipError: there is none.
        """
        shipment = self.known(reference)
        if shipment is None:
            raise errors.unknown_shipment(self._switches.current)
        return shipment

    def scope(self, selection: Selection) -> Scope:
        """The services a selection means now; raises ShipError where it means nothing."""
        return resolve(selection, self._world, self._switches.current)

    def objection(self, shipment: Shipment) -> ShipError | None:
        """Why the shipment's state does not allow an allocation: 521 `shipment_invalid_state`; None if it does."""
        if self._may_allocate(shipment):
            return None
        message = f"Shipment {shipment.reference} cannot be allocated in state {shipment.state}"
        return errors.failed(self._switches.current, errors.SHIPMENT_INVALID_STATE, message, shipment)

    def admit(self, shipment: Shipment, selection: Selection) -> Scope:
        """Check all that can be checked before an allocation is tried.

        Raises:
            ShipError: nothing to allocate with, a quote this shipment cannot use, or a state that forbids it.
        """
        scope = self.scope(selection)
        if scope.quote is not None:
            check_quote(scope.quote, shipment, self._clock(), self._switches.current)
        objection = self.objection(shipment)
        if objection is not None:
            raise objection
        return scope

    def allocate(
        self,
        shipment: Shipment,
        selection: Selection,
        arrival: Arrival,
        proof: ProofOfDelivery | None = None,
    ) -> tuple[Allocation, tuple[Exclusion, ...]]:
        """Book the cheapest eligible service at once; answer the booking and why the others were not chosen.

        Raises:
            ShipError: refused, or tried and failed; a failed try leaves the shipment in `allocation_failed`.
        """
        return self._attempt(shipment, self.admit(shipment, selection), proof, arrival)

    def queue(self, shipment: Shipment, selection: Selection, proof: ProofOfDelivery | None, arrival: Arrival) -> None:
        """Leave an allocation to the background worker. The caller has checked both."""
        if self._switches.current.bulk_allocating == "when_queued":
            self._enter_allocating(shipment, arrival)
        self._enqueue(Job(shipment, shipment.life, selection, proof, arrival))

    def process(self, job: Job) -> None:
        """Do a queued allocation, unless the shipment was restored or taken by another request meanwhile."""
        shipment = job.shipment
        if shipment.life != job.life or (shipment.state != states.ALLOCATING and not self._may_allocate(shipment)):
            return
        if shipment.state != states.ALLOCATING:
            self._enter_allocating(shipment, job.arrival)
        try:
            scope = self.scope(job.selection)
        except ShipError:
            # The selection has lost its meaning since it was queued.
            self._fail(shipment, job.arrival)
            return
        # Nobody waits for this answer: a failure is the shipment's new state and the journal's event.
        with contextlib.suppress(ShipError):
            self._attempt(shipment, scope, job.proof, job.arrival)

    def deallocate(self, shipment: Shipment, arrival: Arrival) -> None:
        """Undo a booking.

        Raises:
            ShipError: 400, the shipment is not `allocated`.
        """
        booked = shipment.allocation
        if shipment.state != states.ALLOCATED or booked is None:
            raise self._wrong_state(f"Shipment {shipment.reference} cannot be deallocated in state {shipment.state}")
        shipment.allocation = None
        self._move(shipment, states.UNALLOCATED)
        self._journal.write(
            shipment.reference,
            effects.DEALLOCATED,
            arrival,
            service_reference=booked.carrier.service_reference,
        )

    def cancel(self, shipment: Shipment, arrival: Arrival) -> None:
        """Cancel a shipment for good.

        Raises:
            ShipError: 409, it is manifested or later, cancelled already, or locked in a transitional state.
        """
        if shipment.state not in states.CANCELLABLE:
            message = f"Shipment {shipment.reference} cannot be cancelled in state {shipment.state}"
            detail = Detail("invalid_state_for_operation", message)
            raise ShipError(409, "conflict", message, [detail])
        self._move(shipment, states.CANCELLED)
        self._journal.write(shipment.reference, "cancelled", arrival)

    def change_state(self, shipment: Shipment, state: str, arrival: Arrival) -> bool:
        """Set a state by hand; False if the shipment was in it already.

        Raises:
            ShipError: 400, a state only the platform sets, or a change that is not allowed.
        """
        if state in states.SYSTEM:
            message = f"State {state} is set by the system only"
            raise errors.invalid(self._switches.current, [Detail("system_shipment_state", message, "state")])
        before = shipment.state
        if state == before:
            return False
        # Bookings are made and undone by their own operations alone, the system's states are locked, and a cancelled
        # shipment is done with.
        locked = before == states.CANCELLED or before in states.SYSTEM
        if locked or state in {states.ALLOCATED, states.UNALLOCATED}:
            raise self._wrong_state(f"Shipment {shipment.reference} cannot change from {before} to {state}")
        self._move(shipment, state)
        self._journal.write(shipment.reference, "state_changed", arrival, before=before, after=state)
        return True

    def _may_allocate(self, shipment: Shipment) -> bool:
        switches, state = self._switches.current, shipment.state
        return (
            state == states.UNALLOCATED
            or (state == states.ALLOCATION_FAILED and switches.retry_failed)
            or (state in {states.ALLOCATED, states.ALLOCATING} and not switches.guard)
        )

    def _attempt(
        self, shipment: Shipment, scope: Scope, proof: ProofOfDelivery | None, arrival: Arrival
    ) -> tuple[Allocation, tuple[Exclusion, ...]]:
        now = self._clock()
        offers, exclusions = assess(shipment.details, scope.services, proof, now)
        if not offers:
            self._fail(shipment, arrival)
            raise self._failure(shipment, scope, exclusions)
        selected = best(offers, proof)
        booked = self._book(shipment, selected, scope.quote, now, arrival)
        losers = [passed_over(offer, selected) for offer in offers if offer is not selected]
        by_service = {exclusion.service.reference: exclusion for exclusion in (*exclusions, *losers)}
        return booked, tuple(
            by_service[service.reference] for service in scope.services if service.reference in by_service
        )

    def _book(
        self, shipment: Shipment, offer: Offer, quote: Quote | None, now: datetime, arrival: Arrival
    ) -> Allocation:
        price = offer.price if quote is None else quote.price
        booked = Allocation(
            carrier=self._world.describe(offer.service),
            price=price,
            tracking_reference=_tracking_reference(shipment, offer.service),
            shipping=offer.shipping,
            delivery=offer.delivery,
            date=now,
        )
        shipment.allocation = booked
        shipment.bookings += 1
        self._move(shipment, states.ALLOCATED)
        self._journal.write(
            shipment.reference,
            effects.ALLOCATED,
            arrival,
            service_reference=offer.service.reference,
            net=price.net,
            currency=price.currency,
        )
        return booked

    def _fail(self, shipment: Shipment, arrival: Arrival) -> None:
        self._move(shipment, states.ALLOCATION_FAILED)
        self._journal.write(shipment.reference, "allocation_failed", arrival)

    def _failure(self, shipment: Shipment, scope: Scope, exclusions: Sequence[Exclusion]) -> ShipError:
        switches = self._switches.current
        if scope.named is not None and not takes_type(shipment.details, scope.named):
            message = f"Carrier service {scope.named.reference} does not take shipment {shipment.reference}"
            return errors.failed(switches, "carrier_service_shipment_mismatch", message, shipment, exclusions)
        message = f"Shipment {shipment.reference} could not be allocated"
        return errors.failed(switches, errors.ALLOCATION_FAILED, message, shipment, exclusions)

    def _enter_allocating(self, shipment: Shipment, arrival: Arrival) -> None:
        self._move(shipment, states.ALLOCATING)
        self._journal.write(shipment.reference, states.ALLOCATING, arrival)

    def _move(self, shipment: Shipment, state: str) -> None:
        shipment.state = state
        shipment.updated = self._clock()

    def _wrong_state(self, message: str) -> ShipError:
        return errors.invalid(self._switches.current, [Detail("invalid_state_for_operation", message)])


def _tracking_reference(shipment: Shipment, service: Service) -> str:
    """Eight digits that depend only on the shipment, the service, and how often it was booked since its beginning."""
    if shipment.bookings == 0 and shipment.first_tracking is not None:
        return shipment.first_tracking
    text = f"{shipment.reference}/{service.reference}/{shipment.bookings}"
    return str(10_000_000 + zlib.crc32(text.encode()) % 90_000_000)
