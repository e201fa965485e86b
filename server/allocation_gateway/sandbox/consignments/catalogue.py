"""Carriers, their services with prices and allocation rules, and service groups.

These structs are also what the control path `PUT /_sandbox/world` reads and `GET` shows. Upstream keeps all of this in
its user interface, so the shape is the sandbox's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from allocation_gateway.sandbox.consignments.rate import Rate
from allocation_gateway.sandbox.value_types import EVERY_DAY, ClockTime, Name, Reference, Weekday, check_exact

Direction = Literal["Outbound", "Inbound"]

# The exponent of the fewest decimals a price has.
CENTS = -2


class Carrier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier; several services may belong to it."""

    reference: Reference
    name: Name


class Allowed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An allowed range, both ends included; `at_most` None is no upper end."""

    at_least: Decimal = Decimal(0)
    at_most: Decimal | None = None

    def holds(self, value: Decimal) -> bool:
        """Whether a value lies in the range."""
        return value >= self.at_least and (self.at_most is None or value <= self.at_most)


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier service: what it costs, when it collects and delivers, and its allocation rules.

    `legs` are carriers' references, the service's own carrier alone if there are none. `net` None means that no rates
    are configured, `available` False that no availability is. `refuses` makes its courier decline every booking.
    `countries` are destinations, None meaning all. An excluded postcode is a whole area, district, sector or unit
    ("M", "M2", "M2 6", "M2 6LW"); an excluded ZIP is a three-digit prefix or a range of them ("902", "902-905").
    """

    reference: Name
    name: Name
    carrier: Reference
    net: Decimal | None
    tax_rate: Decimal = Decimal("0.2000")
    tax_country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] = "GB"
    currency: Literal["GBP", "EUR", "USD"] = "GBP"
    legs: tuple[Reference, ...] = ()
    transit_days: Annotated[int, msgspec.Meta(ge=0, le=60)] = 1
    cutoff: ClockTime = "17:00"
    collects_on: Annotated[tuple[Weekday, ...], msgspec.Meta(min_length=1)] = EVERY_DAY
    delivers_on: Annotated[tuple[Weekday, ...], msgspec.Meta(min_length=1)] = EVERY_DAY
    enabled: bool = True
    available: bool = True
    refuses: bool = False
    directions: tuple[Direction, ...] = ("Outbound",)
    pickup: bool = False
    drop_off: bool = False
    countries: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    weight_kg: Allowed = Allowed()
    girth_cm: Allowed = Allowed()
    length_cm: Allowed = Allowed()
    max_value: Decimal | None = None
    excluded_postcodes: tuple[str, ...] = ()
    excluded_countries: tuple[str, ...] = ()
    excluded_zips: tuple[Annotated[str, msgspec.Meta(pattern=r"^\d{3}(-\d{3})?$")], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could not be calculated with exactly."""
        check_exact(self.net or Decimal(), self.tax_rate)

    def price(self) -> Rate | None:
        """What the service costs, or None without rates."""
        return None if self.net is None else _rate(str(self.net), str(self.tax_rate), self.tax_country, self.currency)


@dataclass(frozen=True, slots=True)
class Unqualified:
    """A service that cannot take the consignment, and why."""

    service: Service
    reason: str


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier service group: its code, its name, and the references of its services."""

    code: Name
    name: Name
    services: tuple[Name, ...]
    enabled: bool = True


@lru_cache(maxsize=4096)
def _rate(net_text: str, tax_rate_text: str, country: str, currency: str) -> Rate:
    """A price with its tax, which is rounded to the net price's decimals, two at least.

    Texts, because equal decimals of different scales must not share a place in the cache.
    """
    net, tax_rate = Decimal(net_text), Decimal(tax_rate_text)
    unit = Decimal(1).scaleb(min(CENTS, int(net.as_tuple().exponent)))
    tax = (net * tax_rate).quantize(unit, ROUND_HALF_UP)
    return Rate(net, net + tax, tax, tax_rate, country, currency)
