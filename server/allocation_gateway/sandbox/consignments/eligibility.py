"""Which services can take a consignment, at what price and when; and why the others cannot.

The reasons up to `DIMENSIONS` are upstream's published texts; the others are the sandbox's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments import geography
from allocation_gateway.sandbox.consignments.catalogue import Unqualified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

    from allocation_gateway.sandbox.consignments.catalogue import Service
    from allocation_gateway.sandbox.consignments.consignments import Details
    from allocation_gateway.sandbox.consignments.rate import Rate

NO_RATES = "No cost and/or pricing data configured"
NO_AVAILABILITY = "Service availability data not configured"
DATES = "This service is not available for the selected collection/delivery dates."
ADDRESSES = "This service is not available between the selected addresses."
DIMENSIONS = "This service is not available for the given package dimensions/weight."
VALUE = "This service is not available for the value of the consignment."
TAGS = "This service does not have every tag of the consignment."

FIRST_DELIVERY, LAST_DELIVERY = time(8, tzinfo=UTC), time(18, tzinfo=UTC)

# Without a shipping date, how many days a consignment may wait to be delivered on exactly the required one.
LONGEST_WAIT = 28

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Offer:
    """A service that can."""

    service: Service
    price: Rate
    shipping: datetime
    earliest: datetime
    latest: datetime


def assess(details: Details, services: Iterable[Service], now: datetime) -> tuple[list[Offer], list[Unqualified]]:
    """Sort the services into those that can take the consignment and those that cannot, in the order given."""
    offers: list[Offer] = []
    unqualified: list[Unqualified] = []
    for service in services:
        judged = _judge(details, service, now)
        if isinstance(judged, Offer):
            offers.append(judged)
        else:
            unqualified.append(judged)
    return offers, unqualified


def cheapness(offer: Offer) -> tuple[object, ...]:
    """What offers are ordered by. Upstream names no tie-break: here earlier delivery, then the lower reference."""
    return offer.price.net, offer.latest, offer.service.reference


def best(offers: Iterable[Offer]) -> Offer:
    """The cheapest offer."""
    return min(offers, key=cheapness)


def _judge(details: Details, service: Service, now: datetime) -> Offer | Unqualified:
    price = service.price()
    if price is None:
        return Unqualified(service, NO_RATES)
    if not service.available or not service.enabled:
        return Unqualified(service, NO_AVAILABILITY)
    reasons = [reason for reason, applies in _RULES if applies(details, service)]
    days = _days(details, service, now)
    if days is None:
        reasons.insert(0, DATES)
    if reasons or days is None:
        return Unqualified(service, " ".join(reasons))
    collected, delivered = days
    return Offer(
        service,
        price,
        shipping=datetime.combine(collected, time.fromisoformat(service.cutoff), UTC),
        earliest=datetime.combine(delivered, FIRST_DELIVERY),
        latest=datetime.combine(delivered, LAST_DELIVERY),
    )


def _wrong_addresses(details: Details, service: Service) -> bool:
    country = details.country
    return (
        details.direction not in service.directions
        or (service.countries is not None and country not in service.countries)
        or country in service.excluded_countries
        or (country == "GB" and any(geography.lies_in(details.postcode, place) for place in service.excluded_postcodes))
        or (country == "US" and any(geography.zip_lies_in(details.postcode, place) for place in service.excluded_zips))
    )


def _wrong_dimensions(details: Details, service: Service) -> bool:
    return not service.weight_kg.holds(details.weight) or not all(
        service.length_cm.holds(package.length) and service.girth_cm.holds(package.girth)
        for package in details.packages
    )


def _wrong_value(details: Details, service: Service) -> bool:
    return service.max_value is not None and details.value > service.max_value


def _wrong_tags(details: Details, service: Service) -> bool:
    return any(tag not in service.tags for tag in details.tags)


# In the order in which upstream's example strings its texts together.
_RULES: tuple[tuple[str, Callable[[Details, Service], bool]], ...] = (
    (ADDRESSES, _wrong_addresses),
    (DIMENSIONS, _wrong_dimensions),
    (VALUE, _wrong_value),
    (TAGS, _wrong_tags),
)


def _days(details: Details, service: Service, now: datetime) -> tuple[date, date] | None:
    """The days of collection and delivery, or None if the consignment's dates forbid it.

    A given shipping date is taken as it is, even a past one: no source says that upstream looks at the present day.
    """
    required = details.required_date
    first = details.shipping_date or _first_collection(service, now)
    waits = range(LONGEST_WAIT if details.exact and details.shipping_date is None else 1)
    for wait in waits:
        collected = first + wait * ONE_DAY
        if collected.weekday() not in service.collects_on:
            continue
        delivered = _next_day(collected + timedelta(days=service.transit_days), service.delivers_on)
        if required is None or delivered == required or (delivered < required and not details.exact):
            return collected, delivered
    return None


def _first_collection(service: Service, now: datetime) -> date:
    missed = now.time() >= time.fromisoformat(service.cutoff)
    return _next_day(now.date() + missed * ONE_DAY, service.collects_on)


def _next_day(day: date, weekdays: tuple[int, ...]) -> date:
    # A service has at least one weekday.
    while day.weekday() not in weekdays:
        day += ONE_DAY
    return day
