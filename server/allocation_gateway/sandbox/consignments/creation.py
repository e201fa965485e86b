"""CreateConsignmentRequest: its documented rules, and what of it decides which services can take the consignment.

Customs documentation, package sizes and items are not looked into; a package given by a size's reference counts as
weighing and measuring nothing, and amounts are added up whatever their currency.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.consignments import errors, reading
from allocation_gateway.sandbox.consignments.consignments import Details, Package
from allocation_gateway.sandbox.consignments.locations import LOCATIONS
from allocation_gateway.sandbox.consignments.requests import CreateConsignment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from allocation_gateway.sandbox.consignments import requests

# The scales with which decimals are shown.
MEASURE, MONEY = Decimal("0.00001"), Decimal("0.0001")

# The numbers of a package.
SCALES = (
    ("Weight", {"Value"}, MEASURE),
    ("Dimensions", {"Width", "Length", "Height"}, MEASURE),
    ("Value", {"Amount"}, MONEY),
)

# Beyond these, days cannot be calculated with.
FIRST_YEAR, LAST_YEAR = 1900, 2999


def read_consignment(document: Any) -> Details:
    """The consignment a request describes.

    Raises:
        ConsignmentsError: the request is not well formed.
    """
    request = reading.typed(document, CreateConsignment)
    _check_packages(request)
    _check_addresses(request)
    destination = _shown_address(_raw_address(document, request, "Destination"))
    required = request.required_delivery_date or request.requested_delivery_date
    return Details(
        document={
            "MetaData": list(request.meta_data or ()),
            "Source": request.source,
            "CustomsDocumentation": request.customs_documentation,
            "ConsignmentReferenceProvidedByCustomer": request.consignment_reference_provided_by_customer or "",
            "RequestedDeliveryDate": document.get("RequiredDeliveryDate") or document.get("RequestedDeliveryDate"),
            "Addresses": [_shown_address(address) for address in document["Addresses"]],
            "Packages": [_shown_package(package) for package in document["Packages"]],
        },
        direction=request.direction,
        tags=request.tags or (),
        country=_country(destination),
        postcode=str(destination.get("Postcode") or ""),
        weight=sum((package.weight.value for package in request.packages if package.weight), Decimal()),
        value=sum((package.value.amount for package in request.packages if package.value), Decimal()),
        packages=tuple(_measured(package.dimensions) for package in request.packages if package.dimensions),
        shipping_date=_day(request.shipping_date, "ShippingDate"),
        required_date=None if required is None else _day(required.date, "RequiredDeliveryDate.Date"),
        exact=required is not None and required.is_to_be_exactly_on_the_date_specified,
    )


def _check_packages(request: CreateConsignment) -> None:
    if not request.packages:
        raise errors.invalid("At least one package is required.", "Packages")
    for index, package in enumerate(request.packages):
        measured = package.weight is not None and package.dimensions is not None
        if not measured and package.package_size_reference is None:
            message = "A package needs Weight and Dimensions, or PackageSizeReference."
            raise errors.invalid(message, f"Packages[{index}]")


def _check_addresses(request: CreateConsignment) -> None:
    for kind in ("Origin", "Destination"):
        if not any(kind in address.types for address in request.addresses):
            raise errors.invalid(f"An address of type {kind} is required.", "Addresses")
    named = [address.shipping_location_reference for address in request.addresses if _is_end(address)]
    for reference in filter(None, named):
        if reference not in LOCATIONS:
            raise errors.invalid(f"There is no shipping location {reference}.", "Addresses")
    if not any(named):
        raise errors.invalid("Origin or destination must have a ShippingLocationReference.", "Addresses")


def _is_end(address: requests.Address) -> bool:
    return not address.types.isdisjoint({"Origin", "Destination"})


def _raw_address(document: Mapping[str, Any], request: CreateConsignment, kind: str) -> Mapping[str, Any]:
    index = next(index for index, address in enumerate(request.addresses) if kind in address.types)
    address: Mapping[str, Any] = document["Addresses"][index]
    return address


def _shown_address(address: Mapping[str, Any]) -> dict[str, Any]:
    """The address with what is known of its location, which it may override."""
    given = {name: value for name, value in address.items() if value is not None}
    return {**LOCATIONS.get(str(address.get("ShippingLocationReference")), {}), **given}


def _country(address: Mapping[str, Any]) -> str:
    country = address.get("Country") or {}
    return str((country.get("IsoCode") or {}).get("TwoLetterCode") or "")


def _shown_package(package: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(package)
    for name, numbers, scale in SCALES:
        members = package.get(name)
        if members is not None:
            shown[name] = {
                member: Decimal(value).quantize(scale) if member in numbers else value
                for member, value in members.items()
            }
    return shown


def _measured(dimensions: requests.Dimensions) -> Package:
    shortest, middle, longest = sorted((dimensions.width, dimensions.length, dimensions.height))
    return Package(longest, 2 * (shortest + middle))


def _day(text: str | None, target: str) -> date | None:
    """The day of a date or date-time as it is written; offsets do not shift it."""
    if text is None:
        return None
    try:
        day = datetime.fromisoformat(text).date()
    except ValueError:
        raise errors.invalid(f"'{text}' is not an ISO 8601 date-time.", target) from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise errors.invalid(f"{target} must lie between the years {FIRST_YEAR} and {LAST_YEAR}.", target)
    return day
