"""The nouns of `core.proto`, read from the JSON objects that upstream's endpoints share.

Each function takes an object, the path that leads to it (for findings) and the findings found so far, and returns the
fields of the message that its name says. Shapes and occurrences are those of the Ship API's data contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import core_pb2

from allocation_gateway.codecs import json
from allocation_gateway.codecs.json import required, string
from allocation_gateway.codecs.money import decimal, money

if TYPE_CHECKING:
    from allocation_gateway.codecs.json import Findings, Object

# Upstream's documentation spells values in small letters, and some of its samples capitalise them.
STATES: Final = json.vocabulary(dict(core_pb2.ShipmentState.items()), "SHIPMENT_STATE_")
EXCLUSION_CODES: Final = json.vocabulary(dict(core_pb2.ExclusionCode.items()), "EXCLUSION_CODE_")
USAGE_TYPES: Final = json.vocabulary(dict(core_pb2.PaperlessUsageType.items()), "PAPERLESS_USAGE_TYPE_")
_EXCLUSION_PREFIX: Final = "ex_"


def price(source: Object, path: str, findings: Findings) -> Object | None:
    """Reads a Price. One that cannot be read exactly, in whole, is None: a price is never partly right."""
    before = len(findings)
    currency = required(source, "currency", path, findings)

    def tax(item: Object, item_path: str, _: Findings) -> Object:
        return {
            "rate": json.child(item, "rate", item_path, findings, _tax_rate),
            "amount": money(item, "amount", item_path, findings, currency),
        }

    fields = {
        "net": money(source, "net", path, findings, currency),
        "gross": money(source, "gross", path, findings, currency),
        "taxes": json.children(source, "taxes", path, findings, tax),
    }
    return fields if len(findings) == before else None


def _tax_rate(source: Object, path: str, findings: Findings) -> Object:
    return {
        "reference": string(source, "reference", path, findings),
        "country_iso_code": string(source, "country_iso_code", path, findings),
        "type": string(source, "type", path, findings),
        "value": decimal(source, "value", path, findings),
    }


def carrier(source: Object, path: str, findings: Findings) -> Object:
    """Reads a Carrier from CarrierDetails."""
    return {
        "reference": string(source, "reference", path, findings),
        "name": string(source, "name", path, findings),
        "service_reference": string(source, "service_reference", path, findings),
        "service_name": string(source, "service_name", path, findings),
        "tags": json.strings(source, "tags", path, findings),
    }


def link(source: Object, path: str, findings: Findings) -> Object:
    """Reads a Link."""
    return {
        "href": string(source, "href", path, findings),
        "rel": string(source, "rel", path, findings),
        "reference": string(source, "reference", path, findings),
        "type": string(source, "type", path, findings),
    }


def links(source: Object, path: str, findings: Findings) -> list[Object]:
    """Reads the links of an object."""
    return json.children(source, "_links", path, findings, link)


def _tracking_reference(source: Object, path: str, findings: Findings) -> Object:
    return {
        "reference": string(source, "reference", path, findings),
        "tracking_references": json.strings(source, "tracking_references", path, findings),
        "links": links(source, path, findings),
    }


def tracking_details(source: Object, path: str, findings: Findings) -> Object:
    """Reads TrackingDetails."""
    return {
        "shipment": json.child(source, "shipment", path, findings, _tracking_reference),
        "contents": json.children(source, "contents", path, findings, _tracking_reference),
    }


def _exclusion(source: Object, path: str, findings: Findings) -> Object:
    text = string(source, "code", path, findings)
    return {
        "reason": string(source, "reason", path, findings),
        "code": EXCLUSION_CODES.get(text.lower().removeprefix(_EXCLUSION_PREFIX), 0),
        "code_text": text,
    }


def excluded_service(source: Object, path: str, findings: Findings) -> Object:
    """Reads an ExcludedService."""
    return {
        "carrier": json.child(source, "carrier", path, findings, carrier),
        "exclusion": json.child(source, "exclusion", path, findings, _exclusion),
    }


def paperless_documents(source: Object, key: str, path: str, findings: Findings) -> Object | None:
    """Reads PaperlessDocuments below a key; None if there are none, which a shipment says by an empty array."""
    if source.get(key) == []:
        return None
    return json.child(source, key, path, findings, _paperless_documents)


def _paperless_documents(source: Object, path: str, findings: Findings) -> Object:
    text = string(source, "usage_type", path, findings)
    return {
        "sent_to_carrier": json.boolean(source, "sent_to_carrier", path, findings),
        "usage_type": USAGE_TYPES.get(text.lower(), 0),
        "usage_type_text": text,
    }


def applicable_document(source: Object, path: str, findings: Findings) -> Object:
    """Reads an ApplicableDocument."""
    return {
        "type": string(source, "type", path, findings),
        "applicable": json.boolean(source, "applicable", path, findings),
    }


def upstream_error(source: Object, path: str, findings: Findings) -> Object:
    """Reads an UpstreamError from an ApiError."""
    return {
        "reference": string(source, "reference", path, findings),
        "correlation_id": string(source, "correlation_id", path, findings),
        "code": string(source, "code", path, findings),
        "message": string(source, "message", path, findings),
        "details": json.children(source, "details", path, findings, _upstream_error_detail),
        "links": links(source, path, findings),
    }


def _upstream_error_detail(source: Object, path: str, findings: Findings) -> Object:
    return {
        "property": string(source, "property", path, findings),
        "code": string(source, "code", path, findings),
        "message": string(source, "message", path, findings),
    }
