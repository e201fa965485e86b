"""Everything that exists upstream: the catalogue, the shipments and the quotes, each found by its reference at once."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from allocation_gateway.sandbox.merging import merged
from allocation_gateway.sandbox.ship.catalogue import Carrier, Group, Service
from allocation_gateway.sandbox.ship.shipments import CarrierDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from allocation_gateway.sandbox.ship.shipments import Quote, Shipment

# A shipment can be quoted any number of times; only so many of its newest quotes stay usable.
QUOTES_PER_SHIPMENT = 40


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change to the catalogue: by reference or code, the members to set. A new one needs its required members."""

    carriers: dict[str, dict[str, Any]] = {}
    services: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {}


class World:
    """The state of Ship. It starts empty: `reset` fills it from a seed."""

    def __init__(self, seed: Callable[[World], None]) -> None:
        self._seed = seed
        # References made at run time are never made twice, not even across resets.
        self._made = 0
        self.carriers: dict[str, Carrier] = {}
        self.services: dict[str, Service] = {}
        self.groups: dict[str, Group] = {}
        self.shipments: dict[str, Shipment] = {}
        self.quotes: dict[str, Quote] = {}
        self._quoted: dict[str, deque[str]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget everything and put the seed in its place."""
        for table in (self.carriers, self.services, self.groups, self.shipments, self.quotes, self._quoted):
            table.clear()
        self._seed(self)

    def restore(self, reference: str) -> bool:
        """Put one shipment back to how it began, its quotes gone. False if there is no such shipment."""
        shipment = self.shipments.get(reference)
        if shipment is None:
            return False
        shipment.restore()
        for quote in self._quoted.pop(reference, ()):
            del self.quotes[quote]
        return True

    def shipment(self, reference: str, *, in_any_case: bool) -> Shipment | None:
        """The shipment of that reference, if need be of one that differs in case alone. All have small letters."""
        found = self.shipments.get(reference)
        return self.shipments.get(reference.lower()) if found is None and in_any_case else found

    def make_reference(self, prefix: str) -> str:
        """A new reference of the documented form: two letters, an underscore, 32 digits."""
        self._made += 1
        return f"{prefix}_1{self._made:031d}"

    def put(self, *items: Carrier | Service | Group) -> None:
        """Add carriers, services and groups, or put them in the place of those with the same reference.

        Raises:
            ValueError: a service names a carrier, or a group a service, that does not exist. Nothing has changed then.
        """
        carriers, services, groups = dict(self.carriers), dict(self.services), dict(self.groups)
        for item in items:
            if isinstance(item, Carrier):
                carriers[item.reference] = item
            elif isinstance(item, Service):
                services[item.reference] = item
            else:
                groups[item.code] = item
        _check_names(carriers, services, groups)
        self.carriers, self.services, self.groups = carriers, services, groups

    def change(self, changes: Changes) -> None:
        """Apply changes to the catalogue, all or none.

        Raises:
            ValueError: an unknown member, a wrong value, or a name that leads nowhere.
        """
        self.put(
            *merged(self.carriers, Carrier, "reference", changes.carriers),
            *merged(self.services, Service, "reference", changes.services),
            *merged(self.groups, Group, "code", changes.groups),
        )

    def catalogue(self) -> dict[str, Any]:
        """The catalogue as the control path shows it."""
        return {"carriers": self.carriers, "services": self.services, "groups": self.groups}

    def members(self, group: Group) -> tuple[Service, ...]:
        """The services of a group, in its order."""
        return tuple(self.services[reference] for reference in group.services)

    def describe(self, service: Service) -> CarrierDetails:
        """A service and its carrier by their names of now."""
        carrier = self.carriers[service.carrier]
        return CarrierDetails(carrier.reference, carrier.name, service.reference, service.name, service.tags)

    def add_shipment(self, shipment: Shipment) -> None:
        """Add a shipment."""
        self.shipments[shipment.reference] = shipment

    def add_quotes(self, shipment: Shipment, quotes: Iterable[Quote], now: datetime) -> None:
        """Keep new quotes of a shipment; the expired ones and the oldest beyond the bound are dropped."""
        held = self._quoted.setdefault(shipment.reference, deque())
        for quote in quotes:
            self.quotes[quote.reference] = quote
            held.append(quote.reference)
        while len(held) > QUOTES_PER_SHIPMENT or (held and self.quotes[held[0]].expires < now):
            del self.quotes[held.popleft()]


def _check_names(carriers: Mapping[str, Carrier], services: Mapping[str, Service], groups: Mapping[str, Group]) -> None:
    for service in services.values():
        if service.carrier not in carriers:
            raise ValueError(f"service {service.reference!r} names an unknown carrier, {service.carrier!r}")
    for group in groups.values():
        for reference in group.services:
            if reference not in services:
                raise ValueError(f"group {group.code!r} names an unknown service, {reference!r}")
