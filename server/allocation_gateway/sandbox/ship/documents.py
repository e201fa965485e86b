"""Ship's JSON documents: every documented member in its documented order, None where it has no value.

Pure views of the world. What the switches change about all of them alike is in `dialect.py`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from allocation_gateway.sandbox.ship.catalogue import Carrier
    from allocation_gateway.sandbox.ship.eligibility import Exclusion
    from allocation_gateway.sandbox.ship.errors import Detail
    from allocation_gateway.sandbox.ship.shipments import (
        Allocation,
        CarrierDetails,
        Price,
        Quote,
        Shipment,
        Window,
    )

Document = dict[str, Any]


def moment(value: datetime) -> str:
    """A date-time as live answers write it: six fractional digits and an offset."""
    return value.isoformat(timespec="microseconds")


def window(value: Window) -> Document:
    """A DateRange of an answer."""
    if value.start is None and value.end is None:
        return {"has_value": False}
    return {
        "start": None if value.start is None else moment(value.start),
        "end": None if value.end is None else moment(value.end),
        "has_value": True,
    }


def price(value: Price) -> Document:
    """A Price with its taxes."""
    return {
        "net": value.net,
        "gross": value.gross,
        "taxes": [
            {
                "rate": {
                    "reference": tax.reference,
                    "country_iso_code": tax.country_iso_code,
                    "type": tax.type,
                    "value": tax.rate,
                },
                "amount": tax.amount,
            }
            for tax in value.taxes
        ],
        "currency": value.currency,
    }


def carrier(value: CarrierDetails) -> Document:
    """CarrierDetails without the tags that one early contract adds and no sample shows."""
    return {
        "reference": value.reference,
        "name": value.name,
        "service_reference": value.service_reference,
        "service_name": value.service_name,
    }


def tracking(shipment: Shipment, allocation: Allocation) -> Document:
    """TrackingDetails; the sandbox tracks shipments as a whole, never their contents one by one."""
    return {
        "shipment": {
            "reference": shipment.reference,
            "tracking_references": [allocation.tracking_reference],
            "_links": None,
        },
        "contents": [],
    }


def link(base: str, path: str, kind: str, reference: str, rel: str | None = None) -> Document:
    """A Link. `base` is a host of upstream's own choosing, never the one the request came to."""
    return {"href": f"{base}{path}", "rel": rel or kind, "reference": reference, "type": kind}


def shipment_link(base: str, reference: str, kind: str = "shipment") -> Document:
    """The link to a shipment."""
    return link(base, f"/shipments/{reference}", kind, reference, "shipment")


def shipment_links(base: str, reference: str) -> list[Document]:
    """The links of an allocated shipment: itself and its label in two formats."""
    return [
        shipment_link(base, reference),
        link(base, f"/labels/{reference}/pdf", "label", reference),
        link(base, f"/labels/{reference}/zpl", "label", reference),
    ]


def excluded(values: Iterable[Exclusion], carriers: Mapping[str, Carrier], *, swapped: bool) -> list[Document]:
    """ExcludedService list. Live answers name service and carrier the other way round here; `swapped` does too."""
    listed = []
    for value in values:
        by_service = (value.service.reference, value.service.name)
        by_carrier = (value.service.carrier, carriers[value.service.carrier].name)
        first, second = (by_service, by_carrier) if swapped else (by_carrier, by_service)
        listed.append(
            {
                "carrier": {
                    "reference": first[0],
                    "name": first[1],
                    "service_reference": second[0],
                    "service_name": second[1],
                },
                "exclusion": {"reason": value.reason, "code": value.code},
            }
        )
    return listed


def allocate_result(
    shipment: Shipment,
    booked: Allocation | None,
    *,
    message: str,
    correlation_id: str,
    links: Sequence[Document],
    details: Sequence[Document],
    excluded_services: Sequence[Document],
    dates: bool,
) -> Document:
    """An AllocateResult: the booking this request made, or nulls where it made none."""
    document: Document = {
        "shipment_reference": shipment.reference,
        "state": shipment.state,
        "price": None if booked is None else price(booked.price),
        "message": message,
        "carrier": None if booked is None else carrier(booked.carrier),
        "tracking_details": None if booked is None else tracking(shipment, booked),
        "_links": links,
        "correlation_id": correlation_id,
        "details": details,
        "excluded_services": excluded_services,
        "paperless_documents": None,
    }
    if dates:
        document["shipping_date"] = None if booked is None else window(booked.shipping)
        document["expected_delivery_date"] = None if booked is None else window(booked.delivery)
    return document


def api_error(correlation_id: str, code: str, message: str, details: Iterable[Detail]) -> Document:
    """An ApiError. Its `reference`, required by one schema and in no sample, is left out."""
    return {
        "correlation_id": correlation_id,
        "code": code,
        "message": message,
        "details": [
            {"property": detail.property, "code": detail.code, "message": detail.message} for detail in details
        ],
        "_links": None,
    }


def resource_result(reference: str, custom_reference: str | None, message: str, base: str) -> Document:
    """A ResourceResult."""
    return {
        "reference": reference,
        "custom_reference": custom_reference,
        "message": message,
        "_links": [shipment_link(base, reference)],
    }


# What one specification lists below a shipment, and what the documents show as part of an AllocateResult.
SUPPLIED_DOCUMENTS = (
    {
        "document_reference": "pd_00794403010635468411384028069888",
        "document_state": "ready",
        "document_type": "commercial_invoice",
        "file_format": "pdf",
        "usage": "electronic_trade",
        "expiration": "2099-12-31T23:59:59+00:00",
    },
    {"type": "invoice", "format": "pdf"},
)
PAPERLESS_DOCUMENTS = {"sent_to_carrier": True, "usage_type": "electronic_and_physical"}


def surcharge(base: bool | str, currency: str) -> Document:
    """A Surcharge that is applied to the base price, which the sources tell in two ways."""
    return {
        "reference": "SBX_FUEL",
        "currency": currency,
        "value": Decimal("0.0525"),
        "application_type": "standard",
        "type": "variable",
        "base_application": {"base": base, "base_only": True},
        "calculation_model": "calculated",
        "label": "Fuel",
        "description": "A proportion of the base price.",
        "incremental_unit_factor": None,
        "incremental_unit_price": None,
        "minimum_value": Decimal("0.10"),
        "maximum_value": None,
    }


def shipment(value: Shipment, base: str, *, tracking_as_references: bool, paperless_documents: object) -> Document:
    """A Shipment."""
    booked, details = value.allocation, value.details
    nothing: Document = {"has_value": False}
    return {
        "reference": value.reference,
        "state": value.state,
        "created": moment(value.created),
        "updated": None if value.updated is None else moment(value.updated),
        **details.document,
        "direction": details.direction,
        "shipment_type": ",".join(details.shipment_types),
        "tags": list(details.tags),
        "shipping_date": nothing if booked is None else window(booked.shipping),
        "required_shipping_date": window(details.required_shipping),
        "expected_delivery_date": nothing if booked is None else window(booked.delivery),
        "required_delivery_date": window(details.required_delivery),
        "actual_delivery_date": nothing,
        "allocation": None
        if booked is None
        else _allocation(value, booked, base, tracking_as_references=tracking_as_references),
        "paperless_documents": paperless_documents,
        "_links": [shipment_link(base, value.reference)],
    }


def _allocation(value: Shipment, booked: Allocation, base: str, *, tracking_as_references: bool) -> Document:
    document: Document = {
        "carrier": carrier(booked.carrier),
        "allocation_date": moment(booked.date),
        "price": price(booked.price),
    }
    if tracking_as_references:
        document["tracking_references"] = [booked.tracking_reference]
    else:
        document["tracking_details"] = tracking(value, booked)
    document["_links"] = shipment_links(base, value.reference)[1:]
    return document


def quote_result(
    value: Shipment,
    quotes: Iterable[Quote],
    *,
    reference: str,
    message: str,
    base: str,
    excluded_services: Sequence[Document],
    surcharge_base: bool | str | None = None,
) -> Document:
    """A QuoteResult. Each quote has a surcharge with the given base, unless there is none."""
    return {
        "reference": reference,
        "message": message,
        "shipment": {
            "reference": value.reference,
            "addresses": value.details.document["addresses"],
            "custom_reference": value.details.document.get("custom_reference"),
            "_links": [shipment_link(base, value.reference)],
        },
        "quotes": [_quote(quote, base, surcharge_base) for quote in quotes],
        "excluded_services": excluded_services,
    }


def _quote(value: Quote, base: str, surcharge_base: bool | str | None) -> Document:
    path = f"/shipments/{value.shipment_reference}/allocate/quote/{value.reference}"
    return {
        "reference": value.reference,
        "shipment_reference": value.shipment_reference,
        "carrier": carrier(value.carrier),
        "collection_date": window(value.shipping),
        "delivery_date": window(value.delivery),
        "price": price(value.price),
        "created": moment(value.created),
        "expires": moment(value.expires),
        "surcharges": [] if surcharge_base is None else [surcharge(surcharge_base, value.price.currency)],
        "_links": [link(base, path, "quote", value.reference)],
    }
