"""What the services look like on the wire: in quotes, and in groups. Pure views, like `documents.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments.documents import Document, moment, rate
from allocation_gateway.sandbox.consignments.world import CUSTOMER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from allocation_gateway.sandbox.consignments.catalogue import Carrier, Group, Service
    from allocation_gateway.sandbox.consignments.consignments import Quotation, Quote

# Whose key it is, as quotes name it.
REQUESTOR = "Example User"


def quote_result(value: Quotation, services: Mapping[str, Service], source: object) -> Document:
    """A QuoteResult, or a ServiceGroupQuoteResult if a group was asked."""
    quotes = [_quote(quote, value, services[quote.service_reference], source) for quote in value.quotes]
    document: Document = {
        "QuoteRequestReference": value.reference,
        "Quotes": quotes,
        "Message": "Quote created successfully" if value.group is not None else None,
        "UnqualifiedServices": [
            {
                "Available": item.service.available and item.service.enabled,
                "Rates": item.service.net is not None,
                "MpdCarrierService": item.service.name,
                "CarrierReference": item.service.carrier,
                "MpdCarrierServiceReference": item.service.reference,
                "ExclusionReason": item.reason,
            }
            for item in value.unqualified
        ],
    }
    if value.group is None:
        return document
    cheapest = quotes[0] if quotes else None
    return {"Reference": value.group.code, "Name": value.group.name, "CheapestQuote": cheapest, **document}


def _quote(value: Quote, quotation: Quotation, service: Service, source: object) -> Document:
    return {
        "MpdCarrierServiceSource": source,
        "MpdCarrierService": value.service_name,
        "CarrierReference": value.carrier_reference,
        "OriginAddress": _address(quotation, "Origin"),
        "DestinationAddress": _address(quotation, "Destination"),
        "CollectionDate": moment(value.shipping),
        "EarliestDeliveryDate": moment(value.earliest),
        "LatestDeliveryDate": moment(value.latest),
        "BasePrice": rate(value.price),
        "Price": rate(value.price),
        "Surcharges": [],
        "Legs": [
            _quoted_leg(stage, reference, service)
            for stage, reference in enumerate(service.legs or (service.carrier,), start=1)
        ],
        "CarrierAccountOwner": "Customer",
        "IsElectioService": False,
        "ServiceDirection": directions(service),
        "QuoteReference": value.reference,
        "CreationDate": moment(value.created),
        "ExpiryDate": moment(value.expires),
        "Requestor": REQUESTOR,
        "ConsignmentReference": value.consignment_reference or "",
        "ConsignmentReferenceProvidedByCustomer": quotation.details.document["ConsignmentReferenceProvidedByCustomer"],
        "MpdCarrierServiceReference": value.service_reference,
    }


def _address(quotation: Quotation, kind: str) -> Document:
    addresses: Iterable[Document] = quotation.details.document["Addresses"]
    return next(address for address in addresses if kind in str(address["AddressType"]))


def directions(service: Service) -> str:
    """A service's directions, as flags are written in JSON."""
    return ", ".join(sorted(service.directions))


def _quoted_leg(stage: int, carrier: str, service: Service) -> Document:
    return {
        "JourneyStage": stage,
        "CarrierService": _leg_service(service, carrier),
        "CarrierAccountReference": f"{carrier}-account",
        "DeliveryHub": None,
        "CostItems": [],
        "VolumetricParcelWeight": None,
        "CollectionType": "Scheduled" if stage == 1 else "NotApplicable",
        "Metadata": [],
    }


def _leg_service(service: Service, carrier: str) -> Document:
    """A leg's own service, whose reference is the carrier's and not the MPD one."""
    own = service.reference.partition("_")[2] or service.reference
    return {
        "Reference": own,
        "Name": service.name,
        "CarrierReference": carrier,
        "CarrierName": carrier,
        "ExternalReference": None,
        "IsDropOff": service.drop_off,
        "IsPickUp": service.pickup,
        "IsTimed": False,
        "IsTracked": True,
        "IsSigned": False,
        "ServiceDirection": directions(service),
    }


def group(value: Group, services: Sequence[Service], carriers: Mapping[str, Carrier]) -> Document:
    """An MpdCarrierServiceGroup with its services; a summary is one without."""
    return {
        "Reference": value.code,
        "Name": value.name,
        "CustomerReference": CUSTOMER,
        "MpdCarrierServiceProfiles": [_profile(service, carriers) for service in services],
        "IsEnabled": value.enabled,
    }


def _profile(service: Service, carriers: Mapping[str, Carrier]) -> Document:
    return {
        "IsEnabled": service.enabled,
        "CustomerReference": CUSTOMER,
        "MpdCarrierService": {
            "Name": service.name,
            "Description": service.name,
            "Reference": service.reference,
            "MpdCarrierReference": service.carrier,
            "CarrierName": carriers[service.carrier].name,
            "CarrierAccountOwner": "Customer",
            "Status": "Enabled" if service.enabled else "Disabled",
            "Journey": [
                _quoted_leg(stage, reference, service)
                for stage, reference in enumerate(service.legs or (service.carrier,), start=1)
            ],
            "Source": "External",
            "Type": "Scheduled",
            "IsConfigured": service.available,
        },
        "DimensionRestrictions": [],
        "DomesticLocationRestrictions": [],
        "InternationalLocationRestrictions": [],
        "CompensationAndValue": {
            "Id": 1,
            "MaxParcelValue": service.max_value,
            "GetEnhancedCompensation": False,
            "CompensationThreshold": None,
        },
    }
