"""Quotes of the Ship API: QuoteResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import json
from allocation_gateway.codecs import ship_common as common
from allocation_gateway.codecs.json import string
from allocation_gateway.codecs.money import decimal
from allocation_gateway.codecs.schema import (
    FLAG,
    REQUIRED,
    TEXT,
    Document,
    Schema,
    decisive,
    many,
    one,
    own,
    spelled,
    things,
)
from allocation_gateway.codecs.time import dates, timestamp
from allocation_gateway.codecs.values import Number
from allocation_gateway.references import is_same

if TYPE_CHECKING:
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object

APPLICATION_TYPES: Final = json.vocabulary(
    dict(core_pb2.SurchargeApplicationType.items()), "SURCHARGE_APPLICATION_TYPE_"
)
TYPES: Final = json.vocabulary(dict(core_pb2.SurchargeType.items()), "SURCHARGE_TYPE_")
CALCULATION_MODELS: Final = json.vocabulary(
    dict(core_pb2.SurchargeCalculationModel.items()), "SURCHARGE_CALCULATION_MODEL_"
)


def _base(source: Object, key: str, path: str, findings: Findings) -> str:
    # A boolean by the OpenAPI document, and of no told type elsewhere: a name and a number are taken too, as text.
    value = source.get(key)
    if value.__class__ is bool:
        return "true" if value else "false"
    return str(value) if value.__class__ in {int, Number} else string(source, key, path, findings)


_SURCHARGE: Final = Schema(
    application_type_text=TEXT.at("application_type"),
    type_text=TEXT.at("type"),
    calculation_model_text=TEXT.at("calculation_model"),
    reference=TEXT,
    currency_code=TEXT.at("currency"),
    value=own(decimal),
    application_type=spelled(APPLICATION_TYPES),
    type=spelled(TYPES),
    base_application=one(Schema(base=own(_base), base_only=FLAG)),
    calculation_model=spelled(CALCULATION_MODELS),
    label=TEXT,
    description=TEXT,
    incremental_unit_factor=own(decimal),
    incremental_unit_price=own(decimal),
    minimum_value=own(decimal),
    maximum_value=own(decimal),
)
_QUOTE: Final = Schema(
    # Without these nobody can take it, or tell whose it is.
    reference=decisive(REQUIRED),
    shipment_reference=decisive(TEXT),
    price=common.PRICE,
    carrier=one(common.CARRIER),
    collection_date=own(dates),
    delivery_date=own(dates),
    created=own(timestamp),
    expires=own(timestamp),
    surcharges=many(_SURCHARGE),
    links=common.LINKS,
    applicable_documents=many(common.APPLICABLE_DOCUMENT),
)
QUOTED: Final = Document.of(
    Schema(quotes=things(_QUOTE), reference=REQUIRED, message=TEXT, excluded_services=many(common.EXCLUDED_SERVICE))
)


def quote_result(
    request: pb.CreateShipmentQuotesRequest, fields: Object, findings: Findings
) -> pb.CreateShipmentQuotesResponse:
    """Reads a QuoteResult. A quote for another shipment than the one asked for makes all of it broken."""
    if not fields["reference"] and not fields.get("quotes"):
        findings.decide("reference", "there is neither a reference nor a quote")
    named = {item.get("shipment_reference") or request.shipment_reference for item in fields.get("quotes") or ()}
    if not all(is_same(name, request.shipment_reference) for name in named):
        findings.contradict("quotes[].shipment_reference", "is not the shipment that was asked for")
    return pb.CreateShipmentQuotesResponse(**fields)
