"""What the documents of the Consignments API have in common.

They are PascalCase JSON, with nulls where nothing is known, and decimals with four or five places.

Shapes are those of the vendor's own SDK and of the samples in its guides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb

from allocation_gateway.codecs import json
from allocation_gateway.codecs.json import required, string
from allocation_gateway.codecs.money import decimal, money
from allocation_gateway.codecs.time import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object


def pascal(values: Mapping[str, int], prefix: str) -> Mapping[str, int]:
    """Returns the values of an enum by upstream's spelling without its case: `AtCustoms` is `atcustoms`."""
    return {text.replace("_", ""): number for text, number in json.vocabulary(values, prefix).items()}


# Names, and the numbers that upstream's own enum has for them: ours from one on without its gaps.
STATES: Final = {
    **pascal(dict(pb.ConsignmentState.items()), "CONSIGNMENT_STATE_"),
    **{str(number): number + 1 for number in range(8)},
    **{str(number): number for number in range(9, 33)},
    "40": pb.CONSIGNMENT_STATE_READY_TO_SHIP,
}
SOURCES: Final = pascal(dict(pb.CarrierServiceSource.items()), "CARRIER_SERVICE_SOURCE_")
# Upstream's enums start at zero where ours keep zero for what is not known.
SOURCE_NUMBERS: Final = {"0": 1, "1": 2, "2": 3}
APPLICATION_TYPES: Final = {"standard": 2, "1": 2, "retrospective": 3, "2": 3}
SURCHARGE_TYPES: Final = {"additive": 1, "0": 1, "variable": 2, "1": 2}
CALCULATION_MODELS: Final = {"fixed": 1, "0": 1, "calculated": 2, "1": 2}


def name_or_number(source: Object, key: str, path: str, findings: Findings) -> str:
    """Reads a value that is a name in one sample and an integer in another, as text; empty if there is none."""
    value = source.get(key)
    return str(value) if value.__class__ is int else string(source, key, path, findings)


def integer(source: Object, key: str, path: str, findings: Findings) -> int:
    """Reads a 32-bit integer; zero if there is none."""
    value = source.get(key)
    if value.__class__ is int and -(2**31) <= value < 2**31:
        return int(value)
    if value is not None:
        findings.note(f"{path}{key}", "an integer", value)
    return 0


def rate(source: Object, path: str, findings: Findings) -> Object | None:
    """Reads a Price from a Rate. One whose amounts cannot all be read exactly is None: it is never partly right.

    So is one without amounts. The first version of the API has VatRate where later ones have TaxRate.
    """
    amount = json.either(source, "VatAmount", "TaxAmount")
    amounts = ("Net", "Gross", amount)
    if all(source.get(key) is None for key in amounts):
        return None
    currency = (json.child(source, "Currency", path, findings, _currency) or {}).get("code", "")
    if source.get("Currency") is None:
        findings.note(f"{path}Currency", "an object", None)
    net, gross, tax_amount = (_optional_money(source, key, path, findings, currency) for key in amounts)
    rate_key = json.either(source, "TaxRate", "VatRate")
    tax = {
        "rate": json.child(source, rate_key, path, findings.descriptive, _tax_rate),
        "amount": tax_amount,
    }
    read = zip(amounts, (net, gross, tax_amount), strict=True)
    if not currency or any(value is None and source.get(key) is not None for key, value in read):
        return None
    fields: Object = {"net": net, "gross": gross}
    if any(value is not None for value in tax.values()):
        fields["taxes"] = [tax]
    return fields


def _optional_money(source: Object, key: str, path: str, findings: Findings, currency: str) -> Object | None:
    return None if source.get(key) is None else money(source, key, path, findings, currency)


def _currency(source: Object, path: str, findings: Findings) -> Object:
    return {"code": required(source, "IsoCode", path, findings)}


def _tax_rate(source: Object, path: str, findings: Findings) -> Object:
    return {
        "reference": string(source, "Reference", path, findings),
        "country_iso_code": string(source, "CountryIsoCode", path, findings),
        "type": string(source, "Type", path, findings),
        "value": decimal(source, "Rate", path, findings),
    }


def link(source: Object, path: str, findings: Findings) -> Object:
    """Reads a Link from an ApiLink."""
    return {"href": string(source, "Href", path, findings), "rel": string(source, "Rel", path, findings)}


def links(source: Object, path: str, findings: Findings) -> list[Object]:
    """Reads the links of an object."""
    return json.children(source, "ApiLinks", path, findings, link)


def leg(source: Object, path: str, findings: Findings) -> Object:
    """Reads a ConsignmentLeg. The first version of the API has one tracking reference where later ones have a list."""
    single = string(source, "TrackingReference", path, findings)
    return {
        "leg": integer(source, "Leg", path, findings),
        "tracking_references": json.strings(source, "TrackingReferences", path, findings) or [single] * bool(single),
        "carrier_reference": string(source, "CarrierReference", path, findings),
        "carrier_service_reference": string(source, "CarrierServiceReference", path, findings),
        "carrier_name": string(source, "CarrierName", path, findings),
    }


def legs(source: Object, path: str, findings: Findings) -> list[Object]:
    """Reads the legs of an object."""
    return json.children(source, "ConsignmentLegs", path, findings, leg)


def failed_allocation(source: Object, path: str, findings: Findings) -> Object:
    """Reads a FailedAllocation."""
    return {
        "service_group": string(source, "CarrierServiceGroupReference", path, findings),
        "service_group_name": string(source, "MpdCarrierServiceGroupName", path, findings),
        "carrier_service_reference": string(source, "MpdCarrierServiceReference", path, findings),
        "carrier_service_name": string(source, "MpdCarrierServiceName", path, findings),
        "attempted_allocation_date": timestamp(source, "AttemptedAllocationDate", path, findings),
        "message": string(source, "Message", path, findings),
    }


def state(source: Object, findings: Findings) -> Object:
    """Reads the state of a consignment, which decides, and its text."""
    if source.get("ConsignmentState").__class__ is int:
        text = str(source["ConsignmentState"])
    else:
        text = required(source, "ConsignmentState", "", findings.decisive)
    return {"state": STATES.get(text.lower(), 0), "state_text": text}


def surcharge(source: Object, path: str, findings: Findings) -> Object:
    """Reads a ConsignmentSurcharge."""
    application_type = name_or_number(source, "ApplicationType", path, findings)
    kind = name_or_number(source, "Type", path, findings)
    model = name_or_number(source, "CalculationModel", path, findings)
    return {
        "reference": string(source, "Reference", path, findings),
        "currency_code": string(source, "CurrencyIsoCode", path, findings),
        "amount": decimal(source, "Amount", path, findings),
        "application_type": APPLICATION_TYPES.get(application_type.lower(), 0),
        "application_type_text": application_type,
        "type": SURCHARGE_TYPES.get(kind.lower(), 0),
        "type_text": kind,
        "calculation_model": CALCULATION_MODELS.get(model.lower(), 0),
        "calculation_model_text": model,
    }
