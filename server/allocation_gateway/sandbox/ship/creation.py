"""CreateShipmentRequest: its documented rules, and what of it decides which services can take the shipment.

Not checked, as the sandbox has nothing to check them against: postal codes, regions, package sizes, shipping locations,
customs documentation. A content with `package_size_reference` counts as weighing and measuring nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.ship.shipments import Details, Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.sandbox.ship.violations import Violations

LONGEST_NAME = 50
LONGEST_DESCRIPTION = 100
MOST_METADATA = 10
DEEPEST_CONTENTS = 2
FEWEST_ADDRESSES = 2

ADDRESS_TYPES = ("origin", "destination", "return", "sender", "recipient", "importer", "exporter", "billing")
SHIPMENT_TYPES = ("scheduled", "on_demand")
DIRECTIONS = ("outbound", "inbound")
KILOGRAMS: Mapping[str, Decimal] = {"kg": Decimal(1), "lb": Decimal("0.45359237"), "lbs": Decimal("0.45359237")}
CENTIMETRES: Mapping[str, Decimal] = {"cm": Decimal(1), "in": Decimal("2.54")}

# Members kept as they came and shown again by a reading, in this order.
SHOWN = ("order_date", "metadata", "customs_documentation", "label_properties", "tenant", "channel")

_COUNTRY = re.compile("[A-Z]{2}")
_CURRENCY = re.compile("[A-Z]{3}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class _Content:
    """The measures of one content, all of its quantity together; lengths in centimetres, longest first."""

    weight_kg: Decimal
    dimensions_cm: tuple[Decimal, ...]
    value: Decimal
    hazard_classes: tuple[str, ...]


def read_shipment(body: Mapping[str, Any], violations: Violations) -> Details:
    """The shipment a request describes. It means nothing if violations were noted."""
    custom = violations.text(body, "custom_reference", "custom_reference", required=False, longest=LONGEST_NAME)
    source = violations.text(body, "source", "source", required=False, longest=LONGEST_NAME)
    direction = violations.choice(body, "direction", "direction", DIRECTIONS, "invalid_direction", required=False)
    violations.elements(body, "metadata", "metadata", most=MOST_METADATA)
    types = _shipment_types(body, violations)
    addresses = _addresses(body, violations)
    contents = _contents(body, "contents", violations, depth=1)
    _check_units(body, violations)
    lengths = [content.dimensions_cm for content in contents if content.dimensions_cm]
    return Details(
        document={
            "custom_reference": custom,
            "source": source or "api",
            "addresses": [_shown(address, "address_type") for address in addresses],
            "contents": [_shown_content(item) for item in _objects(body, "contents")],
            **{name: body.get(name) for name in SHOWN},
        },
        shipment_types=types,
        direction=direction or "outbound",
        tags=violations.tags(body, "tags"),
        country=next(
            (str(item.get("country_iso_code")) for item in addresses if item.get("address_type") == "destination"), ""
        ),
        weight_kg=sum((content.weight_kg for content in contents), Decimal()),
        dimensions_cm=tuple(max(axis) for axis in zip(*lengths, strict=True)) or (Decimal(),) * 3,
        value=sum((content.value for content in contents), Decimal()),
        hazard_classes=tuple(hazard for content in contents for hazard in content.hazard_classes),
        required_shipping=_range(body, "required_shipping_date", violations),
        required_delivery=_range(body, "required_delivery_date", violations),
    )


def _shipment_types(body: Mapping[str, Any], violations: Violations) -> tuple[str, ...]:
    """One type, or both separated by a comma as one early contract allows."""
    given = violations.text(body, "shipment_type", "shipment_type", required=True)
    types = () if given is None else tuple(part.strip() for part in given.split(","))
    for name in types:
        if name not in SHIPMENT_TYPES:
            violations.add("invalid_shipment_type", f"'{name}' is not a valid shipment_type", "shipment_type")
    return types


def _addresses(body: Mapping[str, Any], violations: Violations) -> list[Mapping[str, Any]]:
    given = violations.elements(body, "addresses", "addresses", fewest=FEWEST_ADDRESSES)
    addresses: list[Mapping[str, Any]] = []
    for index, address in enumerate(given):
        path = f"addresses[{index}]"
        if isinstance(address, dict):
            _check_address(address, path, violations)
            addresses.append(address)
        else:
            violations.add("invalid_format", f"{path} must be an object", path)
    _check_address_types(given, violations)
    return addresses


def _check_address_types(given: Sequence[Any], violations: Violations) -> None:
    """One address of a type at most, and one origin and one destination at least."""
    seen = set()
    for index, address in enumerate(given):
        kind = address.get("address_type") if isinstance(address, dict) else None
        if isinstance(kind, str):
            if kind in seen:
                message = f"'{kind}' is given more than once"
                violations.add("duplicate_address_type", message, f"addresses[{index}].address_type")
            seen.add(kind)
    for required in ("origin", "destination"):
        if given and required not in seen:
            violations.add("address_type_required", f"An address of type {required} is required", "addresses")


def _check_address(address: Mapping[str, Any], path: str, violations: Violations) -> None:
    violations.choice(
        address, "address_type", f"{path}.address_type", ADDRESS_TYPES, "invalid_address_type", required=True
    )
    if address.get("shipping_location_reference") is not None:
        return
    # The 2020 contract spells this member with a second underscore, later ones and live answers do not.
    spelling = "address_line_1" if "address_line_1" in address else "address_line1"
    violations.text(address, spelling, f"{path}.{spelling}", required=True)
    country = violations.text(address, "country_iso_code", f"{path}.country_iso_code", required=True)
    if country is not None and not _COUNTRY.fullmatch(country):
        message = f"'{country}' is not a two-letter country code"
        violations.add("invalid_country_code", message, f"{path}.country_iso_code")
    contact = violations.object(address, "contact", f"{path}.contact", required=True)
    if contact is not None:
        _check_contact(contact, f"{path}.contact", violations)


def _check_contact(contact: Mapping[str, Any], path: str, violations: Violations) -> None:
    for name in ("first_name", "last_name"):
        violations.text(contact, name, f"{path}.{name}", required=True)
    details = violations.object(contact, "contact_details", f"{path}.contact_details", required=True)
    if details is None:
        return
    email_path = f"{path}.contact_details.email"
    email = violations.text(details, "email", email_path, required=True)
    if email is not None and not _EMAIL.fullmatch(email):
        violations.add("invalid_email", f"'{email}' is not a valid email address", email_path)


def _contents(holder: Mapping[str, Any], path: str, violations: Violations, depth: int) -> list[_Content]:
    contents = []
    for index, item in enumerate(violations.elements(holder, "contents", path, fewest=1 if depth == 1 else 0)):
        place = f"{path}[{index}]"
        if not isinstance(item, dict):
            violations.add("invalid_format", f"{place} must be an object", place)
            continue
        contents.append(_content(item, place, violations))
        nested = f"{place}.contents"
        if item.get("contents") and depth == DEEPEST_CONTENTS:
            violations.add("too_many_elements", f"Contents nest at most {DEEPEST_CONTENTS} deep", nested)
        else:
            # What lies inside is weighed with what holds it.
            _contents(item, nested, violations, depth + 1)
    return contents


def _content(item: Mapping[str, Any], path: str, violations: Violations) -> _Content:
    violations.text(item, "description", f"{path}.description", required=False, shortest=0, longest=LONGEST_DESCRIPTION)
    packed = item.get("package_size_reference") is not None
    quantity = violations.whole(item, "quantity", f"{path}.quantity", default=1)
    weight = _measure(item, "weight", ("value",), KILOGRAMS, path, violations, required=not packed)
    axes = ("length", "width", "height")
    dimensions = _measure(item, "dimensions", axes, CENTIMETRES, path, violations, required=not packed)
    return _Content(
        weight_kg=quantity * sum(weight, Decimal()),
        dimensions_cm=tuple(sorted(dimensions, reverse=True)),
        value=quantity * _worth(item, path, violations),
        hazard_classes=_hazard_classes(item, path, violations),
    )


def _measure(
    item: Mapping[str, Any],
    name: str,
    axes: Sequence[str],
    units: Mapping[str, Decimal],
    path: str,
    violations: Violations,
    *,
    required: bool,
) -> tuple[Decimal, ...]:
    """A weight or dimensions in the base unit; empty where absent or wrong."""
    place = f"{path}.{name}"
    holder = violations.object(item, name, place, required=required)
    if holder is None:
        return ()
    code = "invalid_weight_unit" if units is KILOGRAMS else "invalid_dimension_unit"
    unit = violations.choice(
        {"unit": _lower(holder.get("unit"))}, "unit", f"{place}.unit", tuple(units), code, required=True
    )
    values = [violations.number(holder, axis, f"{place}.{axis}") for axis in axes]
    known = [value for value in values if value is not None]
    return tuple(value * units[unit] for value in known) if unit and len(known) == len(axes) else ()


def _worth(item: Mapping[str, Any], path: str, violations: Violations) -> Decimal:
    value = violations.object(item, "value", f"{path}.value", required=True)
    if value is None:
        return Decimal()
    currency = violations.text(value, "currency", f"{path}.value.currency", required=True)
    if currency is not None and not _CURRENCY.fullmatch(currency):
        violations.add("invalid_currency", f"'{currency}' is not a valid currency", f"{path}.value.currency")
    return violations.number(value, "amount", f"{path}.value.amount") or Decimal()


def _hazard_classes(item: Mapping[str, Any], path: str, violations: Violations) -> tuple[str, ...]:
    """The classes of dangerous goods, as the contract's objects with a `code` or as plain strings."""
    place = f"{path}.dangerous_goods"
    goods = violations.object(item, "dangerous_goods", place, required=False)
    classes = []
    for index, given in enumerate(violations.elements(goods or {}, "hazard_classes", f"{place}.hazard_classes")):
        code = given.get("code") if isinstance(given, dict) else given
        if isinstance(code, str):
            classes.append(code)
        else:
            where = f"{place}.hazard_classes[{index}]"
            violations.add("invalid_hazard_class", f"{where} is not a hazard class", where)
    return tuple(classes)


def _check_units(body: Mapping[str, Any], violations: Violations) -> None:
    """Units must not be mixed within a shipment."""
    items = _objects(body, "contents")
    for name in ("weight", "dimensions"):
        units = {str(_lower(item[name].get("unit"))) for item in items if isinstance(item.get(name), dict)}
        if len(units) > 1:
            violations.add("unit_mismatch", f"All {name} must be in the same unit", "contents")


def _range(body: Mapping[str, Any], name: str, violations: Violations) -> Window:
    given = violations.object(body, name, name, required=False)
    if given is None:
        return Window()
    window = Window(_moment(given, "start", name, violations), _moment(given, "end", name, violations))
    if window.start is not None and window.end is not None and window.start > window.end:
        violations.add("invalid_date_range", f"{name} ends before it starts", name)
    return window


def _moment(given: Mapping[str, Any], name: str, path: str, violations: Violations) -> datetime | None:
    """A date-time in UTC; without an offset it is taken as UTC."""
    place = f"{path}.{name}"
    text = violations.text(given, name, place, required=False)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        violations.add("invalid_format", f"'{text}' is not an ISO 8601 date-time", place)
        return None


def _objects(holder: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    given = holder.get(name)
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def _lower(unit: object) -> object:
    return unit.lower() if isinstance(unit, str) else unit


def _shown_content(item: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(item)
    for name in ("weight", "dimensions"):
        if isinstance(item.get(name), dict):
            shown[name] = _shown(item[name], "unit")
    return shown


def _shown(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy whose member starts with a capital, as live answers write some of their enumerations."""
    value = item.get(name)
    return {**item, name: value.capitalize()} if isinstance(value, str) else dict(item)
