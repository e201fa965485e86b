"""Carriers, their services with prices and limits, and service groups.

These structs are also what the control path `PUT /_sandbox/world` reads and `GET` shows: a field's type is the check of
its value. Upstream has no API for any of this (it is kept in its user interface), so the shape is the sandbox's own.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Literal

import msgspec

from allocation_gateway.sandbox.ship.shipments import Price, Tax
from allocation_gateway.sandbox.value_types import EVERY_DAY, ClockTime, Name, Reference, Weekday, check_exact

CENT = Decimal("0.01")

Direction = Literal["inbound", "outbound"]
ShipmentType = Literal["scheduled", "on_demand"]


class Carrier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier; several services may belong to it."""

    reference: Reference
    name: Name


class Within(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="within", forbid_unknown_fields=True):
    """Delivery within so many hours of the booking."""

    hours: Annotated[int, msgspec.Meta(gt=0, le=720)]


class Days(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="days", forbid_unknown_fields=True):
    """Delivery so many days after collection, between two times of day (UTC). Monday is 0."""

    days: Annotated[int, msgspec.Meta(ge=0, le=60)]
    not_before: ClockTime = "08:00"
    not_after: ClockTime = "18:00"
    collects_on: Annotated[tuple[Weekday, ...], msgspec.Meta(min_length=1)] = EVERY_DAY
    delivers_on: Annotated[tuple[Weekday, ...], msgspec.Meta(min_length=1)] = EVERY_DAY


class PriceOption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One price of a service, optionally only for shipments up to a weight in kilograms.

    `tax_rate` is a proportion of 1. Scales are kept: net 2.00 at rate 0.0000 gives a tax of 0.000000.
    """

    net: Decimal
    up_to_kg: Decimal | None = None
    tax_type: str = "Zero"
    tax_rate: Decimal = Decimal("0.0000")

    def __post_init__(self) -> None:
        """Refuse what could not be calculated with exactly."""
        check_exact(self.net, self.tax_rate)


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier service: what it costs, when it delivers, and what it takes.

    `carrier` is a carrier's reference. `countries` are destinations, None meaning all. `max_dimensions_cm` are compared
    longest with longest. `hazard_classes` are the classes of dangerous goods it takes. `outage` makes it decline every
    shipment with that exclusion code.
    """

    reference: Reference
    name: Name
    carrier: Reference
    prices: tuple[PriceOption, ...]
    delivery: Within | Days
    enabled: bool = True
    tags: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ("outbound",)
    shipment_types: tuple[ShipmentType, ...] = ("scheduled",)
    pickup: bool = True
    drop_off: bool = True
    proof_of_delivery: Literal["none", "offered", "required"] = "none"
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = "GBP"
    tax_country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] = "GB"
    countries: tuple[str, ...] | None = None
    max_weight_kg: Decimal | None = None
    max_dimensions_cm: tuple[Decimal, Decimal, Decimal] | None = None
    max_value: Decimal | None = None
    hazard_classes: tuple[str, ...] = ()
    outage: Literal["ex_timeout", "ex_circuit_open", "ex_error", "ex_sys_disabled", "ex_other"] | None = None

    def price_for(self, weight_kg: Decimal) -> Price | None:
        """The cheapest of the service's options for this weight, or None if it has no rate for it."""
        options = [option for option in self.prices if option.up_to_kg is None or weight_kg <= option.up_to_kg]
        if not options:
            return None
        cheapest = min(options, key=lambda option: option.net)
        amount = cheapest.net * cheapest.tax_rate
        smallest_unit = CENT if cheapest.net == round(cheapest.net, 2) else cheapest.net
        gross = (cheapest.net + amount).quantize(smallest_unit, ROUND_HALF_UP)
        tax = Tax(self.reference, self.tax_country, cheapest.tax_type, cheapest.tax_rate, amount)
        return Price(cheapest.net, gross, (tax,), self.currency)


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier service group: its code and the references of its services, in the order in which they are shown."""

    code: Name
    services: tuple[Reference, ...]
