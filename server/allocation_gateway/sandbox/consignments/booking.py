"""What a booking with a carrier consists of: a pure function, so that seeded bookings are like any other."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments.consignments import Allocation, Leg

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from allocation_gateway.sandbox.consignments.catalogue import Carrier
    from allocation_gateway.sandbox.consignments.consignments import Consignment, Pool
    from allocation_gateway.sandbox.consignments.eligibility import Offer
    from allocation_gateway.sandbox.consignments.rate import Rate


def book(
    consignment: Consignment,
    offer: Offer,
    carriers: Mapping[str, Carrier],
    now: datetime,
    *,
    group: Pool | None = None,
    price: Rate | None = None,
) -> Allocation:
    """The booking of an offer, at another price than the offer's where one was promised."""
    service = offer.service
    legs = tuple(
        Leg(
            number,
            (_tracking_reference(f"{consignment.reference}/{service.reference}/{number}/{consignment.bookings}"),),
            reference,
            carriers[reference].name,
        )
        for number, reference in enumerate(service.legs or (service.carrier,), start=1)
    )
    return Allocation(
        service_reference=service.reference,
        service_name=service.name,
        carrier_reference=service.carrier,
        carrier_name=carriers[service.carrier].name,
        legs=legs,
        price=offer.price if price is None else price,
        shipping=offer.shipping,
        earliest=offer.earliest,
        latest=offer.latest,
        date=now,
        group=group,
    )


def _tracking_reference(seed: str) -> str:
    """Ten digits that depend only on the consignment, the service, the leg, and how often it was booked before."""
    return f"{zlib.crc32(seed.encode()):010d}"
