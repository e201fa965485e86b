"""What a request asks to allocate with, and which services that is at a given moment."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from allocation_gateway.sandbox.consignments import errors
from allocation_gateway.sandbox.consignments.consignments import Pool
from allocation_gateway.sandbox.consignments.world import CUSTOMER

if TYPE_CHECKING:
    from datetime import datetime

    from allocation_gateway.sandbox.consignments.catalogue import Direction, Service
    from allocation_gateway.sandbox.consignments.consignments import Consignment, Quote
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.consignments.world import World


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
class WithQuote:
    """The service of a quote, at the quote's price."""

    reference: str


@dataclass(frozen=True, slots=True)
class WithFilters:
    """The services that match. None means that it does not matter.

    `pickup` and `drop_off` False leave such services out. True includes them, which by one reading of the SDK's words
    means those alone.
    """

    direction: Direction | None
    pickup: bool | None
    drop_off: bool | None

    def match(self, service: Service, *, only: bool) -> bool:
        """Whether a service passes."""
        if self.direction is not None and self.direction not in service.directions:
            return False
        wishes = ((self.pickup, service.pickup), (self.drop_off, service.drop_off))
        if any(offered and wanted is False for wanted, offered in wishes):
            return False
        return not only or all(offered for wanted, offered in wishes if wanted)


Selection = DefaultRules | WithService | WithGroup | WithQuote | WithFilters


@dataclass(frozen=True, slots=True)
class Scope:
    """The services in question, and what was named: the one service, the group, or the quote that fixes the price."""

    services: tuple[Service, ...]
    named: Service | None = None
    group: Pool | None = None
    quote: Quote | None = None


def resolve(selection: Selection, world: World, switches: ConsignmentsSwitches) -> Scope:
    """The services a selection means now.

    Raises:
        ConsignmentsError: the service, group or quote does not exist.
    """
    match selection:
        case DefaultRules():
            return Scope(tuple(world.services.values()))
        case WithFilters():
            only = switches.filters == "only"
            return Scope(tuple(item for item in world.services.values() if selection.match(item, only=only)))
        case WithService(reference):
            service = world.services.get(reference)
            if service is None:
                raise errors.unknown_service(reference, switches)
            return Scope((service,), named=service)
        case WithGroup(code):
            group = world.groups.get(code)
            if group is None:
                raise errors.unknown_group(code, CUSTOMER, switches)
            return Scope(world.members(group), group=Pool(group.code, group.name))
        case WithQuote(reference):
            return _quoted(reference, world, switches)
        case _:
            assert_never(selection)


def check_quote(quote: Quote, consignment: Consignment, now: datetime, switches: ConsignmentsSwitches) -> None:
    """Refuse a quote that this consignment cannot use.

    Raises:
        ConsignmentsError: the quote is another consignment's or nobody's, or has expired.
    """
    bound = quote.consignment_reference
    if bound != consignment.reference and (bound is not None or switches.unbound_quote == "unusable"):
        message = f"Quote {quote.reference} does not belong to consignment {consignment.reference}"
        raise errors.unusable_quote("QuoteNotForConsignment", message, switches)
    if now > quote.expires:
        raise errors.unusable_quote("QuoteExpired", f"Quote {quote.reference} has expired", switches)


def _quoted(reference: str, world: World, switches: ConsignmentsSwitches) -> Scope:
    try:
        canonical = str(uuid.UUID(reference))
    except ValueError:
        if switches.malformed_quote == "invalid":
            raise errors.invalid(f"The value '{reference}' is not a valid GUID.", "quoteReference") from None
        canonical = reference
    quote = world.quotes.get(canonical)
    if quote is None:
        raise errors.unknown_quote(reference, switches.unknown_quote)
    service = world.services[quote.service_reference]
    return Scope((service,), named=service, quote=quote)
