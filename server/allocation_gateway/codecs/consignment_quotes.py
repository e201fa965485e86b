"""Quotes of the Consignments API: QuoteResult."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation.v1 import consignment_allocation_service_pb2 as pb

from allocation_gateway.codecs import consignment_common as common
from allocation_gateway.codecs import json
from allocation_gateway.codecs.json import required, string
from allocation_gateway.codecs.time import timestamp
from allocation_gateway.references import is_same

if TYPE_CHECKING:
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object


def quote_result(
    request: pb.GetConsignmentQuotesRequest, body: object, findings: Findings
) -> pb.GetConsignmentQuotesResponse:
    """Reads a QuoteResult. A quote for another consignment than the one asked for makes all of it broken."""
    source = json.whole(body, findings)
    reference = required(source, "QuoteRequestReference", "", findings)
    quotes = json.things(json.array(source, "Quotes", "", findings.decisive), "Quotes", findings, _quote)
    if not reference and not quotes:
        findings.decide("QuoteRequestReference", "there is neither a reference nor a quote")
    named = {item["consignment_reference"] or request.consignment_reference for item in quotes}
    if not all(is_same(name, request.consignment_reference) for name in named):
        findings.contradict("Quotes[].ConsignmentReference", "is not the consignment that was asked for")
    fields: Object = {
        "reference": reference,
        "message": string(source, "Message", "", findings),
        "quotes": quotes,
        "unqualified_services": json.children(source, "UnqualifiedServices", "", findings, _unqualified),
    }
    return pb.GetConsignmentQuotesResponse(unreadable=findings.claim(), **fields)


def _quote(source: Object, path: str, findings: Findings) -> Object:
    fields: Object = {
        # Without these nobody can take it, or tell whose it is.
        "reference": required(source, "QuoteReference", path, findings.decisive),
        "consignment_reference": string(source, "ConsignmentReference", path, findings.decisive),
        "price": json.child(source, "Price", path, findings, common.rate),
        "base_price": json.child(source, "BasePrice", path, findings, common.rate),
        "carrier_reference": string(source, "CarrierReference", path, findings),
        "carrier_service_reference": string(source, "MpdCarrierServiceReference", path, findings),
        "carrier_service_name": string(source, "MpdCarrierService", path, findings),
        "collection_date": timestamp(source, "CollectionDate", path, findings),
        "earliest_delivery_date": timestamp(source, "EarliestDeliveryDate", path, findings),
        "latest_delivery_date": timestamp(source, "LatestDeliveryDate", path, findings),
        "surcharges": json.children(source, "Surcharges", path, findings, common.surcharge),
        "created": timestamp(source, "CreationDate", path, findings),
        "expires": timestamp(source, "ExpiryDate", path, findings),
    }
    origin = common.name_or_number(source, "MpdCarrierServiceSource", path, findings)
    number = common.SOURCES.get(origin.lower()) or common.SOURCE_NUMBERS.get(origin, 0)
    return {**fields, "source": number, "source_text": origin}


def _unqualified(source: Object, path: str, findings: Findings) -> Object:
    return {
        "carrier_reference": string(source, "CarrierReference", path, findings),
        "carrier_service_reference": string(source, "MpdCarrierServiceReference", path, findings),
        "carrier_service_name": string(source, "MpdCarrierService", path, findings),
        "available": json.boolean(source, "Available", path, findings),
        "rates": json.boolean(source, "Rates", path, findings),
        "exclusion_reason": string(source, "ExclusionReason", path, findings),
    }
