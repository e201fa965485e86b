"""Quotes: bound to one shipment, to a price, and to a time."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox.calling import FLAMMABLE, FRAGILE, HEAVY, ON_DEMAND, RADIOACTIVE, Caller, codes, exclusions
from sandbox.shipping import request

pytestmark = pytest.mark.asyncio


async def quotes(caller: Caller, reference: str = FRAGILE) -> list[Any]:
    response = await caller.ship("POST", f"/shipments/{reference}/quote")
    assert response.status_code == 201
    return list(response.json()["quotes"])


async def test_a_shipment_that_two_services_can_take_gets_two_quotes_cheapest_first(caller: Caller) -> None:
    response = await caller.ship("POST", f"/shipments/{FRAGILE}/quote")
    document = response.json()
    assert response.status_code == 201
    assert document["message"] == f"2 quotes retrieved successfully for shipment {FRAGILE}"
    assert document["shipment"]["reference"] == FRAGILE
    assert [quote["price"]["net"] for quote in document["quotes"]] == [2.0, 5.4]
    assert {quote["shipment_reference"] for quote in document["quotes"]} == {FRAGILE}
    assert exclusions(document)["FF_DPD_Two_Day_103386"] == "ex_tag"


async def test_the_guides_get_answers_quotes_too(caller: Caller) -> None:
    response = await caller.ship("GET", f"/shipments/{FRAGILE}/quote")
    assert response.status_code == 200
    assert len(response.json()["quotes"]) == 2


@pytest.mark.parametrize("path", ["/shipments/{}/allocate/quote/{}", "/shipments/allocate/{}/quote/{}"])
async def test_a_quote_is_booked_as_quoted_on_either_path(caller: Caller, path: str) -> None:
    dearer = (await quotes(caller))[1]
    await caller.control("PUT", "world", {"ship": {"services": {"FF_DPD_1200_103384": {"prices": [{"net": 99}]}}}})
    document = (await caller.put(path.format(FRAGILE, dearer["reference"]))).json()
    assert document["price"] == dearer["price"]
    assert document["carrier"] == dearer["carrier"]
    assert document["message"] == f"Shipment {FRAGILE} allocated with quote {dearer['reference']} successfully"


async def test_a_quote_expires_at_the_end_of_its_day(caller: Caller) -> None:
    quote = (await quotes(caller))[0]
    assert quote["created"] == "2026-03-04T10:00:00.000000+00:00"
    assert quote["expires"] == "2026-03-04T23:59:00.000000+00:00"
    await caller.control("POST", "clock", {"advance": 13 * 3600 + 59 * 60})
    use = f"/shipments/{FRAGILE}/allocate/quote/{quote['reference']}"
    await caller.control("POST", "clock", {"advance": 1})
    refused = await caller.put(use)
    assert (refused.status_code, codes(refused)) == (521, ["allocation_failed"])
    assert await caller.state(FRAGILE) == "unallocated"
    await caller.control("POST", "clock", {"advance": -1})
    assert (await caller.put(use)).status_code == 200


async def test_a_quote_made_in_the_last_minute_of_a_day_lasts_until_the_next_end(caller: Caller) -> None:
    await caller.control("POST", "clock", {"advance": 13 * 3600 + 59 * 60})
    assert (await quotes(caller))[0]["expires"] == "2026-03-05T23:59:00.000000+00:00"


async def test_a_quote_of_another_shipment_cannot_be_used(caller: Caller) -> None:
    quote = (await quotes(caller))[0]
    response = await caller.put(f"/shipments/{ON_DEMAND}/allocate/quote/{quote['reference']}")
    assert response.status_code == 521
    assert await caller.state(ON_DEMAND) == "unallocated"


async def test_a_quote_whose_service_can_no_longer_take_the_shipment_fails(caller: Caller) -> None:
    quote = (await quotes(caller))[0]
    services = {"FF_DPD_Next_Day_103386": {"enabled": False}}
    await caller.control("PUT", "world", {"ship": {"services": services}})
    response = await caller.put(f"/shipments/{FRAGILE}/allocate/quote/{quote['reference']}")
    assert (response.status_code, await caller.state(FRAGILE)) == (521, "allocation_failed")


async def test_only_the_newest_quotes_of_a_shipment_are_kept(caller: Caller) -> None:
    oldest = (await quotes(caller))[0]
    for _ in range(20):
        newest = (await quotes(caller))[0]
    assert len(caller.sandbox.ship.world.quotes) == 40
    assert (await caller.put(f"/shipments/{FRAGILE}/allocate/quote/{oldest['reference']}")).status_code == 404
    assert (await caller.put(f"/shipments/{FRAGILE}/allocate/quote/{newest['reference']}")).status_code == 200


async def test_a_reset_shipment_has_lost_its_quotes(caller: Caller) -> None:
    quote = (await quotes(caller))[0]
    await caller.control("POST", f"reset?reference={FRAGILE}")
    assert (await caller.put(f"/shipments/{FRAGILE}/allocate/quote/{quote['reference']}")).status_code == 404


@pytest.mark.parametrize("reference", [RADIOACTIVE, HEAVY])
async def test_a_shipment_nobody_can_take_has_no_quotes_and_every_reason(caller: Caller, reference: str) -> None:
    await caller.control("PUT", "world", {"ship": {"services": {"SBX_HAZ_ROAD": {"max_weight_kg": 100}}}})
    response = await caller.ship("POST", f"/shipments/{reference}/quote")
    assert response.status_code == 531
    assert response.json()["code"] == "no_quotes_available"
    assert codes(response) == ["no_quotes_available"]
    assert len(exclusions(response.json())) == 9


async def test_a_shipment_can_be_quoted_before_it_exists(caller: Caller) -> None:
    response = await caller.ship("POST", "/shipments/quote", request())
    reference = response.json()["shipment"]["reference"]
    assert response.status_code == 201
    assert (await caller.ship("GET", f"/shipments/{reference}")).status_code == 404
    assert caller.sandbox.ship.world.quotes == {}


async def test_a_new_shipment_can_be_quoted_within_a_group(caller: Caller) -> None:
    response = await caller.ship("POST", "/shipments/quote/service_group/exampleSG123", request())
    services = [quote["carrier"]["service_reference"] for quote in response.json()["quotes"]]
    assert services == ["FF_DPD_Next_Day_103386", "FF_DPD_Two_Day_103386"]
    missing = await caller.ship("POST", "/shipments/quote/service_group/NoSuch", request())
    assert missing.status_code == 404


async def test_quoting_changes_nothing(caller: Caller) -> None:
    await quotes(caller, FLAMMABLE)
    assert await caller.state(FLAMMABLE) == "unallocated"
    assert (await caller.journal(FLAMMABLE))["events"] == []
