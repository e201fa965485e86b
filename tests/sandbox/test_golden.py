"""The documented examples come out of the engine as the vendor's page shows them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from allocation_gateway.sandbox.ship.seed import BULK_SHIPMENTS, DEFAULT_RULES_SHIPMENT, GOLDEN_SHIPMENT
from sandbox.calling import FRAGILE, HEADERS, ON_DEMAND, Caller, exclusions

GOLDEN = Path(__file__).parent / "golden" / "valuable_goods.json"
REQUEST = f"/shipments/{GOLDEN_SHIPMENT}/allocate/service_group/valuableGoods"
CORRELATION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.SAPI_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

pytestmark = pytest.mark.asyncio


def as_written(body: bytes) -> Any:
    """A JSON document with members in order and numbers as their text, so that 2.0 and 2.00 differ."""
    return _pairs(msgspec.json.Decoder(float_hook=lambda text: f"number {text}").decode(body))


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, _pairs(member)) for name, member in value.items()]
    return [_pairs(item) for item in value] if isinstance(value, list) else value


async def golden(caller: Caller) -> bytes:
    response = await caller.put(REQUEST)
    assert response.status_code == 200
    return response.content


async def test_the_service_group_example_is_equal_field_for_field_scale_for_scale_in_order(caller: Caller) -> None:
    answered, documented = await golden(caller), GOLDEN.read_bytes()
    correlation = msgspec.json.decode(answered)["correlation_id"]
    assert CORRELATION.fullmatch(correlation)
    theirs = msgspec.json.decode(documented)["correlation_id"]
    assert as_written(answered) == as_written(documented.replace(theirs.encode(), correlation.encode()))


async def test_the_comparison_would_notice_another_scale() -> None:
    assert as_written(b'{"a":2.00}') != as_written(b'{"a":2.0}')


async def test_each_answer_has_a_correlation_id_of_its_own(caller: Caller) -> None:
    first = await caller.put(f"/shipments/{GOLDEN_SHIPMENT}/allocate")
    second = await caller.put(f"/shipments/{ON_DEMAND}/allocate")
    assert first.json()["correlation_id"] != second.json()["correlation_id"]


async def test_the_example_can_be_repeated_after_a_reset(caller: Caller) -> None:
    await golden(caller)
    await caller.control("POST", "reset")
    assert b'"tracking_references":["43765709"]' in await golden(caller)


async def test_the_example_can_be_repeated_after_a_reset_of_the_shipment(caller: Caller) -> None:
    await golden(caller)
    await caller.control("POST", f"reset?reference={GOLDEN_SHIPMENT}")
    assert b'"tracking_references":["43765709"]' in await golden(caller)


async def test_another_booking_of_the_shipment_has_another_tracking_reference(caller: Caller) -> None:
    await golden(caller)
    await caller.ship("DELETE", f"/shipments/{GOLDEN_SHIPMENT}/allocation")
    assert b"43765709" not in await golden(caller)


async def test_a_changed_price_changes_the_winner(caller: Caller) -> None:
    caller.sandbox.ship.change_catalogue({"services": {"FF_DPD_Sunday_103386": {"prices": [{"net": Decimal("1.99")}]}}})
    document = msgspec.json.decode(await golden(caller))
    assert document["carrier"]["service_reference"] == "FF_DPD_Sunday_103386"
    assert document["price"]["net"] == 1.99


async def test_a_changed_tag_changes_the_winner(caller: Caller) -> None:
    request = f"/shipments/{FRAGILE}/allocate/service_group/exampleSG123"
    before = (await caller.put(request)).json()
    await caller.control("POST", f"reset?reference={FRAGILE}")
    tags = {"FF_DPD_Next_Day_103386": {"tags": []}, "FF_DPD_Two_Day_103386": {"tags": ["fragile"]}}
    await caller.control("PUT", "world", {"ship": {"services": tags}})
    after = (await caller.put(request)).json()
    assert before["carrier"]["service_reference"] == "FF_DPD_Next_Day_103386"
    assert after["carrier"]["service_reference"] == "FF_DPD_Two_Day_103386"
    assert exclusions(after) == {"FF_DPD_Next_Day_103386": "ex_tag"}


async def test_the_bulk_example_queues_three_rejects_one_and_allocates_the_three(caller: Caller) -> None:
    missing = "sp_00794407763918694348566459974304"
    response = await caller.put(
        "/shipments/allocate/service_group", {"shipments": [*BULK_SHIPMENTS, missing], "service_group": "exampleSG123"}
    )
    assert response.status_code == 202
    assert response.json() == {
        "message": "3 shipments queued for allocation successfully. 1 shipment rejected for allocation.",
        "queued": list(BULK_SHIPMENTS),
        "rejected": [
            {"code": "shipment_not_found", "message": "The shipment cannot be found.", "references": [missing]}
        ],
        "_links": [],
    }
    for reference in BULK_SHIPMENTS:
        assert await caller.settled(reference) == "allocated"


async def test_the_key_with_a_trailing_space_on_the_vendors_page_is_not_the_documented_member(caller: Caller) -> None:
    response = await caller.put(
        "/shipments/allocate/service_group", {"shipments": list(BULK_SHIPMENTS), "service_group ": "exampleSG123"}
    )
    assert response.status_code == 400
    assert response.json()["details"][0]["code"] == "required_property_missing"


async def test_the_default_rules_example_costs_two_and_is_taxed_by_dpd_next_day(caller: Caller) -> None:
    document = (await caller.put(f"/shipments/{DEFAULT_RULES_SHIPMENT}/allocate")).json()
    assert document["price"]["net"] == 2.0
    assert document["price"]["taxes"][0]["rate"]["reference"].startswith("FF_DPD_Nex")


@pytest.mark.parametrize("form", ["service", "virtual_service"])
async def test_the_carrier_service_forms_book_lineten_and_exclude_nothing(caller: Caller, form: str) -> None:
    document = (await caller.put(f"/shipments/{ON_DEMAND}/allocate/{form}/FF_LINET-00001")).json()
    assert document["carrier"]["service_reference"] == "FF_LINET-00001"
    assert document["excluded_services"] == []


async def test_the_headers_of_an_answer_are_the_documented_ones(caller: Caller) -> None:
    response = await caller.http.put(caller.sandbox.ship_base_url + REQUEST, headers=HEADERS)
    assert response.headers["x-api-version"] == "1.1"
    assert response.headers["content-type"] == "application/json"
