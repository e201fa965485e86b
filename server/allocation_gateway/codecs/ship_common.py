"""What the documents of the Ship API have in common: the messages of `core.proto` as JSON objects.

Shapes and occurrences are those of the Ship API's data contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import core_pb2

from allocation_gateway.codecs import json
from allocation_gateway.codecs.money import decimal, money
from allocation_gateway.codecs.schema import (
    FLAG,
    REQUIRED,
    TEXT,
    TEXTS,
    Schema,
    decisive,
    decisive_one,
    descriptive,
    many,
    one,
    one_by,
    own,
    spelled,
)
from allocation_gateway.codecs.time import timestamp

if TYPE_CHECKING:
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object
    from allocation_gateway.codecs.schema import Field, ReadObject

# Upstream's documentation spells values in small letters, and some of its samples capitalise them.
STATES: Final = json.vocabulary(dict(core_pb2.ShipmentState.items()), "SHIPMENT_STATE_")
EXCLUSION_CODES: Final = json.vocabulary(dict(core_pb2.ExclusionCode.items()), "EXCLUSION_CODE_")
USAGE_TYPES: Final = json.vocabulary(dict(core_pb2.PaperlessUsageType.items()), "PAPERLESS_USAGE_TYPE_")

_TAX_RATE: Final = Schema(reference=TEXT, country_iso_code=TEXT, type=TEXT, value=own(decimal))


_AMOUNT: Final = own(money, always=True)
_PRICE: Final = Schema(
    currency=REQUIRED, net=_AMOUNT, gross=_AMOUNT, taxes=many(Schema(rate=descriptive(one(_TAX_RATE)), amount=_AMOUNT))
)


def _price(read: ReadObject) -> ReadObject:
    """Makes a reader of a Price. One whose amounts cannot all be read exactly is None: it is never partly right."""

    def price(source: Object, path: str, findings: Findings) -> Object | None:
        told = source.get("taxes")
        fields: Object = read(source, path, findings)
        currency, taxes = fields.pop("currency"), fields.get("taxes") or ()
        amounts = [fields["net"], fields["gross"], *[tax["amount"] for tax in taxes]]
        is_whole = told is None or (told.__class__ is list and len(told) == len(taxes))
        if not currency or not is_whole or None in amounts:
            return None
        for amount in amounts:
            amount["currency_code"] = currency
        return fields

    return price


price: Final = _price(_PRICE.read)
PRICE: Final = one_by(_PRICE.type, price, _price(_PRICE.refine))

CARRIER: Final = Schema(reference=TEXT, name=TEXT, service_reference=TEXT, service_name=TEXT, tags=TEXTS)
# That of an allocation: which carrier and which service it is decides.
BOOKED_CARRIER: Final = decisive_one(
    Schema(
        reference=decisive(TEXT),
        name=TEXT,
        service_reference=decisive(TEXT),
        service_name=TEXT,
        tags=TEXTS,
    )
)

LINK: Final = Schema(href=TEXT, rel=TEXT, reference=TEXT, type=TEXT)
LINKS: Final = many(LINK).at("_links")

_TRACKING_REFERENCE: Final = Schema(reference=TEXT, tracking_references=TEXTS, links=LINKS)
TRACKING_DETAILS: Final = Schema(shipment=one(_TRACKING_REFERENCE), contents=many(_TRACKING_REFERENCE))

_EXCLUSION: Final = Schema(code_text=TEXT.at("code"), reason=TEXT, code=spelled(EXCLUSION_CODES, "ex_"))
EXCLUDED_SERVICE: Final = Schema(carrier=one(CARRIER), exclusion=one(_EXCLUSION))

_PAPERLESS_DOCUMENTS: Final = Schema(
    usage_type_text=TEXT.at("usage_type"), sent_to_carrier=FLAG, usage_type=spelled(USAGE_TYPES)
)


def _paperless_documents(source: Object, key: str, path: str, findings: Findings) -> Object | None:
    """Reads PaperlessDocuments below a key; None if a shipment lists there what was supplied with it."""
    if source.get(key).__class__ is list:
        return None
    return json.child(source, key, path, findings, _PAPERLESS_DOCUMENTS.read)


def _either(*keys: str) -> Field:
    """Returns a text that the sources call differently."""

    def read(source: Object, _: str, path: str, findings: Findings) -> str:
        return json.string(source, json.either(source, *keys), path, findings)

    return own(read, always=True)


_SUPPLIED_DOCUMENT: Final = Schema(
    reference=TEXT.at("document_reference"),
    state=_either("document_state", "state"),
    type=_either("document_type", "type"),
    format=_either("file_format", "format"),
    usage=TEXT,
    expiration=own(timestamp),
)


def _supplied_documents(source: Object, key: str, path: str, findings: Findings) -> list[Object]:
    """Reads a list of documents below a key where something else may stand as well, which is for its own reader."""
    values = source.get(key)
    return json.objects(values, f"{path}{key}", findings, _SUPPLIED_DOCUMENT.read) if values.__class__ is list else []


# Both stand below one key, which is refined in place: the list has to be read before it.
SUPPLIED_DOCUMENTS: Final = own(_supplied_documents).at("paperless_documents")
PAPERLESS_DOCUMENTS: Final = own(_paperless_documents)

APPLICABLE_DOCUMENT: Final = Schema(type=TEXT, applicable=FLAG)

_UPSTREAM_ERROR_DETAIL: Final = Schema(property=TEXT, code=TEXT, message=TEXT)
UPSTREAM_ERROR: Final = Schema(
    reference=TEXT,
    correlation_id=TEXT,
    code=TEXT,
    message=TEXT,
    details=many(_UPSTREAM_ERROR_DETAIL),
    links=LINKS,
)
