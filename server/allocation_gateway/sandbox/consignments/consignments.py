"""Consignments, what was booked for them, and quotes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from allocation_gateway.sandbox.consignments import states

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal

    from allocation_gateway.sandbox.consignments.catalogue import Unqualified
    from allocation_gateway.sandbox.consignments.rate import Rate


class Package(NamedTuple):
    """What the rules ask of one package, in centimetres: its longest side, and twice the sum of the two others."""

    length: Decimal
    girth: Decimal


@dataclass(frozen=True, slots=True)
class Details:
    """What a consignment is, fixed at its creation. Many seeded consignments share one.

    `document` holds the members that are only ever shown again. The rest decides which services can take it; `weight`
    in kilograms and `value` are those of all packages together. With `exact` the required day is the only acceptable.
    """

    document: dict[str, Any]
    direction: str
    tags: tuple[str, ...]
    country: str
    postcode: str
    weight: Decimal
    value: Decimal
    packages: tuple[Package, ...]
    shipping_date: date | None = None
    required_date: date | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Leg:
    """One carrier's part of the way, counted from 1."""

    number: int
    tracking_references: tuple[str, ...]
    carrier_reference: str
    carrier_name: str


@dataclass(frozen=True, slots=True)
class Pool:
    """The group that was allocated with, named as it was then."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """A booking, its carrier and service named as they were when it was made."""

    service_reference: str
    service_name: str
    carrier_reference: str
    carrier_name: str
    legs: tuple[Leg, ...]
    price: Rate
    shipping: datetime
    earliest: datetime
    latest: datetime
    date: datetime
    group: Pool | None = None


@dataclass(frozen=True, slots=True)
class FailedAllocation:
    """The last try to allocate that failed. A service is named only where one was tried."""

    message: str
    date: datetime
    service_reference: str | None = None
    service_name: str | None = None
    group: Pool | None = None


@dataclass(slots=True)
class Consignment:
    """A consignment and its changing part.

    `life` counts restorations, so that work queued before one can tell that it is out of date. `return_reference` is
    the consignment that brings the goods back, if there is one.
    """

    reference: str
    details: Details
    created: datetime
    initial_state: str = states.UNALLOCATED
    initial_allocation: Allocation | None = None
    return_reference: str | None = None
    state: str = field(init=False)
    allocation: Allocation | None = field(init=False)
    failed: FailedAllocation | None = field(init=False, default=None)
    first_printed: datetime | None = field(init=False, default=None)
    labels: int = field(init=False, default=0)
    bookings: int = field(init=False, default=0)
    life: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.state = self.initial_state
        self.allocation = self.initial_allocation

    def restore(self) -> None:
        """Put the consignment back to how it began."""
        self.state = self.initial_state
        self.allocation = self.initial_allocation
        self.failed = None
        self.first_printed = None
        self.labels = 0
        self.bookings = 0
        self.life += 1


@dataclass(frozen=True, slots=True)
class Quote:
    """An offer until it expires. `consignment_reference` None means that it was asked for without a consignment."""

    reference: str
    consignment_reference: str | None
    service_reference: str
    service_name: str
    carrier_reference: str
    carrier_name: str
    price: Rate
    shipping: datetime
    earliest: datetime
    latest: datetime
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Quotation:
    """The result of one request for quotes, cheapest first, and the services that gave none.

    `group` is set where a group's services alone were asked.
    """

    reference: str
    consignment_reference: str | None
    details: Details
    quotes: tuple[Quote, ...]
    unqualified: tuple[Unqualified, ...]
    group: Pool | None = None
