"""Shipments, what was booked for them, and quotes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.ship import states

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Tax:
    """One tax of a price: the rate's particulars, the rate as a proportion of 1, and the amount."""

    reference: str
    country_iso_code: str
    type: str
    rate: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """A price with its taxes. Decimals keep the scale with which they are written."""

    net: Decimal
    gross: Decimal
    taxes: tuple[Tax, ...]
    currency: str


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time; either end may be open."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What a shipment is, fixed at its creation. Many seeded shipments share one.

    `document` holds the request's own members that are only ever shown again (addresses, contents, metadata and such).
    The rest is what decides eligibility: weights in kilograms, lengths in centimetres, longest first.
    """

    document: dict[str, Any]
    shipment_types: tuple[str, ...]
    direction: str
    tags: tuple[str, ...]
    country: str
    weight_kg: Decimal
    dimensions_cm: tuple[Decimal, ...]
    value: Decimal
    hazard_classes: tuple[str, ...]
    required_shipping: Window = Window()
    required_delivery: Window = Window()


@dataclass(frozen=True, slots=True)
class CarrierDetails:
    """The carrier and service, named as they were when something was booked or quoted."""

    reference: str
    name: str
    service_reference: str
    service_name: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allocation:
    """A booking made for a shipment."""

    carrier: CarrierDetails
    price: Price
    tracking_reference: str
    shipping: Window
    delivery: Window
    date: datetime


@dataclass(slots=True)
class Shipment:
    """A shipment and its changing part.

    `life` counts restorations, so that work queued before one can tell that it is out of date. `first_tracking` fixes
    the tracking reference of the first booking, for the documented examples.
    """

    reference: str
    details: Details
    created: datetime
    initial_state: str = states.UNALLOCATED
    first_tracking: str | None = None
    state: str = field(init=False)
    updated: datetime | None = field(init=False, default=None)
    allocation: Allocation | None = field(init=False, default=None)
    bookings: int = field(init=False, default=0)
    life: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.state = self.initial_state

    def restore(self) -> None:
        """Put the shipment back to how it began."""
        self.state = self.initial_state
        self.updated = None
        self.allocation = None
        self.bookings = 0
        self.life += 1


@dataclass(frozen=True, slots=True)
class Quote:
    """An offer bound to one shipment until it expires."""

    reference: str
    shipment_reference: str
    service_reference: str
    carrier: CarrierDetails
    price: Price
    shipping: Window
    delivery: Window
    created: datetime
    expires: datetime
