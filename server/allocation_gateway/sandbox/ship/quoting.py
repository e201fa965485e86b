"""Quotes: what every eligible service would cost a shipment, until they expire. Making them changes no shipment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.ship import errors
from allocation_gateway.sandbox.ship.eligibility import assess
from allocation_gateway.sandbox.ship.shipments import Quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from allocation_gateway.sandbox.ship.catalogue import Service
    from allocation_gateway.sandbox.ship.eligibility import Exclusion, Offer
    from allocation_gateway.sandbox.ship.shipments import Shipment
    from allocation_gateway.sandbox.ship.switches import ShipSwitches
    from allocation_gateway.sandbox.ship.world import World
    from allocation_gateway.sandbox.switches import SwitchBoard

SHORT_LIFE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Quotation:
    """Quotes of a shipment, and the services that gave none."""

    quotes: tuple[Quote, ...]
    exclusions: tuple[Exclusion, ...]


class Quoter:
    """Quotes shipments by the rules of the world."""

    def __init__(self, world: World, clock: Callable[[], datetime], switches: SwitchBoard[ShipSwitches]) -> None:
        self._world = world
        self._clock = clock
        self._switches = switches

    def quote(self, shipment: Shipment, services: Sequence[Service], *, keep: bool) -> Quotation:
        """Quote a shipment with every eligible service, cheapest first. Quotes that are not kept can never be used.

        Raises:
            ShipError: 531, no service can take it.
        """
        now = self._clock()
        offers, exclusions = assess(shipment.details, services, None, now)
        if not offers:
            raise errors.no_quotes(shipment, exclusions)
        offers.sort(key=lambda offer: (offer.price.net, offer.delivered_by, offer.service.reference))
        expires = self._expiry(now)
        quotes = tuple(self._quote(shipment, offer, now, expires) for offer in offers)
        if keep:
            self._world.add_quotes(shipment, quotes, now)
        return Quotation(quotes, tuple(exclusions))

    def _expiry(self, now: datetime) -> datetime:
        if self._switches.current.quote_expiry == "seconds":
            return now + SHORT_LIFE
        end_of_day = now.replace(hour=23, minute=59, second=0, microsecond=0)
        return end_of_day if end_of_day > now else end_of_day + timedelta(days=1)

    def _quote(self, shipment: Shipment, offer: Offer, now: datetime, expires: datetime) -> Quote:
        return Quote(
            reference=self._world.make_reference("qu"),
            shipment_reference=shipment.reference,
            service_reference=offer.service.reference,
            carrier=self._world.describe(offer.service),
            price=offer.price,
            shipping=offer.shipping,
            delivery=offer.delivery,
            created=now,
            expires=expires,
        )
