"""The documented examples come out of the engine, member for member and in the documented order."""

from __future__ import annotations

from pathlib import Path

import pytest
from allocation_gateway.sandbox.consignments.seed import (
    ALLOCATED_EXAMPLES,
    GROUPED,
    PLAIN_EXAMPLES,
    QUOTE,
    QUOTED,
    UPS_STANDARD,
)
from sandbox_consignments.calling import Caller, cheapest, many, named, with_group, with_quote

GOLDEN = Path(__file__).parent / "golden" / "quote.json"
UPS_NAME = "UPS STANDARD (Delivery Confirmation Signature Required)"

pytestmark = pytest.mark.asyncio


async def test_the_quote_example_is_equal_byte_for_byte(caller: Caller) -> None:
    response = await caller.put(with_quote(QUOTED, QUOTE))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.content == GOLDEN.read_bytes().strip()


async def test_the_quote_example_can_be_repeated_after_a_reset(caller: Caller) -> None:
    await caller.put(with_quote(QUOTED, QUOTE))
    for path in ("reset", f"reset?reference={QUOTED}"):
        await caller.control("POST", path)
        assert (await caller.put(with_quote(QUOTED, QUOTE))).content == GOLDEN.read_bytes().strip()


async def test_another_booking_of_the_consignment_has_another_tracking_reference(caller: Caller) -> None:
    first = (await caller.put(with_quote(QUOTED, QUOTE))).json()
    await caller.put(f"/consignments/{QUOTED}/deallocate")
    second = (await caller.put(with_quote(QUOTED, QUOTE))).json()
    assert first[0]["ConsignmentLegs"] != second[0]["ConsignmentLegs"]


async def test_the_price_and_the_group_are_on_the_consignment_alone(caller: Caller) -> None:
    await caller.put(with_group(GROUPED, "valuableGoods"))
    response = await caller.call("GET", f"/consignments/{GROUPED}")
    allocation = response.json()["Allocation"]
    assert list(allocation) == [
        *("CarrierServiceGroupReference", "MpdCarrierServiceGroupName"),
        *("MpdCarrierServiceReference", "MpdCarrierServiceName", "AllocationDate", "Price"),
    ]
    assert allocation["CarrierServiceGroupReference"] == "valuableGoods"
    assert allocation["MpdCarrierServiceReference"] == UPS_STANDARD
    assert allocation["AllocationDate"] == "2026-03-04T10:00:00.0000000+00:00"
    documented = (
        b'"Price":{"Net":27.69,"Gross":33.23,"TaxRate":{"Reference":"GB-0.2000","CountryIsoCode":"GB",'
        b'"Type":"Standard","Rate":0.2000},"VatAmount":5.54,"Currency":{"Name":"Pound Sterling","IsoCode":"GBP"}}'
    )
    assert documented in response.content


async def test_the_group_example_takes_the_cheapest_of_the_group(caller: Caller) -> None:
    response = await caller.put(with_group(GROUPED, "valuableGoods"))
    assert [item["CarrierServiceName"] for item in response.json()] == [UPS_NAME]


async def test_the_bulk_example_answers_one_summary_for_each_in_order(caller: Caller) -> None:
    response = await caller.put("/allocation/allocate", many(*PLAIN_EXAMPLES))
    assert response.status_code == 200
    assert named(response.json()) == list(PLAIN_EXAMPLES)
    assert {item["CarrierServiceReference"] for item in response.json()} == {"MPD_RMDTPS48HNAUT"}


async def test_the_deallocation_example(caller: Caller) -> None:
    response = await caller.put("/consignments/deallocatelist", list(ALLOCATED_EXAMPLES))
    assert response.status_code == 200
    assert response.json() == [
        {
            "IsSuccess": True,
            "Message": "Consignment deallocation completed successfully",
            "Data": reference,
            "ApiLinks": None,
        }
        for reference in ALLOCATED_EXAMPLES
    ]
    assert {await caller.state(reference) for reference in ALLOCATED_EXAMPLES} == {"Unallocated"}


async def test_a_consignment_is_shown_in_the_order_observed_with_its_decimals(caller: Caller) -> None:
    response = await caller.call("GET", f"/consignments/{GROUPED}")
    assert list(response.json()) == [
        *("ConsignmentLegs", "CollectionDate", "DateDelivered", "FirstAttemptedDeliveryDate", "DateReturned"),
        *("DateShipped", "DateCollected", "AttemptedDeliveryDate", "MetaData", "Allocation", "FailedAllocation"),
        *("Source", "LabelCount", "LabelsPrinted", "DateLabelsWereFirstPrinted", "IsLate", "LateForCustomer"),
        *("CustomerReference", "Weight", "Value", "CustomsDocumentation", "Direction", "Tags", "Reference"),
        *("ConsignmentState", "DateCreated", "ShippingDate", "RequestedDeliveryDate", "EarliestDeliveryDate"),
        *("LatestDeliveryDate", "ConsignmentReferenceProvidedByCustomer", "Addresses", "Packages"),
    ]
    for part in (
        b'"Weight":{"Value":0.50000,"Unit":"Kg"}',
        b'"Amount":5.9900',
        b'"Allocation":null,"FailedAllocation":null,"Source":"Api","LabelCount":0,"LabelsPrinted":false',
        b'"ConsignmentState":"Unallocated","DateCreated":"2019-06-14T09:30:15.1234560+00:00"',
        b'"ConsignmentReferenceProvidedByCustomer":""',
    ):
        assert part in response.content


async def test_a_price_of_four_decimals_stays_exact(caller: Caller) -> None:
    await caller.put(cheapest(GROUPED))
    response = await caller.call("GET", f"/consignments/{GROUPED}")
    assert b'"Net":3.1042,"Gross":3.7250,' in response.content
    assert b'"VatAmount":0.6208,' in response.content
