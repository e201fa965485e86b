"""Every way to allocate, one consignment or many, and what it leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from allocation_gateway.sandbox.consignments import states
from allocation_gateway.sandbox.consignments.seed import (
    ABROAD,
    EXPIRED_QUOTE,
    EXPIRED_QUOTED,
    QUOTE,
    QUOTED,
    in_state,
    numbered,
)
from sandbox_consignments.calling import (
    PLAIN,
    UNKNOWN,
    Caller,
    cheapest,
    create,
    many,
    named,
    with_group,
    with_quote,
)

pytestmark = pytest.mark.asyncio

BY_SERVICE = "/allocation/allocatewithcarrierservice"
BY_GROUP = "/allocation/allocatewithservicegroup"
BY_FILTERS = "/allocation/allocateConsignmentsWithServiceFilters"


@pytest.mark.parametrize(
    ("path", "members", "service"),
    [
        ("/allocation/allocate", {}, "MPD_RMDTPS48HNAUT"),
        (BY_SERVICE, {"MpdCarrierServiceReference": "CX_NDS"}, "CX_NDS"),
        (BY_GROUP, {"MpdCarrierServiceGroupReference": "valuableGoods"}, "EDC5_UPSHSTDCS"),
        (BY_FILTERS, {"Filters": {"ServiceDirection": "Outbound", "IsPickup": False}}, "MPD_RMDTPS48HNAUT"),
    ],
)
async def test_every_bulk_form_books_each_consignment_once(
    caller: Caller, path: str, members: dict[str, Any], service: str
) -> None:
    response = await caller.put(path, many(*PLAIN, **members))
    assert response.status_code == 200
    assert [(item["StatusCode"], item["CarrierServiceReference"]) for item in response.json()] == [(200, service)] * 3
    assert named(response.json()) == list(PLAIN)
    for reference in PLAIN:
        assert await caller.state(reference) == "Allocated"
        assert await caller.bookings(reference) == 1


async def test_a_bulk_group_is_named_on_the_consignment(caller: Caller) -> None:
    await caller.put(BY_GROUP, many(PLAIN[0], MpdCarrierServiceGroupReference="SGREF01"))
    allocation = (await caller.consignment(PLAIN[0]))["Allocation"]
    assert allocation["CarrierServiceGroupReference"] == "SGREF01"
    assert allocation["MpdCarrierServiceGroupName"] == "Service Group 1"


async def test_a_consignment_of_several_carriers_has_a_leg_for_each(caller: Caller) -> None:
    response = await caller.put(BY_SERVICE, many(ABROAD, MpdCarrierServiceReference="SBX_TWO_LEGS"))
    legs = response.json()[0]["ConsignmentLegs"]
    assert [(leg["Leg"], leg["CarrierReference"]) for leg in legs] == [(1, "SBX_CARRIER"), (2, "SBX_LAST_MILE")]
    assert legs[0]["TrackingReferences"] != legs[1]["TrackingReferences"]
    assert (await caller.consignment(ABROAD))["Packages"][0]["ConsignmentLegs"] == legs


async def test_what_cannot_be_booked_stands_among_what_can(caller: Caller) -> None:
    response = await caller.put("/allocation/allocate", many(PLAIN[0], "EC-SBX-BAD-001", UNKNOWN, PLAIN[1], PLAIN[0]))
    assert response.status_code == 200
    items = response.json()
    assert [item["StatusCode"] for item in items] == [200, 400, 400, 200, 400]
    assert named(items) == [PLAIN[0], "EC-SBX-BAD-001", UNKNOWN, PLAIN[1], PLAIN[0]]
    assert items[1]["Description"] == (
        "Consignment EC-SBX-BAD-001 could not be allocated. No carrier service is available for the consignment."
    )
    assert items[2]["Description"] == f"Item {UNKNOWN} not found"
    assert items[4]["Description"] == f"Consignment {PLAIN[0]} cannot be allocated in state Allocated"
    assert items[1]["CarrierServiceReference"] is None
    assert await caller.bookings(PLAIN[0]) == 1


async def test_a_named_service_that_cannot_take_it_fails_with_its_reason(caller: Caller) -> None:
    response = await caller.put(BY_SERVICE, many(ABROAD, MpdCarrierServiceReference="CX_NDS"))
    assert [item["StatusCode"] for item in response.json()] == [400]
    failed = (await caller.consignment(ABROAD))["FailedAllocation"]
    assert failed["MpdCarrierServiceReference"] == "CX_NDS"
    assert failed["MpdCarrierServiceName"] == "Carrier X Next Day Super"
    assert failed["Message"] == "This service is not available between the selected addresses."


async def test_a_refusing_courier_fails_the_allocation_with_the_published_text(caller: Caller) -> None:
    response = await caller.put(with_group(PLAIN[0], "SBX_REFUSED"))
    assert response.status_code == 400
    failed = (await caller.consignment(PLAIN[0]))["FailedAllocation"]
    assert (failed["Message"], failed["CarrierServiceGroupReference"], failed["MpdCarrierServiceReference"]) == (
        "Could not be booked with courier.",
        "SBX_REFUSED",
        "SBX_REFUSING",
    )
    assert await caller.bookings(PLAIN[0]) == 0


async def test_a_failed_allocation_can_be_tried_again_and_leaves_nothing_behind(caller: Caller) -> None:
    await caller.put(with_group(PLAIN[0], "SBX_EMPTY"))
    assert await caller.state(PLAIN[0]) == "AllocationFailed"
    assert (await caller.put(cheapest(PLAIN[0]))).status_code == 200
    document = await caller.consignment(PLAIN[0])
    assert (document["ConsignmentState"], document["FailedAllocation"]) == ("Allocated", None)


@pytest.mark.parametrize("state", states.NUMBERS)
async def test_only_two_states_can_be_allocated(caller: Caller, state: str) -> None:
    reference = in_state(state)
    assert await caller.state(reference) == state
    response = await caller.put(cheapest(reference))
    if state in {"Unallocated", "AllocationFailed"}:
        assert response.status_code == 200
        assert await caller.state(reference) == "Allocated"
    else:
        assert (response.status_code, response.json()["Code"]) == (400, "ConsignmentInvalidStateException")
        assert await caller.state(reference) == state
        assert await caller.bookings(reference) == 0


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        (cheapest(UNKNOWN), 400, "ConsignmentNotFoundException", f"Item {UNKNOWN} not found"),
        (
            with_group(PLAIN[0], "nowhere"),
            400,
            "CarrierServiceGroupNotFoundForCustomerException",
            "Specified carrier service group (nowhere) is not among Customer (7253e421-9117-41b5-ae3c-a61a30fd75c9) "
            "Carrier Service Groups",
        ),
        (with_quote(PLAIN[0], QUOTE), 400, "QuoteNotForConsignmentException", None),
        (with_quote(EXPIRED_QUOTED, EXPIRED_QUOTE), 400, "QuoteExpiredException", None),
        (
            with_quote(PLAIN[0], "112236d5-4460-492f-a6bd-ffffffffffff"),
            400,
            "QuoteNotFoundException",
            "Item 112236d5-4460-492f-a6bd-ffffffffffff not found",
        ),
        (with_quote(PLAIN[0], "no-guid"), 400, "ValidationException", "The value 'no-guid' is not a valid GUID."),
    ],
)
async def test_what_does_not_exist_or_fit_is_an_api_error_and_changes_nothing(
    caller: Caller, path: str, status: int, code: str, message: str | None
) -> None:
    response = await caller.put(path)
    error = response.json()
    assert (response.status_code, error["Code"]) == (status, code)
    assert list(error) == ["Code", "Message", "CorrelationId", "Details"]
    assert message in {None, error["Message"]}
    assert await caller.state(PLAIN[0]) == "Unallocated"


@pytest.mark.parametrize(
    ("path", "members", "code"),
    [
        (BY_SERVICE, {"MpdCarrierServiceReference": "NONE"}, "MpdCarrierServiceNotFoundException"),
        (BY_GROUP, {"MpdCarrierServiceGroupReference": "x"}, "CarrierServiceGroupNotFoundForCustomerException"),
    ],
)
async def test_a_bulk_call_with_nothing_to_allocate_with_is_refused_whole(
    caller: Caller, path: str, members: dict[str, str], code: str
) -> None:
    response = await caller.put(path, many(*PLAIN, **members))
    assert (response.status_code, response.json()["Code"]) == (400, code)
    assert await caller.state(PLAIN[0]) == "Unallocated"


async def test_a_quote_is_found_in_any_spelling_of_its_guid(caller: Caller) -> None:
    assert (await caller.put(with_quote(QUOTED, QUOTE.upper()))).status_code == 200


async def test_a_quote_fixes_the_price(caller: Caller) -> None:
    result = await caller.read(f"/quotes/consignment/{PLAIN[0]}")
    offered = next(item for item in result["Quotes"] if item["MpdCarrierServiceReference"] == "CX_NDS")
    await caller.world(services={"CX_NDS": {"net": 77}})
    await caller.put(with_quote(PLAIN[0], offered["QuoteReference"]))
    assert (await caller.consignment(PLAIN[0]))["Allocation"]["Price"]["Net"] == 5.99


async def test_a_quote_whose_service_is_gone_fails_the_allocation(caller: Caller) -> None:
    await caller.world(services={"EDC5_UPSHSTDCS": {"enabled": False}})
    assert (await caller.put(with_quote(QUOTED, QUOTE))).json()["Code"] == "AllocationFailedException"
    assert await caller.state(QUOTED) == "AllocationFailed"


async def test_a_group_code_is_percent_decoded_exactly_once_and_may_hold_slashes(caller: Caller) -> None:
    code = quote("Größe / 50% & mehr", safe="")
    assert (await caller.put(with_group(PLAIN[0], code))).status_code == 200
    assert (await caller.put(with_group(PLAIN[1], quote(code, safe="")))).status_code == 400


async def test_a_changed_group_changes_the_winner(caller: Caller) -> None:
    await caller.world(groups={"valuableGoods": {"services": ["SBX_TWO_LEGS"]}})
    response = await caller.put(with_group(PLAIN[0], "valuableGoods"))
    assert response.json()[0]["CarrierServiceReference"] == "SBX_TWO_LEGS"


async def test_many_at_once_book_each_consignment_once(start: Any) -> None:
    async with start(shipments=60) as caller:
        references = [numbered(number) for number in range(1, 61)]
        # Each batch overlaps with the next one by half.
        bodies = [many(*references[index : index + 20]) for index in range(0, 50, 10)]
        await asyncio.gather(*(caller.put("/allocation/allocate", body) for body in bodies))
        assert {await caller.bookings(reference) for reference in references} == {1}


async def test_created_consignments_are_allocated_like_any_other(caller: Caller) -> None:
    reference = await create(caller)
    assert named((await caller.put(cheapest(reference))).json()) == [reference]
