"""The nouns of `core.proto`, read from the JSON objects that upstream's endpoints share.

Each function takes an object, the path that leads to it (for defects) and the defects found so far, and returns the
fields of the message that its name says. Shapes and occurrences are those of the Ship API's data contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import core_pb2

from allocation_gateway.codecs import json
from allocation_gateway.codecs.json import required, string
from allocation_gateway.codecs.money import decimal, money

if TYPE_CHECKING:
    from allocation_gateway.codecs.json import Defects, Object

# Upstream's documentation spells values in small letters, and some of its samples capitalise them.
STATES: Final = json.vocabulary(dict(core_pb2.ShipmentState.items()), "SHIPMENT_STATE_")
EXCLUSION_CODES: Final = json.vocabulary(dict(core_pb2.ExclusionCode.items()), "EXCLUSION_CODE_")
USAGE_TYPES: Final = json.vocabulary(dict(core_pb2.PaperlessUsageType.items()), "PAPERLESS_USAGE_TYPE_")
_EXCLUSION_PREFIX: Final = "ex_"


def price(source: Object, path: str, defects: Defects) -> Object | None:
    """Reads a Price. One that cannot be read exactly, in whole, is None: a price is never partly right."""
    before = len(defects)
    currency = required(source, "currency", path, defects)

    def tax(item: Object, item_path: str, _: Defects) -> Object:
        return {
            "rate": json.child(item, "rate", item_path, defects, _tax_rate),
            "amount": money(item, "amount", item_path, defects, currency),
        }

    fields = {
        "net": money(source, "net", path, defects, currency),
        "gross": money(source, "gross", path, defects, currency),
        "taxes": json.children(source, "taxes", path, defects, tax),
    }
    return fields if len(defects) == before else None


def price_below(source: Object, key: str, path: str, defects: Defects) -> Object | None:
    """Reads the Price below a key; None if there is none."""
    value = source.get(key)
    if value.__class__ is dict:
        return price(value, f"{path}{key}.", defects)
    if value is not None:
        defects.note(f"{path}{key}", "an object", value)
    return None


def _tax_rate(source: Object, path: str, defects: Defects) -> Object:
    return {
        "reference": string(source, "reference", path, defects),
        "country_iso_code": string(source, "country_iso_code", path, defects),
        "type": string(source, "type", path, defects),
        "value": decimal(source, "value", path, defects),
    }


def carrier(source: Object, path: str, defects: Defects) -> Object:
    """Reads a Carrier from CarrierDetails."""
    return {
        "reference": string(source, "reference", path, defects),
        "name": string(source, "name", path, defects),
        "service_reference": string(source, "service_reference", path, defects),
        "service_name": string(source, "service_name", path, defects),
        "tags": json.strings(source, "tags", path, defects),
    }


def link(source: Object, path: str, defects: Defects) -> Object:
    """Reads a Link."""
    return {
        "href": string(source, "href", path, defects),
        "rel": string(source, "rel", path, defects),
        "reference": string(source, "reference", path, defects),
        "type": string(source, "type", path, defects),
    }


def links(source: Object, path: str, defects: Defects) -> list[Object]:
    """Reads the links of an object."""
    return json.children(source, "_links", path, defects, link)


def _tracking_reference(source: Object, path: str, defects: Defects) -> Object:
    return {
        "reference": string(source, "reference", path, defects),
        "tracking_references": json.strings(source, "tracking_references", path, defects),
        "links": links(source, path, defects),
    }


def tracking_details(source: Object, path: str, defects: Defects) -> Object:
    """Reads TrackingDetails."""
    return {
        "shipment": json.child(source, "shipment", path, defects, _tracking_reference),
        "contents": json.children(source, "contents", path, defects, _tracking_reference),
    }


def _exclusion(source: Object, path: str, defects: Defects) -> Object:
    text = string(source, "code", path, defects)
    return {
        "reason": string(source, "reason", path, defects),
        "code": EXCLUSION_CODES.get(text.lower().removeprefix(_EXCLUSION_PREFIX), 0),
        "code_text": text,
    }


def excluded_service(source: Object, path: str, defects: Defects) -> Object:
    """Reads an ExcludedService."""
    return {
        "carrier": json.child(source, "carrier", path, defects, carrier),
        "exclusion": json.child(source, "exclusion", path, defects, _exclusion),
    }


def paperless_documents(source: Object, key: str, path: str, defects: Defects) -> Object | None:
    """Reads PaperlessDocuments below a key; None if there are none, which a shipment says by an empty array."""
    if source.get(key) == []:
        return None
    return json.child(source, key, path, defects, _paperless_documents)


def _paperless_documents(source: Object, path: str, defects: Defects) -> Object:
    text = string(source, "usage_type", path, defects)
    return {
        "sent_to_carrier": json.boolean(source, "sent_to_carrier", path, defects),
        "usage_type": USAGE_TYPES.get(text.lower(), 0),
        "usage_type_text": text,
    }


def applicable_document(source: Object, path: str, defects: Defects) -> Object:
    """Reads an ApplicableDocument."""
    return {
        "type": string(source, "type", path, defects),
        "applicable": json.boolean(source, "applicable", path, defects),
    }


def upstream_error(source: Object, path: str, defects: Defects) -> Object:
    """Reads an UpstreamError from an ApiError."""
    return {
        "reference": string(source, "reference", path, defects),
        "correlation_id": string(source, "correlation_id", path, defects),
        "code": string(source, "code", path, defects),
        "message": string(source, "message", path, defects),
        "details": json.children(source, "details", path, defects, _upstream_error_detail),
        "links": links(source, path, defects),
    }


def _upstream_error_detail(source: Object, path: str, defects: Defects) -> Object:
    return {
        "property": string(source, "property", path, defects),
        "code": string(source, "code", path, defects),
        "message": string(source, "message", path, defects),
    }
