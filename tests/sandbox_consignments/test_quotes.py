"""Quotes of a consignment, of one that does not exist yet, and by service groups; and reading service groups."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from allocation_gateway.sandbox.consignments.seed import EXPIRED_QUOTE_REQUEST, GROUPS, QUOTE, QUOTE_REQUEST, QUOTED
from sandbox_consignments.calling import PLAIN, UNKNOWN, Caller, create, request, with_quote

pytestmark = pytest.mark.asyncio


async def quotes(caller: Caller, reference: str) -> Any:
    response = await caller.call("GET", f"/quotes/consignment/{reference}")
    assert response.status_code == 201
    return response.json()


async def test_quotes_of_a_consignment_come_cheapest_first_with_the_documented_members(caller: Caller) -> None:
    result = await quotes(caller, PLAIN[0])
    assert list(result) == ["QuoteRequestReference", "Quotes", "Message", "UnqualifiedServices"]
    prices = [quote["Price"]["Net"] for quote in result["Quotes"]]
    assert prices == sorted(prices)
    quote = result["Quotes"][0]
    assert list(quote) == [
        *("MpdCarrierServiceSource", "MpdCarrierService", "CarrierReference", "OriginAddress", "DestinationAddress"),
        *("CollectionDate", "EarliestDeliveryDate", "LatestDeliveryDate", "BasePrice", "Price", "Surcharges", "Legs"),
        *("CarrierAccountOwner", "IsElectioService", "ServiceDirection", "QuoteReference", "CreationDate"),
        *("ExpiryDate", "Requestor", "ConsignmentReference", "ConsignmentReferenceProvidedByCustomer"),
        "MpdCarrierServiceReference",
    ]
    assert quote["ConsignmentReference"] == PLAIN[0]
    assert quote["MpdCarrierServiceSource"] == 2
    assert quote["MpdCarrierServiceReference"] == "MPD_RMDTPS48HNAUT"
    assert quote["Legs"][0]["CarrierService"]["Reference"] == "RMDTPS48HNAUT"
    assert quote["ExpiryDate"] == quote["CollectionDate"] == "2026-03-04T17:00:00.0000000+00:00"
    both = next(item for item in result["Quotes"] if item["MpdCarrierServiceReference"] == "SBX_COLLECT")
    assert both["ServiceDirection"] == "Inbound, Outbound"
    assert str(uuid.UUID(quote["QuoteReference"])) == quote["QuoteReference"]
    assert {item["MpdCarrierServiceReference"] for item in result["UnqualifiedServices"]} == {
        *("SBX_RETURN", "SBX_UNPRICED", "SBX_UNAVAILABLE", "SBX_DISABLED")
    }


async def test_every_quote_can_be_allocated_with_until_it_expires(caller: Caller) -> None:
    first, second = (await quotes(caller, PLAIN[0]))["Quotes"][:2]
    await caller.control("POST", "clock", {"advance": 7 * 3600})
    assert (await caller.put(with_quote(PLAIN[0], first["QuoteReference"]))).status_code == 200
    await caller.put(f"/consignments/{PLAIN[0]}/deallocate")
    await caller.control("POST", "clock", {"advance": 1})
    response = await caller.put(with_quote(PLAIN[0], second["QuoteReference"]))
    assert (response.status_code, response.json()["Code"]) == (400, "QuoteExpiredException")


async def test_a_quote_whose_collection_is_past_lives_a_day(caller: Caller) -> None:
    quote = (await quotes(caller, QUOTED))["Quotes"][0]
    assert quote["ExpiryDate"] == "2026-03-05T10:00:00.0000000+00:00"


async def test_quotes_of_an_unknown_consignment_are_refused(caller: Caller) -> None:
    response = await caller.call("GET", f"/quotes/consignment/{UNKNOWN}")
    assert (response.status_code, response.json()["Code"]) == (400, "ConsignmentNotFoundException")


async def test_what_is_not_created_can_be_quoted_and_its_quote_used_once_it_is(caller: Caller) -> None:
    response = await caller.call("POST", "/quotes/", request(ConsignmentReferenceProvidedByCustomer="mine"))
    assert response.status_code == 201
    quote = response.json()["Quotes"][0]
    assert (quote["ConsignmentReference"], quote["ConsignmentReferenceProvidedByCustomer"]) == ("", "mine")
    reference = await create(caller)
    assert (await caller.put(with_quote(reference, quote["QuoteReference"]))).status_code == 200


async def test_group_quotes_name_every_group_with_its_cheapest(caller: Caller) -> None:
    response = await caller.call("POST", "/quotes/servicegroups", request())
    assert response.status_code == 200
    results = {item["Reference"]: item for item in response.json()}
    assert [(item["Reference"], item["Name"]) for item in response.json()] == [
        (group.code, group.name) for group in GROUPS
    ]
    assert results["valuableGoods"]["CheapestQuote"] == results["valuableGoods"]["Quotes"][0]
    assert results["valuableGoods"]["CheapestQuote"]["MpdCarrierServiceReference"] == "EDC5_UPSHSTDCS"
    assert results["valuableGoods"]["Message"] == "Quote created successfully"
    assert (results["SBX_EMPTY"]["CheapestQuote"], results["SBX_EMPTY"]["Quotes"]) == (None, [])


async def test_an_earlier_result_can_be_read_again(caller: Caller) -> None:
    result = await quotes(caller, PLAIN[0])
    assert await caller.read(f"/quotes/{result['QuoteRequestReference'].upper()}") == result
    seeded = await caller.read(f"/quotes/{QUOTE_REQUEST}")
    assert [quote["QuoteReference"] for quote in seeded["Quotes"]] == [QUOTE]
    assert (await caller.read(f"/quotes/{EXPIRED_QUOTE_REQUEST}"))["Quotes"][0]["ExpiryDate"].startswith("2019")
    response = await caller.call("GET", f"/quotes/{uuid.uuid4()}")
    assert (response.status_code, response.json()["Code"]) == (404, "QuoteNotFoundException")


async def test_old_results_are_forgotten(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allocation_gateway.sandbox.consignments.world.MOST_QUOTATIONS", 3)
    first = await quotes(caller, PLAIN[0])
    await quotes(caller, PLAIN[0])
    await quotes(caller, PLAIN[0])
    await caller.read(f"/quotes/{first['QuoteRequestReference']}")
    await quotes(caller, PLAIN[0])
    assert (await caller.call("GET", f"/quotes/{first['QuoteRequestReference']}")).status_code == 404
    response = await caller.put(with_quote(PLAIN[0], first["Quotes"][0]["QuoteReference"]))
    assert response.json()["Code"] == "QuoteNotFoundException"


async def test_groups_are_listed_whole_and_in_short(caller: Caller) -> None:
    whole = await caller.read("/servicegroups")
    assert [group["Reference"] for group in whole] == [group.code for group in GROUPS]
    assert list(whole[0]) == ["Reference", "Name", "CustomerReference", "MpdCarrierServiceProfiles", "IsEnabled"]
    services = [profile["MpdCarrierService"]["Reference"] for profile in whole[0]["MpdCarrierServiceProfiles"]]
    assert services == ["EDC5_UPSHSTDCS", "SBX_TWO_LEGS"]
    short = [{**group, "MpdCarrierServiceProfiles": []} for group in whole]
    assert await caller.read("/servicegroups/summaries") == short
    assert await caller.read("/servicegroups/valuableGoods") == whole[0]
    assert await caller.read("/servicegroups/summary/valuableGoods/") == short[0]


async def test_groups_change_at_run_time(caller: Caller) -> None:
    await caller.world(groups={"new": {"name": "New", "services": ["CX_NDS"]}, "SGREF01": None})
    references = [group["Reference"] for group in await caller.read("/servicegroups/summaries")]
    assert "new" in references
    assert "SGREF01" not in references
    response = await caller.put(f"/allocation/{PLAIN[0]}/allocatewithservicegroup/SGREF01")
    assert response.json()["Code"] == "CarrierServiceGroupNotFoundForCustomerException"


@pytest.mark.parametrize("path", ["/servicegroups/nowhere", "/servicegroups/summary/nowhere"])
async def test_an_unknown_group_is_404(caller: Caller, path: str) -> None:
    response = await caller.call("GET", path)
    assert (response.status_code, response.json()["Code"]) == (404, "ServiceGroupNotFoundException")


@pytest.mark.parametrize(("meaning", "known", "unknown"), [("free", False, True), ("exists", True, False)])
async def test_available_means_free_or_existing(caller: Caller, meaning: str, known: bool, unknown: bool) -> None:
    await caller.switch(group_available=meaning)
    assert await caller.read("/servicegroups/valuableGoods/available") is known
    assert await caller.read("/servicegroups/nowhere/available") is unknown
