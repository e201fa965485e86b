"""Allocating one shipment: who is eligible, who wins, and what a failure says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from allocation_gateway.sandbox.ship.seed import DEFAULT_RULES_SHIPMENT
from sandbox.calling import (
    ABROAD,
    CANCELLED,
    FLAMMABLE,
    FRAGILE,
    HEAVY,
    ON_DEMAND,
    OTHER_ON_DEMAND,
    RADIOACTIVE,
    TOO_LATE,
    UNKNOWN,
    Caller,
    codes,
    exclusions,
    properties,
)

pytestmark = pytest.mark.asyncio

NEXT_DAY, TWO_DAY, NOON = "FF_DPD_Next_Day_103386", "FF_DPD_Two_Day_103386", "FF_DPD_1200_103384"


def in_group(reference: str, code: str) -> str:
    return f"/shipments/{reference}/allocate/service_group/{code}"


async def change(caller: Caller, service: str, **members: Any) -> None:
    caller.sandbox.ship.change_catalogue({"services": {service: members}})


async def test_equal_prices_go_to_the_earlier_delivery(caller: Caller) -> None:
    document = (await caller.put(in_group(DEFAULT_RULES_SHIPMENT, "exampleSG123"))).json()
    assert document["carrier"]["service_reference"] == NEXT_DAY
    assert exclusions(document) == {TWO_DAY: "ex_rates"}


async def test_the_cheapest_option_within_a_service_is_booked(caller: Caller) -> None:
    await change(caller, NEXT_DAY, prices=[{"net": Decimal("3.10")}, {"net": Decimal("1.10")}, {"net": Decimal(2)}])
    response = await caller.put(f"/shipments/{DEFAULT_RULES_SHIPMENT}/allocate/service/{NEXT_DAY}")
    assert b'"net":1.10,"gross":1.10' in response.content


async def test_an_option_for_lighter_shipments_is_not_booked(caller: Caller) -> None:
    prices = [{"net": Decimal("1.00"), "up_to_kg": Decimal(1)}, {"net": Decimal("2.50")}]
    await change(caller, NEXT_DAY, prices=prices)
    response = await caller.put(f"/shipments/{DEFAULT_RULES_SHIPMENT}/allocate/service/{NEXT_DAY}")
    assert response.json()["price"]["net"] == 2.5


async def test_tax_is_part_of_the_gross_price_with_the_documented_scales(caller: Caller) -> None:
    response = await caller.put(in_group(FLAMMABLE, "dangerousGoods"))
    assert b'"net":18.50,"gross":22.20' in response.content
    assert b'"value":0.2000},"amount":3.700000' in response.content


async def test_a_later_and_a_dearer_loser_are_told_apart_in_words_only(caller: Caller) -> None:
    await change(caller, TWO_DAY, prices=[{"net": Decimal("1.00")}])
    document = (await caller.put(in_group(DEFAULT_RULES_SHIPMENT, "exampleSG123"))).json()
    assert document["excluded_services"][0]["exclusion"] == {
        "reason": "Service price is higher than selected service",
        "code": "ex_rates",
    }


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"enabled": False}, "ex_inactive"),
        ({"outage": "ex_timeout"}, "ex_timeout"),
        ({"outage": "ex_circuit_open"}, "ex_circuit_open"),
        ({"outage": "ex_error"}, "ex_error"),
        ({"outage": "ex_sys_disabled"}, "ex_sys_disabled"),
        ({"shipment_types": ["on_demand"]}, "ex_other"),
        ({"directions": ["inbound"]}, "ex_other"),
        ({"countries": ["FR"]}, "ex_rules"),
        ({"max_value": Decimal(24)}, "ex_rules"),
        ({"max_weight_kg": Decimal(1)}, "ex_weight"),
        ({"max_dimensions_cm": [Decimal(30), Decimal(20), Decimal(9)]}, "ex_dims"),
        ({"prices": []}, "ex_rates"),
        ({"prices": [{"net": Decimal(1), "up_to_kg": Decimal(1)}]}, "ex_rates"),
    ],
    ids=str,
)
async def test_a_service_that_cannot_take_the_shipment_is_excluded_with_the_documented_code(
    caller: Caller, members: dict[str, Any], code: str
) -> None:
    await change(caller, NEXT_DAY, **members)
    document = (await caller.put(in_group(DEFAULT_RULES_SHIPMENT, "exampleSG123"))).json()
    assert document["carrier"]["service_reference"] == TWO_DAY
    assert exclusions(document) == {NEXT_DAY: code}


async def test_dimensions_are_compared_longest_with_longest(caller: Caller) -> None:
    await change(caller, NEXT_DAY, max_dimensions_cm=[Decimal(10), Decimal(30), Decimal(20)])
    document = (await caller.put(in_group(DEFAULT_RULES_SHIPMENT, "exampleSG123"))).json()
    assert document["carrier"]["service_reference"] == NEXT_DAY


@pytest.mark.parametrize(
    ("reference", "group", "code"),
    [
        (FRAGILE, "dangerousGoods", "ex_tag"),
        (RADIOACTIVE, "dangerousGoods", "ex_dangerous_goods"),
        (FLAMMABLE, "exampleSG123", "ex_contents"),
        (HEAVY, "exampleSG123", "ex_weight"),
        (TOO_LATE, "exampleSG123", "ex_availability"),
        (ABROAD, "exampleSG123", "ex_rules"),
        (ON_DEMAND, "dangerousGoods", "ex_other"),
    ],
)
async def test_a_group_in_which_no_service_can_take_the_shipment_fails_with_every_reason(
    caller: Caller, reference: str, group: str, code: str
) -> None:
    response = await caller.put(in_group(reference, group))
    assert response.status_code == 521
    assert response.json()["code"] == "allocation_failed"
    assert codes(response) == ["allocation_failed"]
    assert set(exclusions(response.json()).values()) == {code}
    assert await caller.state(reference) == "allocation_failed"


async def test_an_untagged_shipment_goes_to_a_tagged_service(caller: Caller) -> None:
    document = (await caller.put(in_group(DEFAULT_RULES_SHIPMENT, "exampleSG123"))).json()
    assert document["carrier"]["service_reference"] == NEXT_DAY


async def test_a_failed_shipment_can_be_tried_again(caller: Caller) -> None:
    await caller.put(in_group(HEAVY, "exampleSG123"))
    await change(caller, TWO_DAY, max_weight_kg=None)
    response = await caller.put(in_group(HEAVY, "exampleSG123"))
    assert response.status_code == 200
    assert await caller.state(HEAVY) == "allocated"


async def test_an_on_demand_shipment_does_not_match_a_scheduled_service(caller: Caller) -> None:
    response = await caller.put(f"/shipments/{ON_DEMAND}/allocate/service/SBX_HAZ_ROAD")
    assert response.status_code == 521
    assert codes(response) == ["carrier_service_shipment_mismatch"]


@pytest.mark.parametrize("reference", [CANCELLED, ON_DEMAND])
async def test_a_shipment_in_another_state_is_refused_and_stays_as_it_is(caller: Caller, reference: str) -> None:
    await caller.put(f"/shipments/{ON_DEMAND}/allocate")
    before = await caller.shipment(reference)
    response = await caller.put(f"/shipments/{reference}/allocate")
    assert response.status_code == 521
    assert codes(response) == ["shipment_invalid_state"]
    assert await caller.shipment(reference) == before


async def test_without_the_guard_a_shipment_is_booked_twice_and_the_journal_shows_it(caller: Caller) -> None:
    await caller.switch(guard=False)
    for _ in range(2):
        assert (await caller.put(f"/shipments/{ON_DEMAND}/allocate")).status_code == 200
    journal = await caller.journal(ON_DEMAND)
    assert (journal["allocations"], journal["deallocations"]) == (2, 0)


async def test_without_the_guard_a_cancelled_shipment_is_still_refused(caller: Caller) -> None:
    await caller.switch(guard=False)
    assert (await caller.put(f"/shipments/{CANCELLED}/allocate")).status_code == 521


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/shipments/{UNKNOWN}/allocate", 404, "shipment_not_found"),
        (f"/shipments/{ON_DEMAND}/allocate/service/NO_SUCH", 521, "carrier_service_not_found"),
        (f"/shipments/{ON_DEMAND}/allocate/service_group/NoSuch", 404, "not_found"),
        (f"/shipments/{ON_DEMAND}/allocate/service_group/VALUABLEGOODS", 404, "not_found"),
        (f"/shipments/{ON_DEMAND}/allocate/virtual_service/NO_SUCH", 400, "virtual_service_not_found"),
        (f"/shipments/{ON_DEMAND}/allocate/virtual_service/BAW_PREM_01", 400, "non_unique_reference"),
        (f"/shipments/{ON_DEMAND}/allocate/quote/qu_{0:032d}", 404, "not_found"),
        ("/shipments/sp_123/allocate", 400, "invalid_reference_format"),
    ],
)
async def test_what_does_not_exist_is_refused_and_changes_nothing(
    caller: Caller, path: str, status: int, code: str
) -> None:
    response = await caller.put(path)
    assert response.status_code == status
    assert codes(response) == [code]
    assert (await caller.journal(ON_DEMAND))["events"] == []


async def test_a_malformed_reference_names_its_property(caller: Caller) -> None:
    assert properties(await caller.put("/shipments/sp_123/allocate")) == ["reference"]


async def test_a_virtual_service_may_be_a_group(caller: Caller) -> None:
    document = (await caller.put(f"/shipments/{OTHER_ON_DEMAND}/allocate/virtual_service/valuableGoods")).json()
    assert document["carrier"]["service_reference"] == "FF_LINET-00001"
    assert len(document["excluded_services"]) == 4


async def test_the_cheapest_eligible_service_wins_whatever_the_prices(caller: Caller) -> None:
    prices = {NOON: "0.03", NEXT_DAY: "0.02", TWO_DAY: "0.010000001", "FF_DPD_Sunday_103386": "0.01"}
    for service, net in prices.items():
        await change(caller, service, prices=[{"net": Decimal(net)}])
    response = await caller.put(in_group(DEFAULT_RULES_SHIPMENT, "valuableGoods"))
    assert response.json()["carrier"]["service_reference"] == "FF_DPD_Sunday_103386"


@pytest.mark.parametrize(
    ("net", "written"),
    [
        ("0.000001", b'"net":0.000001,"gross":0.000001'),
        ("1.10", b'"net":1.10,"gross":1.10'),
        ("9999999.99999", b'"net":9999999.99999,"gross":9999999.99999'),
        ("-4.20", b'"net":-4.20,"gross":-4.20'),
        ("2", b'"net":2,"gross":2.00'),
    ],
)
async def test_prices_are_exact_whatever_their_scale(caller: Caller, net: str, written: bytes) -> None:
    await change(caller, NEXT_DAY, prices=[{"net": Decimal(net)}])
    response = await caller.put(f"/shipments/{DEFAULT_RULES_SHIPMENT}/allocate/service/{NEXT_DAY}")
    assert written in response.content
