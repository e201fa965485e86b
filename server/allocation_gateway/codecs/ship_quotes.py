"""Quotes of the Ship API: QuoteResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import json, nouns
from allocation_gateway.codecs.json import Number, required, string
from allocation_gateway.codecs.money import decimal
from allocation_gateway.codecs.time import dates, timestamp

if TYPE_CHECKING:
    from allocation_gateway.codecs.json import Defects, Object

APPLICATION_TYPES: Final = json.vocabulary(
    dict(core_pb2.SurchargeApplicationType.items()), "SURCHARGE_APPLICATION_TYPE_"
)
TYPES: Final = json.vocabulary(dict(core_pb2.SurchargeType.items()), "SURCHARGE_TYPE_")
CALCULATION_MODELS: Final = json.vocabulary(
    dict(core_pb2.SurchargeCalculationModel.items()), "SURCHARGE_CALCULATION_MODEL_"
)


def quote_result(
    request: pb.CreateShipmentQuotesRequest, body: object, defects: Defects
) -> pb.CreateShipmentQuotesResponse:
    """Reads a QuoteResult. A quote for another shipment than the one asked for is a defect."""
    if not isinstance(body, dict):
        defects.note("body", "an object", body)
        body = {}
    quotes = json.children(body, "quotes", "", defects, _quote)
    if any(item["shipment_reference"] not in {"", request.shipment_reference} for item in quotes):
        defects.append("quotes[].shipment_reference: is not the shipment that was asked for")
    fields: Object = {
        "reference": required(body, "reference", "", defects),
        "message": string(body, "message", "", defects),
        "quotes": quotes,
        "excluded_services": json.children(body, "excluded_services", "", defects, nouns.excluded_service),
    }
    return pb.CreateShipmentQuotesResponse(**fields)


def _quote(source: Object, path: str, defects: Defects) -> Object:
    return {
        "reference": required(source, "reference", path, defects),
        "shipment_reference": string(source, "shipment_reference", path, defects),
        "carrier": json.child(source, "carrier", path, defects, nouns.carrier),
        "collection_date": dates(source, "collection_date", path, defects),
        "delivery_date": dates(source, "delivery_date", path, defects),
        "price": nouns.price_below(source, "price", path, defects),
        "created": timestamp(source, "created", path, defects),
        "expires": timestamp(source, "expires", path, defects),
        "surcharges": json.children(source, "surcharges", path, defects, _surcharge),
        "links": nouns.links(source, path, defects),
        "applicable_documents": json.children(source, "applicable_documents", path, defects, nouns.applicable_document),
    }


def _surcharge(source: Object, path: str, defects: Defects) -> Object:
    application_type = string(source, "application_type", path, defects)
    kind = string(source, "type", path, defects)
    model = string(source, "calculation_model", path, defects)
    return {
        "reference": string(source, "reference", path, defects),
        "currency_code": string(source, "currency", path, defects),
        "value": decimal(source, "value", path, defects),
        "application_type": APPLICATION_TYPES.get(application_type.lower(), 0),
        "application_type_text": application_type,
        "type": TYPES.get(kind.lower(), 0),
        "type_text": kind,
        "base_application": json.child(source, "base_application", path, defects, _base_application),
        "calculation_model": CALCULATION_MODELS.get(model.lower(), 0),
        "calculation_model_text": model,
        "label": string(source, "label", path, defects),
        "description": string(source, "description", path, defects),
        "incremental_unit_factor": decimal(source, "incremental_unit_factor", path, defects),
        "incremental_unit_price": decimal(source, "incremental_unit_price", path, defects),
        "minimum_value": decimal(source, "minimum_value", path, defects),
        "maximum_value": decimal(source, "maximum_value", path, defects),
    }


def _base_application(source: Object, path: str, defects: Defects) -> Object:
    # No source gives the type of `base`: a name and a number are both taken, as text.
    base = source.get("base")
    text = str(base) if base.__class__ in {int, Number} else string(source, "base", path, defects)
    return {"base": text, "base_only": json.boolean(source, "base_only", path, defects)}
