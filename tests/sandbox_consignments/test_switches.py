"""Every switch changes what it says, and nothing that a client could rely on otherwise."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from allocation_gateway.sandbox.consignments.seed import EXPIRED_QUOTE, EXPIRED_QUOTED, QUOTE, WITH_RETURN, in_state
from allocation_gateway.sandbox.consignments.selection import WithGroup
from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
from allocation_gateway.sandbox.journal import Arrival
from sandbox.calling import NOW
from sandbox_consignments.calling import (
    PLAIN,
    UNKNOWN,
    Caller,
    cheapest,
    create,
    many,
    named,
    request,
    with_group,
    with_quote,
)

pytestmark = pytest.mark.asyncio

BULK = "/allocation/allocate"
BAD = "EC-SBX-BAD-001"
GONE = in_state("Cancelled")


async def test_the_first_value_of_each_switch_is_its_default() -> None:
    hints = get_type_hints(ConsignmentsSwitches)
    for name, kind in hints.items():
        values = get_args(kind)
        if values:
            assert getattr(ConsignmentsSwitches(), name) == values[0]


async def test_switches_merge_are_shown_and_are_put_back_by_a_reset(caller: Caller) -> None:
    defaults = (await caller.control("GET", "switches"))["consignments"]
    await caller.switch(guard=False)
    await caller.switch(nulls="omitted")
    changed = (await caller.control("GET", "switches"))["consignments"]
    assert changed == {**defaults, "guard": False, "nulls": "omitted"}
    await caller.control("POST", "reset?keep=switches")
    assert (await caller.control("GET", "switches"))["consignments"] == changed
    await caller.control("POST", "reset")
    assert (await caller.control("GET", "switches"))["consignments"] == defaults


@pytest.mark.parametrize("changes", [{"guards": False}, {"single_answer": "list"}, {"batch_limit": -1}])
async def test_an_unknown_switch_or_value_is_refused(caller: Caller, changes: dict[str, Any]) -> None:
    response = await caller.control_response("PUT", "switches", {"consignments": changes})
    assert (response.status_code, list(response.json())) == (400, ["error"])


# Allocating, one or many.


@pytest.mark.parametrize(("kind", "empty"), [("accepted", False), ("accepted_empty", True)])
async def test_accepted_is_done_at_once(caller: Caller, kind: str, empty: bool) -> None:
    await caller.switch(allocate_answer=kind)
    single, bulk = await caller.put(cheapest(PLAIN[0])), await caller.put(BULK, many(PLAIN[1]))
    for response in (single, bulk):
        assert response.status_code == 202
        if empty:
            assert response.content == b""
        else:
            assert response.json()[0]["StatusCode"] == 200
    assert [await caller.state(reference) for reference in PLAIN[:2]] == ["Allocated"] * 2


async def test_deferred_leaves_the_allocation_to_the_worker(caller: Caller) -> None:
    await caller.switch(allocate_answer="deferred")
    response = await caller.put(BULK, many(PLAIN[0], BAD))
    assert response.status_code == 202
    assert [(item["StatusCode"], item["CarrierReference"]) for item in response.json()] == [(202, None)] * 2
    assert named(response.json()) == [PLAIN[0], BAD]
    assert await caller.settled(PLAIN[0]) == "Allocated"
    assert await caller.settled(BAD) == "AllocationFailed"
    effects = [event["effect"] for event in (await caller.journal(PLAIN[0]))["events"]]
    assert effects == ["allocating", "allocated"]


async def test_until_the_worker_comes_a_deferred_consignment_is_allocating_and_locked(lazy: Caller) -> None:
    await lazy.switch(allocate_answer="deferred_empty")
    response = await lazy.put(cheapest(PLAIN[0]))
    assert (response.status_code, response.content) == (202, b"")
    assert (await lazy.read(f"/consignments/{PLAIN[0]}/status"))["Status"] == "Allocating"
    assert (await lazy.put(cheapest(PLAIN[0]))).json()["Code"] == "ConsignmentInvalidStateException"
    bulk = await lazy.put(BULK, many(PLAIN[1]))
    assert (bulk.status_code, bulk.content) == (202, b"")


@pytest.mark.parametrize(("guard", "bookings"), [(True, 1), (False, 2)])
async def test_deferred_work_that_another_request_did_meanwhile(lazy: Caller, guard: bool, bookings: int) -> None:
    await lazy.switch(allocate_answer="deferred")
    await lazy.put(cheapest(PLAIN[0]))
    await lazy.switch(allocate_answer=200, guard=False)
    await lazy.put(cheapest(PLAIN[0]))
    await lazy.switch(guard=guard)
    api = lazy.sandbox.consignments
    api.engine.process(api._worker._jobs[0][1])
    assert await lazy.bookings(PLAIN[0]) == bookings


async def test_deferred_work_whose_group_is_gone_meanwhile_fails(caller: Caller) -> None:
    caller.sandbox.consignments.engine.queue(PLAIN[0], WithGroup("SGREF01"), Arrival(1, NOW, "test"))
    caller.sandbox.consignments.change_catalogue({"groups": {"SGREF01": None}})
    assert await caller.settled(PLAIN[0]) == "AllocationFailed"
    message = (await caller.consignment(PLAIN[0]))["FailedAllocation"]["Message"]
    assert message.startswith("Specified carrier service group (SGREF01) is not among Customer")


async def test_deferred_work_is_forgotten_by_a_reset_of_the_consignment(caller: Caller) -> None:
    await caller.switch(allocate_answer="deferred")
    caller.sandbox.consignments._worker._delay = 0.2
    await caller.put(BULK, many(PLAIN[0]))
    await caller.control("POST", f"reset?reference={PLAIN[0]}")
    await caller.put(BULK, many(PLAIN[1]))
    assert await caller.settled(PLAIN[1]) == "Allocated"
    assert await caller.state(PLAIN[0]) == "Unallocated"


async def test_a_single_answer_may_be_a_bare_object(caller: Caller) -> None:
    await caller.switch(single_answer="object")
    response = await caller.put(cheapest(PLAIN[0]))
    assert named([response.json()]) == [PLAIN[0]]
    assert isinstance((await caller.put(BULK, many(PLAIN[1]))).json(), list)


async def test_a_single_failure_may_be_an_item(caller: Caller) -> None:
    await caller.switch(single_failure="item")
    response = await caller.put(cheapest(BAD))
    assert (response.status_code, response.json()[0]["StatusCode"], named(response.json())) == (200, 400, [BAD])
    labels = await caller.put(f"/allocation/{BAD}/labels/PDF")
    (result,) = labels.json()["Responses"]
    assert (labels.status_code, result["StatusCode"], result["Result"]) == (200, 400, "ConsignmentAllocationFailed")
    # What was not even tried is an error all the same.
    assert (await caller.put(cheapest(UNKNOWN))).status_code == 400


@pytest.mark.parametrize(("answer", "body"), [("array", []), ("object", None)])
async def test_an_omitted_single_failure_leaves_nothing(caller: Caller, answer: str, body: Any) -> None:
    await caller.switch(single_failure="item", bulk_failures="omitted", single_answer=answer)
    response = await caller.put(cheapest(BAD))
    assert (response.status_code, response.json() if response.content else None) == (200, body)


async def test_the_older_shape_of_a_summary(caller: Caller) -> None:
    await caller.switch(summary="with_message")
    done, failed = (await caller.put(BULK, many(PLAIN[0], UNKNOWN))).json()
    assert list(done) == ["IsSuccess", "Message", "Data", "ApiLinks"]
    assert (done["IsSuccess"], done["Data"], named([done])) == (True, PLAIN[0], [PLAIN[0]])
    assert done["Message"].startswith(f"Consignment {PLAIN[0]} has been successfully allocated with ")
    assert failed == {"IsSuccess": False, "Message": f"Item {UNKNOWN} not found", "Data": UNKNOWN, "ApiLinks": None}


async def test_without_the_guard_a_double_booking_can_happen_and_be_seen(caller: Caller) -> None:
    await caller.switch(guard=False)
    for _ in range(2):
        assert (await caller.put(cheapest(PLAIN[0]))).status_code == 200
    journal = await caller.journal(PLAIN[0])
    assert (journal["allocations"], journal["deallocations"]) == (2, 0)
    assert [event["service_reference"] for event in journal["events"]] == ["MPD_RMDTPS48HNAUT"] * 2
    assert journal["events"][0]["arrival"]["request"] == (
        "PUT /allocation/{consignmentReference}/allocatewithcheapestquote"
    )


async def test_ready_to_ship_may_be_allocated_or_deallocated(caller: Caller) -> None:
    reference = in_state("ReadyToShip")
    await caller.switch(allocate_ready_to_ship=True, deallocate_ready_to_ship=True)
    assert (await caller.put(f"/consignments/{reference}/deallocate")).status_code == 200
    await caller.control("POST", f"reset?reference={reference}")
    assert (await caller.put(cheapest(reference))).status_code == 200


# Allocating many.


async def test_failures_of_a_bulk_call_may_be_omitted(caller: Caller) -> None:
    await caller.switch(bulk_failures="omitted")
    response = await caller.put(BULK, many(PLAIN[0], BAD, UNKNOWN))
    assert (response.status_code, named(response.json())) == (200, [PLAIN[0]])


async def test_failures_of_a_bulk_call_may_have_the_older_shape(caller: Caller) -> None:
    await caller.switch(bulk_failures="with_message")
    done, failed = (await caller.put(BULK, many(PLAIN[0], BAD))).json()
    assert done["StatusCode"] == 200
    assert (failed["IsSuccess"], failed["Data"]) == (False, BAD)


@pytest.mark.parametrize(("kind", "booked"), [("refuses_call", [0, 0]), ("ends_call", [1, 0])])
async def test_one_bad_reference_may_end_the_call(caller: Caller, kind: str, booked: list[int]) -> None:
    await caller.switch(bulk_bad_reference=kind)
    response = await caller.put(BULK, many(PLAIN[0], UNKNOWN, PLAIN[1]))
    assert (response.status_code, response.json()["Code"]) == (400, "ConsignmentNotFoundException")
    assert [await caller.bookings(reference) for reference in PLAIN[:2]] == booked
    assert (await caller.put(BULK, many(PLAIN[1], PLAIN[2]))).status_code == 200


async def test_a_call_that_failed_for_all_may_be_an_error(caller: Caller) -> None:
    await caller.switch(bulk_all_failed="error")
    response = await caller.put(BULK, many(BAD, UNKNOWN))
    assert (response.status_code, response.json()["Code"]) == (400, "AllocationFailedException")
    assert (await caller.put(BULK, many(BAD, PLAIN[0]))).status_code == 200


async def test_the_order_may_be_another(caller: Caller) -> None:
    await caller.switch(bulk_order="reversed")
    assert named((await caller.put(BULK, many(*PLAIN))).json()) == list(PLAIN[::-1])
    undone = (await caller.put("/consignments/deallocatelist", list(PLAIN))).json()
    assert [item["Data"] for item in undone] == list(PLAIN[::-1])


async def test_a_batch_may_be_limited(caller: Caller) -> None:
    await caller.switch(batch_limit=2)
    response = await caller.put(BULK, many(*PLAIN))
    assert (response.status_code, response.json()["Details"][0]["Target"]) == (400, "ConsignmentReferences")
    assert (await caller.put(BULK, many(*PLAIN[:2]))).status_code == 200
    assert (await caller.put("/consignments/deallocatelist", list(PLAIN))).status_code == 400


@pytest.mark.parametrize(("kind", "statuses"), [("each", [200, 400]), ("once", [200]), ("refused", None)])
async def test_what_becomes_of_duplicates(caller: Caller, kind: str, statuses: list[int] | None) -> None:
    await caller.switch(duplicates=kind)
    response = await caller.put(BULK, many(PLAIN[0], PLAIN[0]))
    if statuses is None:
        assert (response.status_code, response.json()["Code"]) == (400, "ValidationException")
    else:
        assert [item["StatusCode"] for item in response.json()] == statuses


@pytest.mark.parametrize("body", [{}, {"ConsignmentReferences": []}])
async def test_what_becomes_of_an_empty_list(caller: Caller, body: dict[str, Any]) -> None:
    assert (await caller.put(BULK, body)).status_code == 400
    await caller.switch(empty_list="empty_answer")
    response = await caller.put(BULK, body)
    assert (response.status_code, response.json()) == (200, [])


# What tells a caller which consignment an item is about.


async def test_items_may_come_without_detail_links(caller: Caller) -> None:
    await caller.switch(detail_links="absent")
    done, failed = (await caller.put(BULK, many(PLAIN[0], BAD))).json()
    assert [link["Rel"] for link in done["ApiLinks"]] == ["label"]
    assert failed["ApiLinks"] == []
    assert f"Consignment {PLAIN[0]} has been" in done["Description"]


async def test_descriptions_may_come_without_a_reference(caller: Caller) -> None:
    await caller.switch(description="without_reference")
    items = (await caller.put(BULK, many(PLAIN[0], BAD, UNKNOWN, PLAIN[0]))).json()
    assert not any("EC-" in item["Description"] for item in items)
    assert items[0]["Description"].startswith("Consignment has been successfully allocated with Royal Mail")
    assert "EC-" not in (await caller.put("/consignments/deallocatelist", [BAD])).json()[0]["Message"]
    await caller.switch(allocate_answer="deferred")
    assert "EC-" not in (await caller.put(BULK, many(PLAIN[1]))).json()[0]["Description"]


async def test_messages_may_come_without_data(caller: Caller) -> None:
    await caller.switch(message_data="null", summary="with_message")
    assert [item["Data"] for item in (await caller.put(BULK, many(PLAIN[0], BAD))).json()] == [None, None]


# What does not exist or cannot be used.


@pytest.mark.parametrize(
    ("switch", "status", "path"),
    [
        ("unknown_consignment", 404, cheapest(UNKNOWN)),
        ("unknown_consignment", 404, f"/allocation/{UNKNOWN}/labels/PDF"),
        ("wrong_state", 404, cheapest(GONE)),
        ("wrong_state", 409, cheapest(GONE)),
        ("wrong_state", 409, f"/consignments/{GONE}/deallocate"),
        ("unknown_group", 404, with_group(PLAIN[0], "nowhere")),
        ("unknown_quote", 404, with_quote(PLAIN[0], "112236d5-4460-492f-a6bd-ffffffffffff")),
        ("unusable_quote", 404, with_quote(PLAIN[0], QUOTE)),
        ("unusable_quote", 410, with_quote(EXPIRED_QUOTED, EXPIRED_QUOTE)),
    ],
)
async def test_the_status_of_each_refusal(caller: Caller, switch: str, status: int, path: str) -> None:
    assert (await caller.put(path)).status_code == 400
    await caller.switch(**{switch: status})
    assert (await caller.put(path)).status_code == status


async def test_a_consignment_may_be_the_same_in_any_spelling(caller: Caller) -> None:
    lower = PLAIN[0].lower()
    assert (await caller.put(cheapest(lower))).status_code == 400
    await caller.switch(reference_case="any")
    assert (await caller.put(cheapest(lower))).status_code == 200
    assert (await caller.call("GET", f"/consignments/{PLAIN[0]}")).json()["ConsignmentState"] == "Allocated"
    assert (await caller.put(f"/consignments/{lower}/deallocate")).status_code == 200
    assert (await caller.call("GET", f"/consignments/{lower}")).json()["ConsignmentState"] == "Unallocated"


async def test_the_status_of_an_unknown_service(caller: Caller) -> None:
    body = many(PLAIN[0], MpdCarrierServiceReference="NONE")
    assert (await caller.put("/allocation/allocatewithcarrierservice", body)).status_code == 400
    await caller.switch(unknown_service=404)
    assert (await caller.put("/allocation/allocatewithcarrierservice", body)).status_code == 404


async def test_items_of_a_bulk_call_follow_the_same_statuses(caller: Caller) -> None:
    await caller.switch(unknown_consignment=404, wrong_state=409)
    response = await caller.put(BULK, many(UNKNOWN, GONE, BAD))
    assert [item["StatusCode"] for item in response.json()] == [404, 409, 400]


async def test_a_malformed_quote_may_be_an_unknown_one(caller: Caller) -> None:
    await caller.switch(malformed_quote="unknown", unknown_quote=404)
    response = await caller.put(with_quote(PLAIN[0], "no-guid"))
    assert (response.status_code, response.json()["Code"]) == (404, "QuoteNotFoundException")


async def test_a_quote_without_a_consignment_may_be_of_no_use(caller: Caller) -> None:
    quote = (await caller.call("POST", "/quotes", request())).json()["Quotes"][0]["QuoteReference"]
    await caller.switch(unbound_quote="unusable")
    response = await caller.put(with_quote(await create(caller), quote))
    assert response.json()["Code"] == "QuoteNotForConsignmentException"


@pytest.mark.parametrize(
    ("style", "code", "child"),
    [
        ("exception", "ValidationException", "Validation"),
        ("plain", "Validation", "Validation"),
        ("sample", "SampleErrorCode", "Validation"),
    ],
)
async def test_the_style_of_codes(caller: Caller, style: str, code: str, child: str) -> None:
    await caller.switch(error_codes=style)
    error = (await caller.put(BULK, {})).json()
    assert (error["Code"], error["Details"][0]["Code"]) == (code, child)


# Undoing.


async def test_deallocating_may_be_accepted(caller: Caller) -> None:
    await caller.switch(deallocate_answer=202)
    response = await caller.put(f"/consignments/{in_state('Allocated')}/deallocate")
    assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("reason", f"Consignment {GONE} cannot be deallocated in state Cancelled"),
        ("general", "The operation failed."),
        ("null", None),
    ],
)
async def test_the_text_of_a_failed_change(caller: Caller, kind: str, text: str | None) -> None:
    await caller.switch(change_failure_text=kind)
    (item,) = (await caller.put("/consignments/deallocatelist", [GONE])).json()
    assert (item["IsSuccess"], item["Message"]) == (False, text)


@pytest.mark.parametrize(
    ("switches", "state", "status"),
    [
        ({}, "Manifested", 200),
        ({"cancel_once_manifested": False}, "Manifested", 400),
        ({"cancel_once_manifested": False}, "Allocated", 200),
        ({}, "DeliveryFailed", 200),
        ({"cancel_delivery_failed": False}, "DeliveryFailed", 400),
    ],
)
async def test_what_can_be_cancelled(caller: Caller, switches: dict[str, Any], state: str, status: int) -> None:
    await caller.switch(**switches)
    assert (await caller.put(f"/consignments/{in_state(state)}/cancel")).status_code == status


# Quotes and groups.


async def test_quotes_may_be_200(caller: Caller) -> None:
    await caller.switch(quotes_status=200)
    assert (await caller.call("GET", f"/quotes/consignment/{PLAIN[0]}")).status_code == 200
    assert (await caller.call("POST", "/quotes", request())).status_code == 200


@pytest.mark.parametrize(
    ("kind", "expiry"),
    [
        ("cutoff", "2026-03-04T17:00:00"),
        # The start of the present day is past, so the quote lives a day.
        ("day_start", "2026-03-05T10:00:00"),
        ("seconds", "2026-03-04T10:00:05"),
    ],
)
async def test_when_a_quote_expires(caller: Caller, kind: str, expiry: str) -> None:
    await caller.switch(quote_expiry=kind)
    result = await caller.read(f"/quotes/consignment/{PLAIN[0]}")
    assert result["Quotes"][0]["ExpiryDate"] == f"{expiry}.0000000+00:00"


async def test_the_source_of_a_service_may_be_its_name(caller: Caller) -> None:
    await caller.switch(quote_source="string")
    result = await caller.read(f"/quotes/consignment/{PLAIN[0]}")
    assert {quote["MpdCarrierServiceSource"] for quote in result["Quotes"]} == {"External"}


async def test_earlier_quotes_may_not_be_offered(caller: Caller) -> None:
    await caller.switch(earlier_quotes="not_offered")
    response = await caller.call("GET", f"/quotes/{QUOTE}")
    assert (response.status_code, response.json()) == (404, {"statusCode": 404, "message": "Resource not found"})


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("path", ["", "/summaries", "/valuableGoods", "/summary/valuableGoods", "/x/available"])
async def test_groups_may_be_closed_to_ordinary_keys(caller: Caller, status: int, path: str) -> None:
    await caller.switch(service_groups=status)
    response = await caller.call("GET", f"/servicegroups{path}")
    assert (response.status_code, response.json()["statusCode"]) == (status, status)


# The gateway in front, and the dialect.


async def test_calls_may_be_limited(caller: Caller) -> None:
    await caller.switch(rate_limit=2, rate_limit_seconds=30)
    for _ in range(2):
        assert (await caller.call("GET", f"/consignments/{PLAIN[0]}")).status_code == 200
    await caller.control("POST", "clock", {"advance": 10})
    response = await caller.put(BULK, many(PLAIN[0]))
    assert (response.status_code, response.headers["retry-after"]) == (429, "20")
    assert response.json() == {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 20 seconds."}
    assert await caller.bookings(PLAIN[0]) == 0
    await caller.control("POST", "clock", {"advance": 20})
    assert (await caller.put(BULK, many(PLAIN[0]))).status_code == 200


async def test_the_limit_may_be_that_of_the_one_operation_it_is_documented_for(caller: Caller) -> None:
    await caller.switch(rate_limit=1, rate_limit_scope="allocate_only")
    statuses = [(await caller.put(path, body)).status_code for path, body in [(BULK, many(PLAIN[0]))] * 2]
    assert statuses == [200, 429]
    assert (await caller.put(cheapest(PLAIN[1]))).status_code == 200


async def test_the_rate_of_a_tax_and_the_type_of_a_label_have_two_names(caller: Caller) -> None:
    await caller.put(cheapest(PLAIN[0]))
    before = (await caller.consignment(PLAIN[0]))["Allocation"]["Price"]
    label = (await caller.call("GET", f"/labels/{PLAIN[0]}/PDF")).json()
    await caller.switch(tax_rate="VatRate", label_content_type="Content-Type")
    after = (await caller.consignment(PLAIN[0]))["Allocation"]["Price"]
    assert after["VatRate"] == before["TaxRate"]
    assert "TaxRate" not in after
    again = (await caller.call("GET", f"/labels/{PLAIN[0]}/PDF")).json()
    assert again == {"File": label["File"], "Content-Type": "application/pdf"}


async def test_answers_may_begin_with_a_byte_order_mark(caller: Caller) -> None:
    plain = (await caller.call("GET", f"/consignments/{PLAIN[0]}/status")).content
    await caller.switch(byte_order_mark=True)
    assert (await caller.call("GET", f"/consignments/{PLAIN[0]}/status")).content == b"\xef\xbb\xbf" + plain
    assert (await caller.put(cheapest(UNKNOWN))).content.startswith(b"\xef\xbb\xbf{")


async def test_the_allocation_date_and_the_tax_have_two_names(caller: Caller) -> None:
    await caller.put(cheapest(PLAIN[0]))
    before = (await caller.consignment(PLAIN[0]))["Allocation"]
    await caller.switch(allocation_date="AllocateDate", tax_amount="TaxAmount")
    after = (await caller.consignment(PLAIN[0]))["Allocation"]
    assert after["AllocateDate"] == before["AllocationDate"]
    assert after["Price"]["TaxAmount"] == before["Price"]["VatAmount"]
    assert "AllocationDate" not in after
    assert "VatAmount" not in after["Price"]


def members(value: Any) -> list[Any]:
    """Every member of a document, however deep."""
    if isinstance(value, dict):
        return [pair for item in value.items() for pair in (item, *members(item[1]))]
    return [pair for item in value for pair in members(item)] if isinstance(value, list) else []


async def test_nulls_may_be_omitted(caller: Caller) -> None:
    assert None in [value for _, value in members(await caller.consignment(PLAIN[0]))]
    await caller.switch(nulls="omitted")
    assert None not in [value for _, value in members(await caller.consignment(PLAIN[0]))]
    assert "ApiLinks" not in (await caller.put("/consignments/deallocatelist", [UNKNOWN])).json()[0]


async def test_every_object_may_have_a_member_nobody_knows(caller: Caller) -> None:
    await caller.switch(extra_fields=True)
    item = (await caller.put(cheapest(PLAIN[0]))).json()[0]
    assert "XUnheardOf" in item
    assert "XUnheardOf" in item["ApiLinks"][0]
    assert "XUnheardOf" in (await caller.put(cheapest(UNKNOWN))).json()


async def test_enumerations_may_have_values_nobody_knows(caller: Caller) -> None:
    await caller.switch(unknown_enums=True)
    assert await caller.state(PLAIN[0]) == "Teleported"
    assert (await caller.read(f"/consignments/{PLAIN[0]}/status"))["Status"] == "Teleported"
    response = await caller.put(f"/allocation/{WITH_RETURN}/labels/PDF")
    assert {item["Result"] for item in response.json()["Responses"]} == {"ConsignmentTeleported"}


@pytest.mark.parametrize(("kind", "label"), [("gzip", "gzip"), ("gzipped", "gzipped"), ("never", None)])
async def test_how_answers_are_compressed(caller: Caller, kind: str, label: str | None) -> None:
    await caller.switch(gzip=kind)
    response = await caller.call("GET", f"/consignments/{PLAIN[0]}/status", headers={"Accept-Encoding": "gzip"})
    assert response.headers.get("content-encoding") == label
    assert (b"Unallocated" in response.content) is (kind != "gzipped")
