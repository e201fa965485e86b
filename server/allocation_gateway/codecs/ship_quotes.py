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
    from allocation_gateway.codecs.json import Findings, Object

APPLICATION_TYPES: Final = json.vocabulary(
    dict(core_pb2.SurchargeApplicationType.items()), "SURCHARGE_APPLICATION_TYPE_"
)
TYPES: Final = json.vocabulary(dict(core_pb2.SurchargeType.items()), "SURCHARGE_TYPE_")
CALCULATION_MODELS: Final = json.vocabulary(
    dict(core_pb2.SurchargeCalculationModel.items()), "SURCHARGE_CALCULATION_MODEL_"
)


def quote_result(
    request: pb.CreateShipmentQuotesRequest, body: object, findings: Findings
) -> pb.CreateShipmentQuotesResponse:
    """Reads a QuoteResult. A quote for another shipment than the one asked for is a defect."""
    source = json.whole(body, findings)
    quotes = json.children(source, "quotes", "", findings, _quote)
    if any(item["shipment_reference"] not in {"", request.shipment_reference} for item in quotes):
        findings.append("quotes[].shipment_reference: is not the shipment that was asked for")
    fields: Object = {
        "reference": required(source, "reference", "", findings),
        "message": string(source, "message", "", findings),
        "quotes": quotes,
        "excluded_services": json.children(source, "excluded_services", "", findings, nouns.excluded_service),
    }
    return pb.CreateShipmentQuotesResponse(**fields)


def _quote(source: Object, path: str, findings: Findings) -> Object:
    return {
        "reference": required(source, "reference", path, findings),
        "shipment_reference": string(source, "shipment_reference", path, findings),
        "carrier": json.child(source, "carrier", path, findings, nouns.carrier),
        "collection_date": dates(source, "collection_date", path, findings),
        "delivery_date": dates(source, "delivery_date", path, findings),
        "price": json.child(source, "price", path, findings, nouns.price),
        "created": timestamp(source, "created", path, findings),
        "expires": timestamp(source, "expires", path, findings),
        "surcharges": json.children(source, "surcharges", path, findings, _surcharge),
        "links": nouns.links(source, path, findings),
        "applicable_documents": json.children(
            source, "applicable_documents", path, findings, nouns.applicable_document
        ),
    }


def _surcharge(source: Object, path: str, findings: Findings) -> Object:
    application_type = string(source, "application_type", path, findings)
    kind = string(source, "type", path, findings)
    model = string(source, "calculation_model", path, findings)
    return {
        "reference": string(source, "reference", path, findings),
        "currency_code": string(source, "currency", path, findings),
        "value": decimal(source, "value", path, findings),
        "application_type": APPLICATION_TYPES.get(application_type.lower(), 0),
        "application_type_text": application_type,
        "type": TYPES.get(kind.lower(), 0),
        "type_text": kind,
        "base_application": json.child(source, "base_application", path, findings, _base_application),
        "calculation_model": CALCULATION_MODELS.get(model.lower(), 0),
        "calculation_model_text": model,
        "label": string(source, "label", path, findings),
        "description": string(source, "description", path, findings),
        "incremental_unit_factor": decimal(source, "incremental_unit_factor", path, findings),
        "incremental_unit_price": decimal(source, "incremental_unit_price", path, findings),
        "minimum_value": decimal(source, "minimum_value", path, findings),
        "maximum_value": decimal(source, "maximum_value", path, findings),
    }


def _base_application(source: Object, path: str, findings: Findings) -> Object:
    # No source gives the type of `base`: a name and a number are both taken, as text.
    base = source.get("base")
    text = str(base) if base.__class__ in {int, Number} else string(source, "base", path, findings)
    return {"base": text, "base_only": json.boolean(source, "base_only", path, findings)}
