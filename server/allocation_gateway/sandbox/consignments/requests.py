"""The bodies of requests, as far as the sandbox looks at them. Members it does not know are let through."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

LARGEST = 10**9


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Members are written in PascalCase."""


class AllocateConsignments(_Body, frozen=True, kw_only=True):
    """AllocateConsignmentsRequest."""

    consignment_references: tuple[str, ...] = ()


class AllocateWithCarrierService(AllocateConsignments, frozen=True, kw_only=True):
    """AllocateConsignmentsWithCarrierServiceRequest."""

    mpd_carrier_service_reference: str


class AllocateWithServiceGroup(AllocateConsignments, frozen=True, kw_only=True):
    """AllocateConsignmentsWithServiceGroupRequest."""

    mpd_carrier_service_group_reference: str


class Filters(_Body, frozen=True, kw_only=True):
    """AllocationFilters."""

    service_direction: Literal["Outbound", "Inbound"] | None = None
    is_pickup: bool | None = None
    is_drop_off: bool | None = None


class AllocateWithServiceFilters(AllocateConsignments, frozen=True, kw_only=True):
    """AllocateConsignmentsWithServiceFiltersRequest."""

    filters: Filters


class Manifest(AllocateConsignments, frozen=True, kw_only=True):
    """ManifestConsignmentsRequest."""


class _Measures(_Body, frozen=True, kw_only=True):
    """Numbers that must not be negative, and small enough to calculate with exactly."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not (value.is_finite() and 0 <= value <= LARGEST):
                raise ValueError(f"must be between 0 and {LARGEST}")


class Weight(_Measures, frozen=True, kw_only=True):
    """A weight."""

    value: Decimal
    unit: Literal["Kg"] = "Kg"


class Dimensions(_Measures, frozen=True, kw_only=True):
    """The three sides of a package."""

    width: Decimal
    length: Decimal
    height: Decimal
    unit: Literal["Cm"] = "Cm"


class Money(_Measures, frozen=True, kw_only=True):
    """An amount of money."""

    amount: Decimal
    currency: dict[str, Any] = {}


class Package(_Body, frozen=True, kw_only=True):
    """A package; its size is either measured or named."""

    weight: Weight | None = None
    dimensions: Dimensions | None = None
    package_size_reference: str | None = None
    value: Money | None = None


class IsoCode(_Body, frozen=True, kw_only=True):
    """A country's code."""

    two_letter_code: str | None = None


class Country(_Body, frozen=True, kw_only=True):
    """A country."""

    iso_code: IsoCode | None = None


class Address(_Body, frozen=True, kw_only=True):
    """An address. `address_type` may name several, separated by commas or spaces, as flags are written."""

    address_type: str
    shipping_location_reference: str | None = None
    postcode: str | None = None
    country: Country | None = None

    @property
    def types(self) -> set[str]:
        """The single types."""
        return set(self.address_type.replace(",", " ").split())


class RequiredDate(_Body, frozen=True, kw_only=True):
    """The day that delivery is promised for, at the latest or exactly."""

    date: str
    is_to_be_exactly_on_the_date_specified: bool = False


class CreateConsignment(_Body, frozen=True, kw_only=True):
    """CreateConsignmentRequest. The required date has another name in requests for quotes."""

    packages: tuple[Package, ...]
    addresses: tuple[Address, ...]
    consignment_reference_provided_by_customer: str | None = None
    source: Literal["Api", "Web"] = "Api"
    shipping_date: str | None = None
    required_delivery_date: RequiredDate | None = None
    requested_delivery_date: RequiredDate | None = None
    direction: Literal["Outbound", "Inbound"] = "Outbound"
    tags: tuple[str, ...] | None = None
    meta_data: tuple[dict[str, Any], ...] | None = None
    customs_documentation: dict[str, Any] | None = None
