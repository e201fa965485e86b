"""Everything that exists upstream: the catalogue, consignments and quotes, each found by its reference at once."""

from __future__ import annotations

import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from allocation_gateway.sandbox.consignments.catalogue import Carrier, Group, Service
from allocation_gateway.sandbox.merging import merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from allocation_gateway.sandbox.consignments.consignments import Consignment, Quotation, Quote

T = TypeVar("T", Carrier, Service, Group)

# The one customer that the API key belongs to.
CUSTOMER = "7253e421-9117-41b5-ae3c-a61a30fd75c9"

# Asking for quotes changes nothing else, so it may happen often; only the newest results stay usable.
MOST_QUOTATIONS = 5_000


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change to the catalogue: by reference or code, the members to set. None removes a group."""

    carriers: dict[str, dict[str, Any]] = {}
    services: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any] | None] = {}


class World:
    """The state of the Consignments API. It starts empty: `reset` fills it from a seed."""

    def __init__(self, seed: Callable[[World], None]) -> None:
        self._seed = seed
        # References made at run time are never made twice, not even across resets.
        self._made = 0
        self.carriers: dict[str, Carrier] = {}
        self.services: dict[str, Service] = {}
        self.groups: dict[str, Group] = {}
        self.consignments: dict[str, Consignment] = {}
        self.quotes: dict[str, Quote] = {}
        self.quotations: dict[str, Quotation] = {}
        self._order: deque[str] = deque()
        self.reset()

    def reset(self) -> None:
        """Forget everything and put the seed in its place."""
        for table in (self.carriers, self.services, self.groups, self.consignments, self.quotes, self.quotations):
            table.clear()
        self._order.clear()
        self._seed(self)

    def restore(self, reference: str) -> bool:
        """Put one consignment back to how it began. False if there is no such consignment."""
        consignment = self.consignments.get(reference)
        if consignment is None:
            return False
        consignment.restore()
        return True

    def consignment(self, reference: str, *, in_any_case: bool) -> Consignment | None:
        """The consignment of that reference, if need be of one that differs in case alone. All have capital letters."""
        found = self.consignments.get(reference)
        return self.consignments.get(reference.upper()) if found is None and in_any_case else found

    def make_reference(self) -> str:
        """A new reference of the documented form, unlike any seeded one."""
        self._made += 1
        digits = f"{self._made:08d}"
        return f"EC-2{digits[:2]}-{digits[2:5]}-{digits[5:]}"

    def make_guid(self) -> str:
        """A new reference of a quote or of a request for quotes."""
        return str(uuid.uuid4())

    def put(self, *items: Carrier | Service | Group) -> None:
        """Add carriers, services and groups, or put them in the place of those with the same reference.

        Raises:
            ValueError: one names a carrier or service that does not exist. Nothing has changed then.
        """
        self._take(
            _overlaid(self.carriers, (item for item in items if isinstance(item, Carrier))),
            _overlaid(self.services, (item for item in items if isinstance(item, Service))),
            _overlaid(self.groups, (item for item in items if isinstance(item, Group))),
        )

    def change(self, changes: Changes) -> None:
        """Apply changes to the catalogue, all or none.

        Raises:
            ValueError: an unknown member, a wrong value, or a name that leads nowhere.
        """
        kept = {code: group for code, group in self.groups.items() if changes.groups.get(code, {}) is not None}
        groups = {code: members for code, members in changes.groups.items() if members is not None}
        self._take(
            _overlaid(self.carriers, merged(self.carriers, Carrier, "reference", changes.carriers)),
            _overlaid(self.services, merged(self.services, Service, "reference", changes.services)),
            _overlaid(kept, merged(self.groups, Group, "code", groups)),
        )

    def catalogue(self) -> dict[str, Any]:
        """The catalogue as the control path shows it."""
        return {"carriers": self.carriers, "services": self.services, "groups": self.groups}

    def members(self, group: Group) -> tuple[Service, ...]:
        """The services of a group, in its order."""
        return tuple(self.services[reference] for reference in group.services)

    def add(self, consignment: Consignment) -> None:
        """Add a consignment."""
        self.consignments[consignment.reference] = consignment

    def keep(self, quotation: Quotation) -> None:
        """Keep the result of a request for quotes, and its quotes; the oldest beyond the bound is dropped."""
        self.quotations[quotation.reference] = quotation
        self._order.append(quotation.reference)
        for quote in quotation.quotes:
            self.quotes[quote.reference] = quote
        if len(self._order) > MOST_QUOTATIONS:
            dropped = self.quotations.pop(self._order.popleft())
            for quote in dropped.quotes:
                self.quotes.pop(quote.reference, None)

    def _take(self, carriers: dict[str, Carrier], services: dict[str, Service], groups: dict[str, Group]) -> None:
        for service in services.values():
            for reference in (service.carrier, *service.legs):
                if reference not in carriers:
                    raise ValueError(f"service {service.reference!r} names an unknown carrier, {reference!r}")
        for group in groups.values():
            for reference in group.services:
                if reference not in services:
                    raise ValueError(f"group {group.code!r} names an unknown service, {reference!r}")
        self.carriers, self.services, self.groups = carriers, services, groups


def _overlaid(table: Mapping[str, T], items: Iterable[T]) -> dict[str, T]:
    """A copy of a table with items added or put in the place of those of the same name."""
    return {**table, **{_name(item): item for item in items}}


def _name(item: Carrier | Service | Group) -> str:
    return item.code if isinstance(item, Group) else item.reference
