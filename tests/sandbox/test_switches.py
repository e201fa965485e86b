"""Each switch changes what it says, and nothing else changes by itself."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from allocation_gateway.sandbox.ship.seed import BULK_SHIPMENTS, DEFAULT_RULES_SHIPMENT
from allocation_gateway.sandbox.ship.switches import ShipSwitches
from sandbox.calling import (
    FRAGILE,
    HEADERS,
    HEAVY,
    ON_DEMAND,
    RADIOACTIVE,
    UNKNOWN,
    Caller,
    codes,
    exclusions,
    until,
)

pytestmark = pytest.mark.asyncio

FIRST, SECOND, _ = BULK_SHIPMENTS
FAILING = f"/shipments/{RADIOACTIVE}/allocate/service_group/dangerousGoods"
ALLOCATE = f"/shipments/{ON_DEMAND}/allocate"


async def bulk(caller: Caller, *references: str) -> Any:
    return await caller.put("/shipments/allocate", {"shipments": list(references)})


async def test_the_first_value_of_each_switch_is_its_default() -> None:
    defaults = ShipSwitches()
    for name, kind in get_type_hints(ShipSwitches).items():
        if kind is not bool:
            assert getattr(defaults, name) == get_args(kind)[0], name


async def test_switches_merge_and_are_shown(caller: Caller) -> None:
    await caller.switch(bulk_partial_status=207)
    await caller.switch(guard=False)
    shown = (await caller.control("GET", "switches"))["ship"]
    assert shown == {**msgspec.structs.asdict(ShipSwitches()), "bulk_partial_status": 207, "guard": False}


@pytest.mark.parametrize(
    "body",
    [
        {"ship": {"bulk_partial_status": 200}},
        {"ship": {"bulk_partial_status": "207"}},
        {"ship": {"no_such_switch": True}},
        {"ship": {"guard": False, "no_such_switch": True}},
        {"ship": []},
        {"boat": {}},
        [],
    ],
    ids=str,
)
async def test_an_unknown_name_or_value_is_refused_and_nothing_changes(caller: Caller, body: Any) -> None:
    response = await caller.control_response("PUT", "switches", body)
    assert response.status_code == 400
    assert response.json()["error"]
    assert (await caller.control("GET", "switches"))["ship"] == msgspec.structs.asdict(ShipSwitches())


async def test_single_answer_202_still_allocates_at_once(caller: Caller) -> None:
    await caller.switch(single_answer=202)
    response = await caller.put(ALLOCATE)
    assert (response.status_code, response.json()["state"]) == (202, "allocated")


async def test_single_answer_deferred_leaves_the_allocation_to_the_worker(caller: Caller) -> None:
    await caller.switch(single_answer="deferred")
    response = await caller.put(ALLOCATE)
    assert (response.status_code, response.json()["state"]) == (202, "allocating")
    assert "price" not in response.json()
    assert await caller.settled(ON_DEMAND) == "allocated"


async def test_single_answer_deferred_still_refuses_at_once(caller: Caller) -> None:
    await caller.switch(single_answer="deferred")
    assert (await caller.put(f"{ALLOCATE}/service/NO_SUCH")).status_code == 521
    assert await caller.state(ON_DEMAND) == "unallocated"


async def test_without_retry_failed_a_failed_shipment_stays_failed(caller: Caller) -> None:
    await caller.switch(retry_failed=False)
    await caller.put(FAILING)
    response = await caller.put(FAILING)
    assert codes(response) == ["shipment_invalid_state"]


async def test_failure_body_api_error_has_no_excluded_services(caller: Caller) -> None:
    await caller.switch(failure_body="api_error")
    response = await caller.put(FAILING)
    assert (response.status_code, response.json()["code"]) == (521, "allocation_failed")
    assert "excluded_services" not in response.json()


async def test_failure_body_allocate_result_has_the_error_among_its_details(caller: Caller) -> None:
    await caller.switch(failure_body="allocate_result")
    response = await caller.put(FAILING)
    document = response.json()
    assert response.status_code == 521
    assert (document["shipment_reference"], document["state"]) == (RADIOACTIVE, "allocation_failed")
    assert document["details"][0]["code"] == "allocation_failed"
    assert document["details"][0]["correlation_id"] == document["correlation_id"]
    assert set(exclusions(document)) == {"SBX_HAZ_ROAD", "SBX_HAZ_AIR"}


@pytest.mark.parametrize(
    ("parent", "code"),
    [
        ("allocation_failed", "allocation_failed"),
        ("validation_error", "validation_error"),
        ("child", "carrier_service_not_found"),
    ],
)
async def test_failure_parent_names_the_code_above_the_child(caller: Caller, parent: str, code: str) -> None:
    await caller.switch(failure_parent=parent)
    response = await caller.put(f"{ALLOCATE}/service/NO_SUCH")
    assert (response.json()["code"], codes(response)) == (code, ["carrier_service_not_found"])


async def test_dates_add_when_it_is_shipped_and_delivered(caller: Caller) -> None:
    await caller.switch(dates=True)
    document = (await caller.put(ALLOCATE)).json()
    assert document["shipping_date"]["start"] == "2026-03-04T10:00:00.000000+00:00"
    assert document["expected_delivery_date"]["end"] == "2026-03-04T14:00:00.000000+00:00"


async def test_excluded_carrier_straight_names_the_carrier_first(caller: Caller) -> None:
    await caller.switch(excluded_carrier="straight")
    document = (await caller.put(f"/shipments/{FRAGILE}/allocate/service_group/exampleSG123")).json()
    assert document["excluded_services"][0]["carrier"] == {
        "reference": "FF_103386_DPD",
        "name": "DPD",
        "service_reference": "FF_DPD_Two_Day_103386",
        "service_name": "DPD Two Day (Parcel)",
    }


@pytest.mark.parametrize("spelling", ["allocate", "allocation"])
@pytest.mark.parametrize("tail", ["", "/service", "/service_group", "/filters"])
async def test_bulk_paths_leave_one_spelling(caller: Caller, spelling: str, tail: str) -> None:
    await caller.switch(bulk_paths=spelling)
    statuses = {
        name: (await caller.put(f"/shipments/{name}{tail}", {})).status_code for name in ("allocate", "allocation")
    }
    assert statuses == {"allocate": 404, "allocation": 404, spelling: 400}


@pytest.mark.parametrize("status", [202, 207, 407])
async def test_bulk_partial_status_is_for_requests_with_both_queued_and_rejected(caller: Caller, status: int) -> None:
    await caller.switch(bulk_partial_status=status)
    assert (await bulk(caller, FIRST, UNKNOWN)).status_code == status
    assert (await bulk(caller, SECOND)).status_code == 202
    assert (await bulk(caller, UNKNOWN)).status_code == 202


@pytest.mark.parametrize("status", [202, 207, 407, 404, 521])
async def test_bulk_all_rejected_status_keeps_the_bulk_body(caller: Caller, status: int) -> None:
    await caller.switch(bulk_all_rejected_status=status)
    response = await bulk(caller, UNKNOWN)
    assert response.status_code == status
    assert (response.json()["queued"], response.json()["rejected"][0]["references"]) == ([], [UNKNOWN])
    assert response.json()["message"] == "1 shipment(s) rejected for allocation."


@pytest.mark.parametrize(("status", "parent"), [(404, "not_found"), (521, "allocation_failed")])
async def test_bulk_all_rejected_body_may_be_an_error(caller: Caller, status: int, parent: str) -> None:
    await caller.switch(bulk_all_rejected_status=status, bulk_all_rejected_body="api_error")
    response = await bulk(caller, UNKNOWN)
    assert (response.status_code, response.json()["code"]) == (status, parent)
    assert codes(response) == ["shipment_not_found"]


async def test_bulk_body_array_lists_results_of_what_is_known(lazy: Caller) -> None:
    await lazy.switch(bulk_body="array")
    await lazy.put(ALLOCATE)
    documents = (await bulk(lazy, FIRST, UNKNOWN, ON_DEMAND)).json()
    assert [(item["shipment_reference"], item["state"]) for item in documents] == [
        (FIRST, "allocating"),
        (ON_DEMAND, "allocated"),
    ]
    assert documents[1]["details"][0]["details"][0]["code"] == "shipment_invalid_state"


async def test_bulk_body_array_allocated_answers_finished_allocations(caller: Caller) -> None:
    await caller.switch(bulk_body="array_allocated")
    response = await bulk(caller, FIRST, HEAVY)
    assert response.status_code == 202
    first, heavy = response.json()
    assert (first["state"], first["price"]["net"]) == ("allocated", 2.0)
    assert (heavy["state"], heavy["price"]["net"]) == ("allocated", 18.5)


async def test_bulk_body_array_allocated_answers_failures_too(caller: Caller) -> None:
    await caller.switch(bulk_body="array_allocated")
    body = {"shipments": [RADIOACTIVE], "service_group": "dangerousGoods"}
    document = (await caller.put("/shipments/allocate/service_group", body)).json()[0]
    assert (document["state"], document["details"][0]["code"]) == ("allocation_failed", "allocation_failed")


async def test_bulk_allocating_when_processed_leaves_the_state_until_then(lazy: Caller) -> None:
    await lazy.switch(bulk_allocating="when_processed")
    assert (await bulk(lazy, FIRST)).json()["queued"] == [FIRST]
    assert (await bulk(lazy, FIRST)).json()["queued"] == [FIRST]
    assert await lazy.state(FIRST) == "unallocated"


async def test_bulk_allocating_when_processed_books_a_shipment_queued_twice_only_once(caller: Caller) -> None:
    await caller.switch(bulk_allocating="when_processed")
    for _ in range(2):
        await bulk(caller, FIRST)
    await bulk(caller, SECOND)
    await until(lambda: booking(caller, SECOND))
    events = [event["effect"] for event in (await caller.journal(FIRST))["events"]]
    assert events == ["allocating", "allocated"]


async def booking(caller: Caller, reference: str) -> Any:
    return (await caller.shipment(reference)).get("allocation")


@pytest.mark.parametrize(("shape", "accepted"), [("object", 202), ("array", 400)])
async def test_capabilities_may_have_to_be_an_object(caller: Caller, shape: str, accepted: int) -> None:
    await caller.switch(capabilities="object")
    assert await status_with_capabilities(caller, shape) == accepted


@pytest.mark.parametrize(("shape", "accepted"), [("object", 400), ("array", 202)])
async def test_capabilities_may_have_to_be_an_array(caller: Caller, shape: str, accepted: int) -> None:
    await caller.switch(capabilities="array")
    assert await status_with_capabilities(caller, shape) == accepted


async def status_with_capabilities(caller: Caller, shape: str) -> int:
    capability = {"type": "proof_of_delivery", "value": "require"}
    given = capability if shape == "object" else [capability]
    return (await caller.put("/shipments/allocate", {"shipments": [FIRST], "capabilities": given})).status_code


@pytest.mark.parametrize(
    ("switch", "value", "path", "status", "child"),
    [
        ("unknown_shipment", 404, f"/shipments/{UNKNOWN}/allocate", 404, "shipment_not_found"),
        ("unknown_shipment", 521, f"/shipments/{UNKNOWN}/allocate", 521, "shipment_not_found"),
        ("unknown_service", 404, f"{ALLOCATE}/service/NO_SUCH", 404, "not_found"),
        ("unknown_service", 521, f"{ALLOCATE}/service/NO_SUCH", 521, "carrier_service_not_found"),
        ("unknown_group", 404, f"{ALLOCATE}/service_group/NoSuch", 404, "not_found"),
        ("unknown_group", 521, f"{ALLOCATE}/service_group/NoSuch", 521, "allocation_failed"),
        ("unknown_virtual", 400, f"{ALLOCATE}/virtual_service/NO_SUCH", 400, "virtual_service_not_found"),
        ("unknown_virtual", 404, f"{ALLOCATE}/virtual_service/NO_SUCH", 404, "not_found"),
        ("malformed_reference", "not_found", "/shipments/sp_1/allocate", 404, "shipment_not_found"),
    ],
)
async def test_what_does_not_exist_is_answered_as_switched(
    caller: Caller, switch: str, value: object, path: str, status: int, child: str
) -> None:
    await caller.switch(**{switch: value})
    response = await caller.put(path)
    assert (response.status_code, codes(response)) == (status, [child])


async def test_malformed_reference_not_found_rejects_in_bulk_what_it_refused_whole(caller: Caller) -> None:
    await caller.switch(malformed_reference="not_found")
    assert (await bulk(caller, FIRST, "sp_1")).json()["rejected"][0]["references"] == ["sp_1"]


async def test_reference_case_any_finds_a_shipment_in_any_spelling(caller: Caller) -> None:
    path = f"/shipments/{FIRST.upper()}"
    assert codes(await caller.put(f"{path}/allocate")) == ["invalid_reference_format"]
    await caller.switch(reference_case="any")
    assert (await caller.put(f"{path}/allocate")).json()["shipment_reference"] == FIRST
    assert (await caller.ship("GET", path)).json()["state"] == "allocated"
    assert (await bulk(caller, FIRST.upper(), "SP_1")).status_code == 400
    answer = (await bulk(caller, SECOND.upper(), UNKNOWN.upper())).json()
    assert answer["rejected"][0]["references"] == [UNKNOWN.upper()]


@pytest.mark.parametrize(("allowed", "post", "get"), [("both", 201, 200), ("post", 201, 405), ("get", 405, 200)])
async def test_quote_method_decides_how_quotes_are_asked_for(caller: Caller, allowed: str, post: int, get: int) -> None:
    await caller.switch(quote_method=allowed)
    path = f"/shipments/{FRAGILE}/quote"
    assert (await caller.ship("POST", path)).status_code == post
    assert (await caller.ship("GET", path)).status_code == get


async def test_quote_expiry_seconds_makes_quotes_that_expire_soon(caller: Caller) -> None:
    await caller.switch(quote_expiry="seconds")
    quote = (await caller.ship("POST", f"/shipments/{FRAGILE}/quote")).json()["quotes"][0]
    assert quote["expires"] == "2026-03-04T10:00:05.000000+00:00"


async def test_no_quotes_body_api_error_has_no_excluded_services(caller: Caller) -> None:
    await caller.switch(no_quotes_body="api_error")
    response = await caller.ship("POST", f"/shipments/{RADIOACTIVE}/quote")
    assert (response.status_code, codes(response)) == (531, ["no_quotes_available"])
    assert "excluded_services" not in response.json()


async def test_no_quotes_body_quote_result_has_no_code(caller: Caller) -> None:
    await caller.switch(no_quotes_body="quote_result")
    response = await caller.ship("POST", f"/shipments/{RADIOACTIVE}/quote")
    assert (response.status_code, response.json()["quotes"]) == (531, [])
    assert "code" not in response.json()
    assert len(exclusions(response.json())) == 9


@pytest.mark.parametrize(("status", "child"), [(521, "allocation_failed"), (400, "invalid_value"), (404, "not_found")])
async def test_unusable_quote_decides_the_answer_to_an_expired_quote(caller: Caller, status: int, child: str) -> None:
    await caller.switch(unusable_quote=status)
    quote = (await caller.ship("POST", f"/shipments/{FRAGILE}/quote")).json()["quotes"][0]["reference"]
    await caller.control("POST", "clock", {"advance": 86400})
    response = await caller.put(f"/shipments/{FRAGILE}/allocate/quote/{quote}")
    assert (response.status_code, codes(response)) == (status, [child])


@pytest.mark.parametrize(("kind", "base"), [("boolean_base", True), ("named_base", "net")])
async def test_surcharges_have_a_base_of_either_type(caller: Caller, kind: str, base: object) -> None:
    await caller.switch(surcharges=kind)
    quote = (await caller.ship("POST", f"/shipments/{FRAGILE}/quote")).json()["quotes"][0]
    (surcharge,) = quote["surcharges"]
    assert surcharge["base_application"] == {"base": base, "base_only": True}
    assert surcharge["currency"] == quote["price"]["currency"]


async def test_paperless_documents_are_a_list_or_an_object(caller: Caller) -> None:
    assert (await caller.shipment(ON_DEMAND))["paperless_documents"] == []
    await caller.switch(paperless_documents="array")
    listed = (await caller.shipment(ON_DEMAND))["paperless_documents"]
    assert [item.get("document_type", item.get("type")) for item in listed] == ["commercial_invoice", "invoice"]
    await caller.switch(paperless_documents="object")
    assert (await caller.shipment(ON_DEMAND))["paperless_documents"]["sent_to_carrier"] is True


async def test_deallocate_not_offered_is_a_path_that_does_not_exist(caller: Caller) -> None:
    await caller.put(ALLOCATE)
    await caller.switch(deallocate="not_offered")
    response = await caller.ship("DELETE", f"/shipments/{ON_DEMAND}/allocation")
    assert (response.status_code, codes(response)) == (404, ["not_found"])
    assert await caller.state(ON_DEMAND) == "allocated"


async def test_allocation_tracking_references_are_those_of_the_early_contract(caller: Caller) -> None:
    tracked = (await caller.put(ALLOCATE)).json()["tracking_details"]["shipment"]["tracking_references"]
    await caller.switch(allocation_tracking="tracking_references")
    allocation = (await caller.shipment(ON_DEMAND))["allocation"]
    assert allocation["tracking_references"] == tracked
    assert "tracking_details" not in allocation


async def test_get_while_allocating_may_be_processing(lazy: Caller) -> None:
    await lazy.switch(get_while_allocating="processing")
    await bulk(lazy, FIRST)
    response = await lazy.ship("GET", f"/shipments/{FIRST}")
    assert (response.status_code, codes(response)) == (404, ["processing"])


async def test_validation_parent_may_be_invalid_request(caller: Caller) -> None:
    await caller.switch(validation_parent="invalid_request")
    assert (await bulk(caller)).json()["code"] == "invalid_request"


async def test_version_error_parent_may_be_the_code_itself(caller: Caller) -> None:
    await caller.switch(version_error_parent="own")
    url = f"{caller.sandbox.ship_base_url}/shipments/{ON_DEMAND}"
    response = await caller.http.get(url, headers={**HEADERS, "x-api-version": "2"})
    assert response.json()["code"] == "version_header_error"


async def test_state_case_title_starts_states_with_a_capital(caller: Caller) -> None:
    await caller.switch(state_case="title")
    assert (await caller.put(ALLOCATE)).json()["state"] == "Allocated"
    assert await caller.state(HEAVY) == "Unallocated"


async def test_state_case_pascal_joins_words(caller: Caller) -> None:
    await caller.switch(state_case="pascal")
    await caller.put(FAILING)
    assert await caller.state(RADIOACTIVE) == "AllocationFailed"


async def test_answers_may_begin_with_a_byte_order_mark(caller: Caller) -> None:
    plain = (await caller.ship("GET", f"/shipments/{ON_DEMAND}")).content
    await caller.switch(byte_order_mark=True)
    assert (await caller.ship("GET", f"/shipments/{ON_DEMAND}")).content == b"\xef\xbb\xbf" + plain
    assert (await caller.ship("GET", f"/shipments/{UNKNOWN}")).content.startswith(b"\xef\xbb\xbf{")


async def test_nulls_present_shows_members_without_a_value(caller: Caller) -> None:
    await caller.switch(nulls="present")
    document = (await caller.put(ALLOCATE)).json()
    assert document["paperless_documents"] is None
    assert document["tracking_details"]["shipment"]["_links"] is None
    assert (await caller.put(ALLOCATE)).json()["details"][0]["property"] is None


async def test_extra_fields_are_in_every_object(caller: Caller) -> None:
    await caller.switch(extra_fields=True)
    document = (await caller.put(ALLOCATE)).json()
    for item in (document, document["price"], document["price"]["taxes"][0]["rate"], document["_links"][0]):
        assert "x_unheard_of" in item


async def test_unknown_enums_are_values_nobody_has_heard_of(caller: Caller) -> None:
    await caller.switch(unknown_enums=True)
    document = (await caller.put(f"/shipments/{DEFAULT_RULES_SHIPMENT}/allocate")).json()
    assert document["state"] == "teleported"
    assert set(exclusions(document).values()) == {"ex_unheard_of"}


async def test_gzip_label_may_be_the_literal_of_the_documents(caller: Caller) -> None:
    await caller.switch(gzip_label="gzipped")
    response = await caller.http.get(
        f"{caller.sandbox.ship_base_url}/shipments/{ON_DEMAND}", headers={**HEADERS, "Accept-Encoding": "gzip"}
    )
    assert response.headers["content-encoding"] == "gzipped"
    assert response.content.startswith(b"\x1f\x8b")
