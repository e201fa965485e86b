"""Which services can take a shipment, at what price and when; and why the others cannot.

The codes are upstream's documented exclusion codes. Two reason texts are documented (`LATER` and `NO_DATES`); the other
texts are the sandbox's own, as text is no part of the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from allocation_gateway.sandbox.ship.catalogue import Days, Service, Within
from allocation_gateway.sandbox.ship.shipments import Details, Price, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LATER = "Service delivery is later than selected service"
DEARER = "Service price is higher than selected service"
NO_DATES = "Carrier does not have availability for this shipment for the given date(s)"

_WEEK = 7

ProofOfDelivery = Literal["require", "prefer", "prevent"]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A service that was not chosen and why."""

    service: Service
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A service that can take the shipment."""

    service: Service
    price: Price
    shipping: Window
    delivery: Window
    delivered_by: datetime


def assess(
    details: Details, services: Iterable[Service], proof: ProofOfDelivery | None, now: datetime
) -> tuple[list[Offer], list[Exclusion]]:
    """Sort the services into offers and exclusions, each in the order given."""
    offers: list[Offer] = []
    exclusions: list[Exclusion] = []
    for service in services:
        judged = _judge(details, service, proof, now)
        if isinstance(judged, Offer):
            offers.append(judged)
        else:
            exclusions.append(judged)
    return offers, exclusions


def best(offers: Iterable[Offer], proof: ProofOfDelivery | None) -> Offer:
    """The cheapest offer; equal prices go to the earlier delivery, then to the lower reference.

    Where proof of delivery is preferred, services that give it come first at any price.
    """
    return min(
        offers,
        key=lambda offer: (
            proof == "prefer" and offer.service.proof_of_delivery == "none",
            offer.price.net,
            offer.delivered_by,
            offer.service.reference,
        ),
    )


def passed_over(offer: Offer, selected: Offer) -> Exclusion:
    """Why an offer lost. Upstream uses `ex_rates` for this too, not only where there is no rate."""
    later = offer.delivered_by > selected.delivered_by
    return Exclusion(offer.service, "ex_rates", LATER if later else DEARER)


def takes_type(details: Details, service: Service) -> bool:
    """Whether the service takes scheduled or on-demand shipments, whichever this one is."""
    return not set(details.shipment_types).isdisjoint(service.shipment_types)


def _judge(details: Details, service: Service, proof: ProofOfDelivery | None, now: datetime) -> Offer | Exclusion:
    for check in _CHECKS:
        objection = check(details, service)
        if objection is not None:
            return Exclusion(service, *objection)
    if proof is not None and not _proves(service, proof):
        return Exclusion(service, "ex_other", f"The service does not meet proof_of_delivery: {proof}")
    windows = _windows(details, service, now)
    if windows is None:
        return Exclusion(service, "ex_availability", NO_DATES)
    price = service.price_for(details.weight_kg)
    if price is None:
        return Exclusion(service, "ex_rates", "No rate is configured for this shipment")
    shipping, delivery, delivered_by = windows
    return Offer(service, price, shipping, delivery, delivered_by)


_Objection = tuple[str, str]


def _activity(_: Details, service: Service) -> _Objection | None:
    return None if service.enabled else ("ex_inactive", "The service is not active")


def _outage(_: Details, service: Service) -> _Objection | None:
    return None if service.outage is None else (service.outage, "The carrier could not give a quote")


def _type(details: Details, service: Service) -> _Objection | None:
    if takes_type(details, service):
        return None
    return "ex_other", f"The service does not take {' or '.join(details.shipment_types)} shipments"


def _direction(details: Details, service: Service) -> _Objection | None:
    if details.direction in service.directions:
        return None
    return "ex_other", f"The service does not take {details.direction} shipments"


def _country(details: Details, service: Service) -> _Objection | None:
    if service.countries is None or details.country in service.countries:
        return None
    return "ex_rules", f"The shipping rules do not allow destination {details.country}"


def _value(details: Details, service: Service) -> _Objection | None:
    if service.max_value is None or details.value <= service.max_value:
        return None
    return "ex_rules", f"The shipping rules allow a value of at most {service.max_value}"


def _weight(details: Details, service: Service) -> _Objection | None:
    if service.max_weight_kg is None or details.weight_kg <= service.max_weight_kg:
        return None
    return "ex_weight", f"The service takes at most {service.max_weight_kg} kg"


def _dimensions(details: Details, service: Service) -> _Objection | None:
    if service.max_dimensions_cm is None:
        return None
    limits = sorted(service.max_dimensions_cm, reverse=True)
    if all(length <= limit for length, limit in zip(details.dimensions_cm, limits, strict=True)):
        return None
    return "ex_dims", "The service takes at most " + " x ".join(map(str, limits)) + " cm"


def _contents(details: Details, service: Service) -> _Objection | None:
    if all(hazard in service.hazard_classes for hazard in details.hazard_classes):
        return None
    if not service.hazard_classes:
        return "ex_contents", "The service does not take dangerous goods"
    return "ex_dangerous_goods", "The service does not take dangerous goods of this class"


def _tags(details: Details, service: Service) -> _Objection | None:
    missing = [tag for tag in details.tags if tag not in service.tags]
    return ("ex_tag", f"The service lacks the tag(s) {', '.join(missing)}") if missing else None


_CHECKS: tuple[Callable[[Details, Service], _Objection | None], ...] = (
    _activity,
    _outage,
    _type,
    _direction,
    _country,
    _value,
    _weight,
    _dimensions,
    _contents,
    _tags,
)


def _proves(service: Service, wanted: ProofOfDelivery) -> bool:
    if wanted == "require":
        return service.proof_of_delivery != "none"
    return wanted == "prefer" or service.proof_of_delivery != "required"


def _windows(details: Details, service: Service, now: datetime) -> tuple[Window, Window, datetime] | None:
    """When the service would collect and deliver, and the latest moment of delivery; None if the dates forbid it."""
    earliest = max(now, details.required_shipping.start or now)
    delivery = service.delivery
    if isinstance(delivery, Within):
        shipping, arrival = _within(delivery, earliest)
    else:
        shipping, arrival = _by_day(delivery, earliest, details.required_delivery.start)
    too_late = (
        details.required_shipping.end is not None and shipping.date() > details.required_shipping.end.date()
    ) or (details.required_delivery.end is not None and arrival[1] > details.required_delivery.end)
    return None if too_late else (Window(shipping, shipping), Window(*arrival), arrival[1])


def _within(delivery: Within, earliest: datetime) -> tuple[datetime, tuple[datetime, datetime]]:
    return earliest, (earliest, earliest + timedelta(hours=delivery.hours))


def _by_day(
    delivery: Days, earliest: datetime, not_delivered_before: datetime | None
) -> tuple[datetime, tuple[datetime, datetime]]:
    collected = _next_day(earliest, delivery.collects_on)
    delivered = collected + timedelta(days=delivery.days)
    if not_delivered_before is not None:
        delivered = max(delivered, not_delivered_before)
    delivered = _next_day(delivered, delivery.delivers_on)
    return collected, (_at(delivered, delivery.not_before), _at(delivered, delivery.not_after))


def _next_day(moment: datetime, weekdays: tuple[int, ...]) -> datetime:
    return moment + timedelta(days=min((weekday - moment.weekday()) % _WEEK for weekday in weekdays))


def _at(day: datetime, clock_time: str) -> datetime:
    return datetime.combine(day.date(), time.fromisoformat(clock_time), UTC)
