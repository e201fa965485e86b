"""What things look like on the wire: every member in its documented order, None where it has no value.

Pure views. What the switches change about all of them alike is in `dialect.py`.
"""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.consignments.creation import MEASURE, MONEY
from allocation_gateway.sandbox.consignments.world import CUSTOMER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from allocation_gateway.sandbox.consignments.consignments import (
        Allocation,
        Consignment,
        FailedAllocation,
        Leg,
        Pool,
    )
    from allocation_gateway.sandbox.consignments.errors import Detail
    from allocation_gateway.sandbox.consignments.labels import Label
    from allocation_gateway.sandbox.consignments.rate import Rate

Document = dict[str, Any]

# The host of links, which is not the host the request was sent to.
LINKS_BASE_URL = "https://api.electioapp.com"

CURRENCIES = {"GBP": "Pound Sterling", "EUR": "Euro", "USD": "US Dollar"}
_BASE_36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def moment(value: datetime) -> str:
    """A date-time as live answers write it: seven fractional digits and an offset."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%f}0+00:00"


def _day(value: date) -> str:
    return moment(datetime.combine(value, time(), UTC))


def _moment_if(value: datetime | None) -> str | None:
    return None if value is None else moment(value)


def link(rel: str, reference: str, path: str = "consignments") -> Document:
    """An ApiLink."""
    return {"Rel": rel, "Href": f"{LINKS_BASE_URL}/{path}/{reference}"}


def summary(status: int, links: Sequence[Document], description: str, booked: Allocation | None) -> Document:
    """An AllocationSummary; the carrier's members are empty where nothing was booked."""
    return {"StatusCode": status, "ApiLinks": links, "Description": description, **_carrier_members(booked)}


def with_message(*, success: bool, message: str | None, data: str | None, links: Sequence[Document] | None) -> Document:
    """A WithMessage of a string."""
    return {"IsSuccess": success, "Message": message, "Data": data, "ApiLinks": links}


def label_result(
    kind: str,
    status: int,
    label: Label | None,
    result: str,
    booked: Allocation | None,
    message: str | None,
    links: Sequence[Document],
) -> Document:
    """An AllocateAndGetLabelsResult."""
    return {
        "LabelType": kind,
        "StatusCode": status,
        "LabelContent": None if label is None else base64.b64encode(label.content).decode(),
        "LabelFileType": None if label is None else label.content_type,
        "Result": result,
        **_carrier_members(booked),
        "Message": message,
        "ApiLinks": links,
    }


def label_file(label: Label) -> Document:
    """A label alone."""
    return {"File": base64.b64encode(label.content).decode(), "ContentType": label.content_type}


def _carrier_members(booked: Allocation | None) -> Document:
    if booked is None:
        return {
            "ConsignmentLegs": [],
            "CarrierReference": None,
            "CarrierName": None,
            "CarrierServiceReference": None,
            "CarrierServiceName": None,
        }
    return {
        "ConsignmentLegs": [_leg(leg) for leg in booked.legs],
        "CarrierReference": booked.carrier_reference,
        "CarrierName": booked.carrier_name,
        "CarrierServiceReference": booked.service_reference,
        "CarrierServiceName": booked.service_name,
    }


def _leg(value: Leg) -> Document:
    return {
        "Leg": value.number,
        "TrackingReferences": list(value.tracking_references),
        "CarrierReference": value.carrier_reference,
        "CarrierServiceReference": None,
        "CarrierName": value.carrier_name,
    }


def rate(value: Rate) -> Document:
    """A Rate."""
    return {
        "Net": value.net,
        "Gross": value.gross,
        "TaxRate": {
            "Reference": f"{value.country}-{value.tax_rate}",
            "CountryIsoCode": value.country,
            "Type": "Standard" if value.tax_rate else "Zero",
            "Rate": value.tax_rate,
        },
        "VatAmount": value.tax,
        "Currency": {"Name": CURRENCIES[value.currency], "IsoCode": value.currency},
    }


def consignment(value: Consignment, *, metadata: bool) -> Document:
    """A Consignment in the order observed."""
    booked, details = value.allocation, value.details
    document = details.document
    return {
        "ConsignmentLegs": [] if booked is None else [_leg(leg) for leg in booked.legs],
        "CollectionDate": None if booked is None else moment(booked.shipping),
        "DateDelivered": None,
        "FirstAttemptedDeliveryDate": None,
        "DateReturned": None,
        "DateShipped": None,
        "DateCollected": None,
        "AttemptedDeliveryDate": None,
        "MetaData": document["MetaData"] if metadata else [],
        "Allocation": None if booked is None else _allocation(booked),
        "FailedAllocation": None if value.failed is None else _failed(value.failed),
        "Source": document["Source"],
        "LabelCount": value.labels,
        "LabelsPrinted": value.labels > 0,
        "DateLabelsWereFirstPrinted": _moment_if(value.first_printed),
        "IsLate": False,
        "LateForCustomer": False,
        "CustomerReference": CUSTOMER,
        "Weight": {"Value": details.weight.quantize(MEASURE), "Unit": "Kg"},
        "Value": {
            "Amount": details.value.quantize(MONEY),
            "Currency": {"Name": CURRENCIES["GBP"], "IsoCode": "GBP"},
        },
        "CustomsDocumentation": document["CustomsDocumentation"],
        "Direction": details.direction,
        "Tags": list(details.tags),
        "Reference": value.reference,
        "ConsignmentState": value.state,
        "DateCreated": moment(value.created),
        "ShippingDate": _shipping_date(value),
        "RequestedDeliveryDate": document["RequestedDeliveryDate"],
        "EarliestDeliveryDate": None if booked is None else moment(booked.earliest),
        "LatestDeliveryDate": None if booked is None else moment(booked.latest),
        "ConsignmentReferenceProvidedByCustomer": document["ConsignmentReferenceProvidedByCustomer"],
        "Addresses": document["Addresses"],
        "Packages": [
            {
                "ConsignmentLegs": [] if booked is None else [_leg(leg) for leg in booked.legs],
                "Charges": [],
                **package,
                "Reference": _package_reference(value.reference, index),
            }
            for index, package in enumerate(document["Packages"])
        ],
    }


def _shipping_date(value: Consignment) -> str | None:
    if value.allocation is not None:
        return moment(value.allocation.shipping)
    return None if value.details.shipping_date is None else _day(value.details.shipping_date)


def _package_reference(reference: str, index: int) -> str:
    """A reference of the documented form that depends on nothing but the consignment and the package's place."""
    number, digits = zlib.crc32(f"{reference}/{index}".encode()), ""
    for _ in range(9):
        number, digit = divmod(number, len(_BASE_36))
        digits = _BASE_36[digit] + digits
    return f"EP-{digits[:3]}-{digits[3:6]}-{digits[6:]}"


def _group_members(group: Pool | None) -> Document:
    return {
        "CarrierServiceGroupReference": None if group is None else group.code,
        "MpdCarrierServiceGroupName": None if group is None else group.name,
    }


def _allocation(booked: Allocation) -> Document:
    return {
        **_group_members(booked.group),
        "MpdCarrierServiceReference": booked.service_reference,
        "MpdCarrierServiceName": booked.service_name,
        "AllocationDate": moment(booked.date),
        "Price": rate(booked.price),
    }


def _failed(value: FailedAllocation) -> Document:
    return {
        **_group_members(value.group),
        "MpdCarrierServiceReference": value.service_reference,
        "MpdCarrierServiceName": value.service_name,
        "AttemptedAllocationDate": moment(value.date),
        "Message": value.message,
    }


def status(value: Consignment) -> Document:
    """A consignment's state alone."""
    booked = value.allocation
    return {
        "ConsignmentReferenceForAllLegsAssignedByMpd": value.reference,
        "Status": value.state,
        "ExpectedDeliveryDate": None if booked is None else moment(booked.latest),
        "ApiLink": link("Link", value.reference),
    }


def api_error(code: str, message: str, correlation_id: str, details: Iterable[Detail]) -> Document:
    """An ApiError."""
    children = [{"Code": item.code, "Target": item.target, "Message": item.message} for item in details]
    return {"Code": code, "Message": message, "CorrelationId": correlation_id, "Details": children or None}


def policy_error(status_code: int, message: str) -> Document:
    """What API management says by itself: the only members that do not begin with a capital."""
    return {"statusCode": status_code, "message": message}
