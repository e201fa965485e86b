"""What a request asks to allocate with, and which services that is at a given moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from allocation_gateway.sandbox.ship import errors
from allocation_gateway.sandbox.ship.errors import Detail

if TYPE_CHECKING:
    from datetime import datetime

    from allocation_gateway.sandbox.ship.catalogue import Direction, Service
    from allocation_gateway.sandbox.ship.eligibility import ProofOfDelivery
    from allocation_gateway.sandbox.ship.shipments import Quote, Shipment
    from allocation_gateway.sandbox.ship.switches import ShipSwitches
    from allocation_gateway.sandbox.ship.world import World


@dataclass(frozen=True, slots=True)
class DefaultRules:
    """Every service."""


@dataclass(frozen=True, slots=True)
class WithService:
    """One carrier service."""

    reference: str


@dataclass(frozen=True, slots=True)
class WithGroup:
    """The services of a group."""

    code: str


@dataclass(frozen=True, slots=True)
class WithVirtual:
    """A reference that is either a service's or a group's code."""

    reference: str


@dataclass(frozen=True, slots=True)
class WithQuote:
    """The service of a quote, at the quote's price."""

    reference: str


@dataclass(frozen=True, slots=True)
class WithFilters:
    """The services that match. `pickup` and `drop_off` name the ways of handing over that are acceptable."""

    direction: Direction
    tags: tuple[str, ...]
    pickup: bool
    drop_off: bool

    def match(self, service: Service) -> bool:
        """Whether the service has the direction, all tags, and one of the acceptable ways."""
        return (
            self.direction in service.directions
            and all(tag in service.tags for tag in self.tags)
            and ((self.pickup and service.pickup) or (self.drop_off and service.drop_off))
        )


Selection = DefaultRules | WithService | WithGroup | WithVirtual | WithQuote | WithFilters


@dataclass(frozen=True, slots=True)
class Scope:
    """The services in question. `named` is the one service asked for by name; `quote` fixes its price."""

    services: tuple[Service, ...]
    named: Service | None = None
    quote: Quote | None = None
    proof: ProofOfDelivery | None = None


def resolve(selection: Selection, world: World, switches: ShipSwitches) -> Scope:
    """The services a selection means now.

    Raises:
        ShipError: the service, group or virtual service does not exist, or a virtual one is both.
    """
    match selection:
        case DefaultRules():
            return Scope(tuple(world.services.values()))
        case WithFilters():
            return Scope(tuple(filter(selection.match, world.services.values())))
        case WithService(reference):
            return _service(reference, world, switches)
        case WithGroup(code):
            return _group(code, world, switches)
        case WithVirtual(reference):
            return _virtual(reference, world, switches)
        case WithQuote(reference):
            return _quoted(reference, world)
        case _:
            assert_never(selection)


def check_quote(quote: Quote, shipment: Shipment, now: datetime, switches: ShipSwitches) -> None:
    """Refuse a quote that this shipment cannot use.

    Raises:
        ShipError: the quote is another shipment's or has expired.
    """
    if quote.shipment_reference != shipment.reference:
        raise errors.unusable_quote(
            switches, f"Quote {quote.reference} does not belong to shipment {shipment.reference}"
        )
    if now > quote.expires:
        raise errors.unusable_quote(switches, f"Quote {quote.reference} has expired")


def _service(reference: str, world: World, switches: ShipSwitches) -> Scope:
    service = world.services.get(reference)
    if service is None:
        raise errors.unknown_service(switches, reference)
    return Scope((service,), named=service)


def _group(code: str, world: World, switches: ShipSwitches) -> Scope:
    group = world.groups.get(code)
    if group is None:
        raise errors.unknown_group(switches, code)
    return Scope(world.members(group))


def _virtual(reference: str, world: World, switches: ShipSwitches) -> Scope:
    service, group = world.services.get(reference), world.groups.get(reference)
    if service is not None and group is not None:
        message = f"{reference} is both a carrier service and a carrier service group"
        raise errors.invalid(switches, [Detail("non_unique_reference", message, "virtual_service_reference")])
    if service is not None:
        return _service(reference, world, switches)
    if group is not None:
        return _group(reference, world, switches)
    raise errors.unknown_virtual(switches, reference)


def _quoted(reference: str, world: World) -> Scope:
    quote = world.quotes.get(reference)
    if quote is None:
        raise errors.not_found(f"The quote {reference} cannot be found.")
    service = world.services[quote.service_reference]
    return Scope((service,), named=service, quote=quote)
