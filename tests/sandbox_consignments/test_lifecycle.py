"""Creating, reading, and every change of state that is documented."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allocation_gateway.sandbox.consignments import states
from allocation_gateway.sandbox.consignments.seed import in_state
from sandbox_consignments.calling import PLAIN, UNKNOWN, Caller, address, cheapest, create, package, request

pytestmark = pytest.mark.asyncio

NO_CANCELLING = {
    *("Allocating", "Manifesting", "Cancelling", "Cancelled"),
    *("Delivered", "PartiallyDelivered", "InTransitWaiting", "ReadyToShip"),
}


async def test_there_are_thirty_three_states_with_upstreams_numbers() -> None:
    assert len(states.NUMBERS) == 33
    assert set(states.NUMBERS.values()) == {*range(33), 40} - {8}


async def test_a_created_consignment_has_references_of_the_documented_forms(caller: Caller) -> None:
    response = await caller.call("POST", "/consignments/", request(Packages=[package(), package()]))
    assert response.status_code == 201
    link = response.json()[0]
    assert link["Rel"] == "Link"
    reference = link["Href"].rpartition("/")[2]
    assert re.fullmatch("EC-[A-Z0-9]{3}-[A-Z0-9]{3}-[A-Z0-9]{3}", reference)
    packages = (await caller.consignment(reference))["Packages"]
    assert all(re.fullmatch("EP-[A-Z0-9]{3}-[A-Z0-9]{3}-[A-Z0-9]{3}", item["Reference"]) for item in packages)
    assert packages[0]["Reference"] != packages[1]["Reference"]


async def test_a_created_consignment_is_shown_as_it_was_given(caller: Caller) -> None:
    metadata = [{"KeyValue": "Colour", "StringValue": "red"}]
    members = {
        "ConsignmentReferenceProvidedByCustomer": "mine",
        "Source": "Web",
        "Direction": "Inbound",
        "Tags": ["Alcohol"],
        "MetaData": metadata,
        "ShippingDate": "2026-04-01T12:00:00+01:00",
        "RequiredDeliveryDate": {"Date": "2026-04-09T00:00:00Z", "IsToBeExactlyOnTheDateSpecified": False},
        "CustomsDocumentation": {"DesignatedPersonResponsible": "Ada"},
    }
    reference = await create(caller, **members)
    response = await caller.call("GET", f"/consignments/{reference}")
    document = response.json()
    assert {name: document[name] for name in ("Source", "Direction", "Tags", "MetaData", "CustomsDocumentation")} == {
        name: members[name] for name in ("Source", "Direction", "Tags", "MetaData", "CustomsDocumentation")
    }
    assert document["ConsignmentReferenceProvidedByCustomer"] == "mine"
    assert document["RequestedDeliveryDate"] == members["RequiredDeliveryDate"]
    assert document["ShippingDate"].startswith("2026-04-01")
    assert b'"Weight":{"Value":2.00000,"Unit":"Kg"}' in response.content
    assert b'"Width":10.00000,"Length":20.00000,"Height":30.00000' in response.content
    assert b'"Value":{"Amount":12.5000,' in response.content
    assert document["Addresses"][0]["Town"] == "Manchester"


async def test_every_reading_shows_the_same_but_for_metadata(caller: Caller) -> None:
    reference = await create(caller, MetaData=[{"KeyValue": "a"}])
    whole = await caller.read(f"/consignments/{reference}")
    assert await caller.read(f"/consignments/getconsignmentwithmetadata/{reference}") == whole
    assert await caller.read(f"/consignments/getconsignmentonly/{reference}") == {**whole, "MetaData": []}
    assert whole["MetaData"] == [{"KeyValue": "a"}]


async def test_the_status_of_a_consignment(caller: Caller) -> None:
    expected = {
        "ConsignmentReferenceForAllLegsAssignedByMpd": PLAIN[0],
        "Status": "Unallocated",
        "ExpectedDeliveryDate": None,
        "ApiLink": {"Rel": "Link", "Href": f"https://api.electioapp.com/consignments/{PLAIN[0]}"},
    }
    assert await caller.read(f"/consignments/{PLAIN[0]}/status") == expected
    await caller.put(cheapest(PLAIN[0]))
    booked = await caller.read(f"/consignments/{PLAIN[0]}/status")
    assert (booked["Status"], booked["ExpectedDeliveryDate"]) == ("Allocated", "2026-03-06T18:00:00.0000000+00:00")


@pytest.mark.parametrize(
    "path",
    [
        f"/consignments/{UNKNOWN}",
        f"/consignments/{UNKNOWN}/status",
        f"/consignments/getconsignmentonly/{UNKNOWN}",
        f"/consignments/getconsignmentwithmetadata/{UNKNOWN}",
        f"/labels/{UNKNOWN}",
    ],
)
async def test_reading_what_does_not_exist_is_404(caller: Caller, path: str) -> None:
    response = await caller.call("GET", path)
    error = response.json()
    assert (response.status_code, error["Code"], error["Message"]) == (
        404,
        "ConsignmentNotFoundException",
        f"Item {UNKNOWN} not found",
    )
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", error["CorrelationId"])


NOWHERE = {**address("Origin"), "ShippingLocationReference": "Nowhere"}


@pytest.mark.parametrize(
    ("members", "target"),
    [
        ({"Packages": []}, "Packages"),
        ({"Packages": None}, None),
        ({"Packages": [{"Description": "x"}]}, "Packages[0]"),
        ({"Packages": [package(-1)]}, "Packages[0].Weight"),
        ({"Packages": [package(10**10)]}, "Packages[0].Weight"),
        ({"Packages": [{**package(), "Weight": "heavy"}]}, "Packages[0].Weight"),
        ({"Packages": [{**package(), "Weight": {"Value": "NaN"}}]}, "Packages[0].Weight"),
        ({"Addresses": [address("Origin")]}, "Addresses"),
        ({"Addresses": [address("Origin"), address("Destination")]}, "Addresses"),
        ({"Addresses": [NOWHERE, address("Destination")]}, "Addresses"),
        ({"Direction": "Sideways"}, "Direction"),
        ({"ShippingDate": "tomorrow"}, "ShippingDate"),
        ({"ShippingDate": "9999-12-31"}, "ShippingDate"),
        ({"RequiredDeliveryDate": {"Date": "0001-01-01"}}, "RequiredDeliveryDate.Date"),
    ],
)
async def test_a_consignment_that_is_not_well_formed_is_refused(
    caller: Caller, members: dict[str, Any], target: str | None
) -> None:
    response = await caller.call("POST", "/consignments", request(**members))
    error = response.json()
    assert (response.status_code, error["Code"]) == (400, "ValidationException")
    assert [detail["Target"] for detail in error["Details"]] == [target]


async def test_a_package_may_be_given_by_a_sizes_reference_alone(caller: Caller) -> None:
    reference = await create(caller, Packages=[{"PackageSizeReference": "small"}])
    assert (await caller.put(cheapest(reference))).status_code == 200


@pytest.mark.parametrize("state", states.NUMBERS)
async def test_what_can_be_deallocated(caller: Caller, state: str) -> None:
    reference = in_state(state)
    response = await caller.put(f"/consignments/{reference}/deallocate")
    document = await caller.consignment(reference)
    if state in {"Allocated", "Manifested", "ManifestFailed"}:
        assert (response.status_code, response.content) == (200, b"")
        assert "content-type" not in response.headers
        assert (document["ConsignmentState"], document["Allocation"]) == ("Unallocated", None)
        assert (await caller.journal(reference))["deallocations"] == 1
    else:
        assert (response.status_code, response.json()["Code"]) == (400, "ConsignmentInvalidStateException")
        assert document["ConsignmentState"] == state
        assert (await caller.journal(reference))["deallocations"] == 0


@pytest.mark.parametrize("state", states.NUMBERS)
async def test_what_can_be_cancelled(caller: Caller, state: str) -> None:
    reference = in_state(state)
    response = await caller.put(f"/consignments/{reference}/cancel")
    if state in NO_CANCELLING:
        assert (response.status_code, await caller.state(reference)) == (400, state)
    else:
        assert (response.status_code, response.content) == (200, b"")
        assert await caller.state(reference) == "Cancelled"


@pytest.mark.parametrize("state", states.NUMBERS)
async def test_what_can_be_manifested_and_made_ready(caller: Caller, state: str) -> None:
    reference = in_state(state)
    await caller.put("/consignments/setreadytoship", [reference])
    assert await caller.state(reference) == ("ReadyToShip" if state == "Allocated" else state)
    await caller.put("/consignments/setnotreadytoship", [reference])
    assert await caller.state(reference) == ("Allocated" if state == "ReadyToShip" else state)
    await caller.put("/consignments/manifest", {"ConsignmentReferences": [reference]})
    manifestable = {"Allocated", "ReadyToShip", "ManifestFailed"}
    assert await caller.state(reference) == ("Manifested" if state in manifestable else state)


@pytest.mark.parametrize("operation", ["deallocate", "cancel"])
async def test_changing_what_does_not_exist_is_404(caller: Caller, operation: str) -> None:
    assert (await caller.put(f"/consignments/{UNKNOWN}/{operation}")).status_code == 404


ALLOCATED = in_state("Allocated")


@pytest.mark.parametrize(
    ("path", "wrapped", "message", "rel"),
    [
        ("deallocatelist", False, "Consignment deallocation completed successfully", None),
        ("cancellist", False, "Consignment cancellation completed successfully", None),
        ("setreadytoship", False, "Consignment marked as Ready To Ship completed successfully", "detail"),
        ("manifest", True, f"Consignment {ALLOCATED} has been manifested successfully.", "Link"),
    ],
)
async def test_bulk_changes_answer_each_reference_in_order(
    caller: Caller, path: str, wrapped: bool, message: str, rel: str | None
) -> None:
    delivered = in_state("Delivered")
    references = [delivered, ALLOCATED, UNKNOWN]
    body = {"ConsignmentReferences": references} if wrapped else references
    response = await caller.put(f"/consignments/{path}", body)
    assert response.status_code == 200
    refused, done, unknown = response.json()
    href = f"https://api.electioapp.com/consignments/{ALLOCATED}"
    links = None if rel is None else [{"Rel": rel, "Href": href}]
    assert done == {"IsSuccess": True, "Message": message, "Data": ALLOCATED, "ApiLinks": links}
    assert (refused["IsSuccess"], refused["Data"]) == (False, delivered)
    assert refused["Message"].endswith("in state Delivered")
    assert unknown == {"IsSuccess": False, "Message": f"Item {UNKNOWN} not found", "Data": UNKNOWN, "ApiLinks": None}
