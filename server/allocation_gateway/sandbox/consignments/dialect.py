"""How the switches, and the version that a caller asks for, colour every document alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches

Version = Literal["1", "1.1"]

UNKNOWN_ENUMS = {
    "ConsignmentState": "Teleported",
    "Status": "Teleported",
    "Result": "ConsignmentTeleported",
    "ServiceDirection": "Sideways",
}
EXTRA = {"XUnheardOf": {"Nested": [1, "two", None, {"Deep": True}]}}


def spoken(document: Any, switches: ConsignmentsSwitches, version: Version) -> Any:
    """The document as upstream would send it to this caller under these switches."""
    if isinstance(document, dict):
        return _object(document, switches, version)
    if isinstance(document, list | tuple):
        return [spoken(item, switches, version) for item in document]
    return document


def _object(document: Mapping[str, Any], switches: ConsignmentsSwitches, version: Version) -> dict[str, Any]:
    nulls = switches.nulls == "present"
    members = {}
    for name, value in (_in_version_1(document) if version == "1" else document).items():
        # Most members are plain values, and most time is saved by not calling anything for them.
        if isinstance(value, dict | list | tuple):
            members[_name(name, switches)] = spoken(value, switches, version)
        elif switches.unknown_enums and name in UNKNOWN_ENUMS:
            members[name] = UNKNOWN_ENUMS[name]
        elif value is not None or nulls:
            members[_name(name, switches)] = value
    return {**members, **EXTRA} if switches.extra_fields else members


def _name(name: str, switches: ConsignmentsSwitches) -> str:
    match name:
        case "AllocationDate":
            return switches.allocation_date
        case "VatAmount":
            return switches.tax_amount
        case "TaxRate":
            return switches.tax_rate
        case "ContentType":
            return switches.label_content_type
        case _:
            return name


def _in_version_1(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The few members that version 1 shaped otherwise."""
    if document.keys() == {"Value", "Unit"}:
        return {document["Unit"]: document["Value"]}
    changed = dict(document)
    if "TrackingReferences" in changed:
        changed["TrackingReference"] = next(iter(changed.pop("TrackingReferences")), None)
        changed.pop("CarrierServiceReference", None)
    if "TaxRate" in changed:
        changed["VatRate"] = changed.pop("TaxRate")
    if "Width" in changed:
        changed.pop("Unit", None)
    return changed
