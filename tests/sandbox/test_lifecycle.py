"""Creating, reading, deallocating and cancelling shipments, and changing their states by hand."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox.calling import CANCELLED, ON_DEMAND, UNKNOWN, Caller, codes, properties
from sandbox.shipping import address, content, create, request

pytestmark = pytest.mark.asyncio


async def change_state(caller: Caller, reference: str, state: str, reason: str = "because of a test") -> Any:
    return await caller.put("/shipments/state", {"reference": reference, "state": state, "reason": reason})


async def test_a_created_shipment_can_be_read_and_allocated(caller: Caller) -> None:
    response = await caller.ship("POST", "/shipments", request(custom_reference="order 7", tags=["fragile"]))
    document = response.json()
    reference = document["reference"]
    assert response.status_code == 201
    assert document["message"] == f"Shipment {reference} created successfully"
    assert document["custom_reference"] == "order 7"
    shipment = await caller.shipment(reference)
    assert (shipment["state"], shipment["tags"], shipment["direction"]) == ("unallocated", ["fragile"], "outbound")
    allocated = (await caller.put(f"/shipments/{reference}/allocate")).json()
    assert allocated["carrier"]["service_reference"] == "FF_DPD_Next_Day_103386"


async def test_an_unallocated_shipment_reads_like_the_live_sample(caller: Caller) -> None:
    shipment = await caller.shipment(await create(caller))
    assert "allocation" not in shipment
    assert shipment["shipping_date"] == {"has_value": False}
    assert shipment["paperless_documents"] == []
    assert [link["rel"] for link in shipment["_links"]] == ["shipment"]
    assert shipment["addresses"][0]["address_type"] == "Origin"
    assert shipment["contents"][0]["weight"]["unit"] == "Kg"


async def test_an_allocated_shipment_shows_its_booking(caller: Caller) -> None:
    result = (await caller.put(f"/shipments/{ON_DEMAND}/allocate")).json()
    allocation = (await caller.shipment(ON_DEMAND))["allocation"]
    assert allocation["carrier"] == result["carrier"]
    assert allocation["price"] == result["price"]
    assert allocation["tracking_details"] == result["tracking_details"]
    assert allocation["allocation_date"] == "2026-03-04T10:00:00.000000+00:00"


async def test_both_shipment_types_may_be_given(caller: Caller) -> None:
    reference = await create(caller, shipment_type="scheduled,on_demand")
    allocated = (await caller.put(f"/shipments/{reference}/allocate/service/FF_LINET-00001")).json()
    assert allocated["state"] == "allocated"


async def test_weights_in_pounds_and_several_contents_count_together(caller: Caller) -> None:
    heavy = content(weight={"value": 34, "unit": "lb"}, quantity=2)
    reference = await create(caller, contents=[heavy])
    document = (await caller.put(f"/shipments/{reference}/allocate/service_group/exampleSG123")).json()
    assert document["excluded_services"][0]["exclusion"]["code"] == "ex_weight"


async def test_dangerous_goods_are_read_from_the_contents(caller: Caller) -> None:
    goods = content(dangerous_goods={"hazard_classes": [{"code": "8"}]})
    reference = await create(caller, contents=[goods])
    document = (await caller.put(f"/shipments/{reference}/allocate")).json()
    assert document["carrier"]["service_reference"] == "SBX_HAZ_ROAD"


async def test_references_made_at_run_time_are_never_made_twice(caller: Caller) -> None:
    first = await create(caller)
    await caller.control("POST", "reset")
    assert await create(caller) != first


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"shipment_type": None}, "required_property_missing", "shipment_type"),
    ({"shipment_type": "teleport"}, "invalid_shipment_type", "shipment_type"),
    ({"direction": "sideways"}, "invalid_direction", "direction"),
    ({"custom_reference": "x" * 51}, "value_too_long", "custom_reference"),
    ({"tags": [str(tag) for tag in range(11)]}, "too_many_elements", "tags"),
    ({"tags": ["x" * 51]}, "value_too_long", "tags[0]"),
    ({"tags": ["a", "a"]}, "duplicate_tags", "tags[1]"),
    ({"metadata": [{}] * 11}, "too_many_elements", "metadata"),
    ({"contents": None}, "required_property_missing", "contents"),
    ({"contents": []}, "too_few_elements", "contents"),
    ({"contents": ["x"]}, "invalid_format", "contents[0]"),
    ({"contents": [content(value=None)]}, "required_property_missing", "contents[0].value"),
    ({"contents": [content(weight=None)]}, "required_property_missing", "contents[0].weight"),
    ({"contents": [content(weight={"value": 1, "unit": "st"})]}, "invalid_weight_unit", "contents[0].weight.unit"),
    ({"contents": [content(weight={"value": -1, "unit": "kg"})]}, "value_too_small", "contents[0].weight.value"),
    ({"contents": [content(weight={"value": 1e10, "unit": "kg"})]}, "value_too_large", "contents[0].weight.value"),
    ({"contents": [content(weight={"value": "1", "unit": "kg"})]}, "invalid_format", "contents[0].weight.value"),
    (
        {"contents": [content(dimensions={"unit": "cm", "length": 1, "width": 1})]},
        "required_property_missing",
        "contents[0].dimensions.height",
    ),
    (
        {"contents": [content(value={"amount": 1, "currency": "pounds"})]},
        "invalid_currency",
        "contents[0].value.currency",
    ),
    ({"contents": [content(quantity=0)]}, "invalid_value", "contents[0].quantity"),
    ({"contents": [content(description="x" * 101)]}, "value_too_long", "contents[0].description"),
    ({"contents": [content(), content(weight={"value": 1, "unit": "lb"})]}, "unit_mismatch", "contents"),
    (
        {"contents": [content(contents=[content(contents=[content()])])]},
        "too_many_elements",
        "contents[0].contents[0].contents",
    ),
    ({"addresses": None}, "required_property_missing", "addresses"),
    ({"addresses": [address("origin"), "there"]}, "invalid_format", "addresses[1]"),
    ({"addresses": [address("origin"), address("return"), address("sender")]}, "address_type_required", "addresses"),
    (
        {"addresses": [address("origin"), address("destination"), address("origin")]},
        "duplicate_address_type",
        "addresses[2].address_type",
    ),
    (
        {"addresses": [address("origin"), address("destination"), address("pub")]},
        "invalid_address_type",
        "addresses[2].address_type",
    ),
    (
        {"addresses": [address("origin"), address("destination", "England")]},
        "invalid_country_code",
        "addresses[1].country_iso_code",
    ),
    (
        {"required_delivery_date": {"start": "2026-03-05T00:00:00Z", "end": "2026-03-04T00:00:00Z"}},
        "invalid_date_range",
        "required_delivery_date",
    ),
    ({"required_shipping_date": {"start": "tomorrow"}}, "invalid_format", "required_shipping_date.start"),
]


@pytest.mark.parametrize(("members", "code", "path"), CASES, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_wrong_shipment_is_not_created(caller: Caller, members: dict[str, Any], code: str, path: str) -> None:
    response = await caller.ship("POST", "/shipments", request(**members))
    assert response.status_code == 400
    assert (code, path) in list(zip(codes(response), properties(response), strict=True))


async def test_the_documented_sample_of_a_wrong_email_names_its_path(caller: Caller) -> None:
    wrong = address("destination")
    wrong["contact"]["contact_details"]["email"] = "test@something"
    response = await caller.ship("POST", "/shipments", request(addresses=[wrong, address("origin")]))
    assert response.json()["details"] == [
        {
            "property": "addresses[0].contact.contact_details.email",
            "code": "invalid_email",
            "message": "'test@something' is not a valid email address",
        }
    ]


async def test_a_shipping_location_needs_no_address(caller: Caller) -> None:
    origin = {"address_type": "origin", "shipping_location_reference": "LOC_1"}
    assert await create(caller, addresses=[origin, address("destination")])


async def test_deallocating_makes_a_shipment_unallocated_again(caller: Caller) -> None:
    await caller.put(f"/shipments/{ON_DEMAND}/allocate")
    response = await caller.ship("DELETE", f"/shipments/{ON_DEMAND}/allocation")
    assert (response.status_code, response.json()["reference"]) == (200, ON_DEMAND)
    shipment = await caller.shipment(ON_DEMAND)
    assert shipment["state"] == "unallocated"
    assert "allocation" not in shipment
    assert (await caller.journal(ON_DEMAND))["deallocations"] == 1


async def test_only_an_allocated_shipment_can_be_deallocated(caller: Caller) -> None:
    response = await caller.ship("DELETE", f"/shipments/{ON_DEMAND}/allocation")
    assert (response.status_code, codes(response)) == (400, ["invalid_state_for_operation"])
    missing = await caller.ship("DELETE", f"/shipments/{UNKNOWN}/allocation")
    assert (missing.status_code, codes(missing)) == (404, ["shipment_not_found"])


async def test_a_cancelled_shipment_is_done_with(caller: Caller) -> None:
    response = await caller.put(f"/shipments/{ON_DEMAND}/cancel")
    assert response.json()["message"] == f"Shipment {ON_DEMAND} has been cancelled"
    assert await caller.state(ON_DEMAND) == "cancelled"
    assert (await caller.put(f"/shipments/{ON_DEMAND}/cancel")).status_code == 409
    assert (await caller.put(f"/shipments/{ON_DEMAND}/allocate")).status_code == 521
    assert (await change_state(caller, ON_DEMAND, "delivered")).status_code == 400


async def test_a_manifested_shipment_cannot_be_cancelled(caller: Caller) -> None:
    await caller.put(f"/shipments/{ON_DEMAND}/allocate")
    await change_state(caller, ON_DEMAND, "manifested")
    assert (await caller.put(f"/shipments/{ON_DEMAND}/cancel")).status_code == 409


async def test_a_state_can_be_set_by_hand_and_the_journal_knows(caller: Caller) -> None:
    response = await change_state(caller, ON_DEMAND, "in_transit")
    assert response.json()["message"] == f"Shipment {ON_DEMAND} has changed state to in_transit"
    event = (await caller.journal(ON_DEMAND))["events"][0]
    assert (event["effect"], event["before"], event["after"]) == ("state_changed", "unallocated", "in_transit")


async def test_setting_the_present_state_answers_304_without_a_body(caller: Caller) -> None:
    response = await change_state(caller, CANCELLED, "cancelled")
    assert (response.status_code, response.content) == (304, b"")
    assert "content-type" not in response.headers


@pytest.mark.parametrize(
    ("state", "reason", "code", "path"),
    [
        ("allocating", "because", "system_shipment_state", "state"),
        ("manifesting", "because", "system_shipment_state", "state"),
        ("cancelling", "because", "system_shipment_state", "state"),
        ("allocated", "because", "invalid_state_for_operation", None),
        ("teleported", "because", "invalid_shipment_state", "state"),
        ("delivered", "why?", "value_too_short", "reason"),
        ("delivered", "x" * 101, "value_too_long", "reason"),
    ],
)
async def test_a_wrong_change_of_state_is_refused(
    caller: Caller, state: str, reason: str, code: str, path: str | None
) -> None:
    response = await change_state(caller, ON_DEMAND, state, reason)
    assert (response.status_code, codes(response), properties(response)) == (400, [code], [path])
    assert await caller.state(ON_DEMAND) == "unallocated"


async def test_a_shipment_that_is_allocating_is_locked(lazy: Caller) -> None:
    await lazy.put("/shipments/allocate", {"shipments": [ON_DEMAND]})
    assert codes(await change_state(lazy, ON_DEMAND, "delivered")) == ["invalid_state_for_operation"]


async def test_a_booking_cannot_be_undone_by_changing_the_state(caller: Caller) -> None:
    await caller.put(f"/shipments/{ON_DEMAND}/allocate")
    response = await change_state(caller, ON_DEMAND, "unallocated")
    assert codes(response) == ["invalid_state_for_operation"]
