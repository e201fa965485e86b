"""Which service is chosen: tags, each allocation rule, dates, directions, filters, price and tie-break."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from allocation_gateway.sandbox.consignments.catalogue import Service
from allocation_gateway.sandbox.consignments.geography import lies_in, zip_lies_in
from allocation_gateway.sandbox.consignments.seed import FAILING, GROUPED, TAGGED
from sandbox_consignments.calling import Caller, address, cheapest, create, many, package, request

TABLE_SERVICES: dict[str, list[str]] = {
    "A": ["Alcohol"],
    "B": ["Flammables"],
    "C": ["Alcohol", "Flammables"],
    "D": ["Oil"],
    "E": [],
}


async def only(caller: Caller, **service: Any) -> None:
    """Give the group `ONLY` one service, which takes everything but what is said."""
    await caller.world(
        services={"ONLY": {"name": "Only", "carrier": "UPS", "net": 1, **service}},
        groups={"ONLY": {"name": "Only", "services": ["ONLY"]}},
    )


async def reasons(caller: Caller, code: str, **members: Any) -> dict[str, str]:
    """Why the services of a group cannot take a consignment."""
    response = await caller.call("POST", "/quotes/serviceGroups", request(**members))
    group = next(item for item in response.json() if item["Reference"] == code)
    return {item["MpdCarrierServiceReference"]: item["ExclusionReason"] for item in group["UnqualifiedServices"]}


async def only_reason(caller: Caller, **members: Any) -> str | None:
    """Why the one service cannot take a consignment; None if it can."""
    return (await reasons(caller, "ONLY", **members)).get("ONLY")


ADDRESSES = "This service is not available between the selected addresses."
DIMENSIONS = "This service is not available for the given package dimensions/weight."
DATES = "This service is not available for the selected collection/delivery dates."


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tags", "eligible"),
    [
        ([], "ABCDE"),
        (["Alcohol"], "AC"),
        (["Flammables"], "BC"),
        (["Alcohol", "Flammables"], "C"),
        (["Alcohol", "Flammables", "Oil"], ""),
    ],
)
async def test_the_worked_table_of_tags(caller: Caller, tags: list[str], eligible: str) -> None:
    services = {
        name: {"name": name, "carrier": "UPS", "net": price, "tags": given}
        for price, (name, given) in enumerate(TABLE_SERVICES.items(), start=1)
    }
    await caller.world(services=services, groups={"table": {"name": "Table", "services": list(services)}})
    response = await caller.call("POST", "/quotes/serviceGroups", request(Tags=tags))
    group = next(item for item in response.json() if item["Reference"] == "table")
    assert "".join(quote["MpdCarrierServiceReference"] for quote in group["Quotes"]) == eligible
    reference = await create(caller, Tags=tags)
    allocated = await caller.put(f"/allocation/{reference}/allocatewithservicegroup/table")
    assert allocated.status_code == (200 if eligible else 400)


@pytest.mark.asyncio
@pytest.mark.parametrize(("reference", "tags"), TAGGED)
async def test_tags_hold_for_default_rules_too(caller: Caller, reference: str, tags: list[str]) -> None:
    service = {1: {"Alcohol": "SBX_ALCOHOL", "Flammables": "SBX_FLAMMABLES"}.get(tags[0]), 2: "SBX_BOTH"}[len(tags)]
    assert (await caller.put(cheapest(reference))).json()[0]["CarrierServiceReference"] == service


@pytest.mark.asyncio
@pytest.mark.parametrize("why", FAILING)
async def test_each_failing_example_fails_and_says_so_on_the_consignment(caller: Caller, why: str) -> None:
    reference = FAILING[why][0]
    response = await caller.put(cheapest(reference))
    assert (response.status_code, response.json()["Code"]) == (400, "AllocationFailedException")
    document = await caller.consignment(reference)
    assert document["ConsignmentState"] == "AllocationFailed"
    assert document["FailedAllocation"] == {
        "CarrierServiceGroupReference": None,
        "MpdCarrierServiceGroupName": None,
        "MpdCarrierServiceReference": None,
        "MpdCarrierServiceName": None,
        "AttemptedAllocationDate": "2026-03-04T10:00:00.0000000+00:00",
        "Message": "No carrier service is available for the consignment.",
    }


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("rule", "allowed", "excluded", "reason"),
    [
        ({"weight_kg": {"at_least": 1, "at_most": 2}}, {"Packages": [package(2)]}, [package(2.001)], DIMENSIONS),
        ({"weight_kg": {"at_least": 1, "at_most": 2}}, {"Packages": [package(1)]}, [package(0.999)], DIMENSIONS),
        ({"weight_kg": {"at_most": 4}}, {"Packages": [package(), package()]}, [package()] * 3, DIMENSIONS),
        (
            {"length_cm": {"at_most": 30}},
            {"Packages": [package(sides=(30, 1, 1))]},
            [package(), package(sides=(1, 30.1, 1))],
            DIMENSIONS,
        ),
        # Twice the sum of all sides but the longest, whatever they are called.
        (
            {"girth_cm": {"at_most": 60}},
            {"Packages": [package(sides=(30, 20, 10))]},
            [package(), package(sides=(10.1, 99, 20))],
            DIMENSIONS,
        ),
        (
            {"max_value": 25},
            {"Packages": [package(), package()]},
            [package(), package(value=12.51)],
            "This service is not available for the value of the consignment.",
        ),
    ],
)
async def test_each_measure_is_held_to_its_rule(
    caller: Caller, rule: dict[str, Any], allowed: dict[str, Any], excluded: list[Any], reason: str
) -> None:
    await only(caller, **rule)
    assert await only_reason(caller, **allowed) is None
    assert await only_reason(caller, Packages=excluded) == reason


def addresses(country: str, postcode: str) -> list[Any]:
    return [request()["Addresses"][0], address("Destination", country, postcode)]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("rule", "allowed", "excluded"),
    [
        ({"excluded_postcodes": ["M2"]}, ("GB", "M20 1AA"), ("GB", "m2 6lw")),
        ({"excluded_countries": ["US"]}, ("GB", "M1 1AA"), ("US", "10001")),
        ({"countries": ["GB"]}, ("GB", "M1 1AA"), ("IE", "D02 X285")),
        ({"excluded_zips": ["902-905"]}, ("US", "90601"), ("US", "90501-1234")),
        ({"excluded_zips": ["902"], "excluded_postcodes": ["E9"]}, ("FR", "90200"), ("US", "90210")),
    ],
)
async def test_each_place_is_held_to_its_rule(
    caller: Caller, rule: dict[str, Any], allowed: tuple[str, str], excluded: tuple[str, str]
) -> None:
    await only(caller, **rule)
    assert await only_reason(caller, Addresses=addresses(*allowed)) is None
    assert await only_reason(caller, Addresses=addresses(*excluded)) == ADDRESSES


@pytest.mark.parametrize(
    ("postcode", "rule", "inside"),
    [
        *(("M2 6LW", rule, True) for rule in ("M", "M2", "M2 6", "M2 6LW", "m2 6lw")),
        *(("M2 6LW", rule, False) for rule in ("ME", "M20", "M2 7", "M2 6LX", "2", "", "not a postcode")),
        *(("M26LW", rule, True) for rule in ("M2", "M2 6")),
        ("EC1A 1BB", "EC1A", True),
        ("EC1A 1BB", "EC1", False),
        ("", "M", False),
        ("ABC", "A", False),
    ],
)
def test_a_postcode_lies_in_its_own_area_district_sector_and_unit(postcode: str, rule: str, inside: bool) -> None:
    assert lies_in(postcode, rule) is inside


@pytest.mark.parametrize(
    ("code", "rule", "inside"),
    [("90210", "902", True), ("90210", "900-902", True), ("90210", "903-905", False), ("90", "900-905", False)],
)
def test_a_zip_lies_in_its_prefix(code: str, rule: str, inside: bool) -> None:
    assert zip_lies_in(code, rule) is inside


@pytest.mark.asyncio
async def test_several_reasons_are_strung_together_as_published(caller: Caller) -> None:
    await only(caller, countries=["GB"], weight_kg={"at_most": 1})
    abroad = {"Addresses": addresses("US", "10001"), "Packages": [package(5)]}
    assert await only_reason(caller, **abroad) == f"{ADDRESSES} {DIMENSIONS}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("service", "reason", "available", "rates"),
    [
        ("SBX_UNPRICED", "No cost and/or pricing data configured", True, False),
        ("SBX_UNAVAILABLE", "Service availability data not configured", False, True),
        ("SBX_DISABLED", "Service availability data not configured", False, True),
    ],
)
async def test_what_is_not_configured_has_the_published_reasons(
    caller: Caller, service: str, reason: str, available: bool, rates: bool
) -> None:
    result = await caller.read(f"/quotes/consignment/{GROUPED}")
    found = next(item for item in result["UnqualifiedServices"] if item["MpdCarrierServiceReference"] == service)
    assert (found["ExclusionReason"], found["Available"], found["Rates"]) == (reason, available, rates)


# The sandbox's present is a Wednesday, 4 March 2026, 10:00.
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("service", "dates", "collected"),
    [
        ({}, {}, "2026-03-04T17:00"),
        ({"cutoff": "09:30"}, {}, "2026-03-05T09:30"),
        ({"cutoff": "10:00"}, {}, "2026-03-05T10:00"),
        ({"collects_on": [0]}, {}, "2026-03-09T17:00"),
        ({}, {"ShippingDate": "2026-04-01T00:00:00Z"}, "2026-04-01T17:00"),
        ({}, {"ShippingDate": "2026-04-01"}, "2026-04-01T17:00"),
        ({"collects_on": [0]}, {"ShippingDate": "2026-04-01T00:00:00Z"}, None),
        ({}, {"RequiredDeliveryDate": {"Date": "2026-03-05T00:00:00Z"}}, "2026-03-04T17:00"),
        ({}, {"RequestedDeliveryDate": {"Date": "2026-03-04T00:00:00Z"}}, None),
        ({"transit_days": 2}, {"RequiredDeliveryDate": {"Date": "2026-03-05T00:00:00Z"}}, None),
        ({"delivers_on": [0]}, {"RequiredDeliveryDate": {"Date": "2026-03-08T00:00:00Z"}}, None),
        ({"delivers_on": [0]}, {"RequiredDeliveryDate": {"Date": "2026-03-09T00:00:00Z"}}, "2026-03-04T17:00"),
    ],
)
async def test_dates_are_hard_limits(
    caller: Caller, service: dict[str, Any], dates: dict[str, Any], collected: str | None
) -> None:
    await only(caller, **service)
    reference = await create(caller, **dates)
    response = await caller.put(f"/allocation/{reference}/allocatewithservicegroup/ONLY")
    if collected is None:
        assert response.status_code == 400
    else:
        assert (await caller.consignment(reference))["CollectionDate"].startswith(collected)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("service", "day", "collected"),
    [
        ({}, "2026-03-10", "2026-03-09"),
        ({"collects_on": [4], "delivers_on": [0]}, "2026-03-09", "2026-03-06"),
        ({"delivers_on": [0]}, "2026-03-10", None),
        ({"transit_days": 3}, "2026-03-06", None),
    ],
)
async def test_an_exact_date_is_met_or_refused(
    caller: Caller, service: dict[str, Any], day: str, collected: str | None
) -> None:
    await only(caller, **service)
    exactly = {"Date": f"{day}T00:00:00Z", "IsToBeExactlyOnTheDateSpecified": True}
    reference = await create(caller, RequiredDeliveryDate=exactly)
    response = await caller.put(f"/allocation/{reference}/allocatewithservicegroup/ONLY")
    document = await caller.consignment(reference)
    if collected is None:
        assert response.status_code == 400
    else:
        assert document["CollectionDate"].startswith(collected)
        assert document["LatestDeliveryDate"].startswith(day)


@pytest.mark.asyncio
async def test_an_exact_date_with_a_shipping_date_leaves_no_choice(caller: Caller) -> None:
    await only(caller)
    exactly = {"Date": "2026-03-10T00:00:00Z", "IsToBeExactlyOnTheDateSpecified": True}
    assert await only_reason(caller, RequiredDeliveryDate=exactly, ShippingDate="2026-03-09") is None
    assert await only_reason(caller, RequiredDeliveryDate=exactly, ShippingDate="2026-03-08") == DATES


@pytest.mark.asyncio
async def test_equal_prices_go_to_the_earlier_delivery_then_to_the_lower_reference(caller: Caller) -> None:
    services = {
        name: {"name": name, "carrier": "UPS", "net": 1, "transit_days": days}
        for name, days in (("LATE", 2), ("SOON_2", 1), ("SOON_1", 1))
    }
    await caller.world(services=services, groups={"equal": {"name": "Equal", "services": list(services)}})
    reference = await create(caller)
    response = await caller.put(f"/allocation/{reference}/allocatewithservicegroup/equal")
    assert response.json()[0]["CarrierServiceReference"] == "SOON_1"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("mode", "filters", "service"),
    [
        ("include", {"ServiceDirection": "Inbound"}, "SBX_RETURN"),
        ("include", {"ServiceDirection": "Inbound", "IsDropOff": False}, "SBX_COLLECT"),
        ("include", {"ServiceDirection": "Inbound", "IsDropOff": False, "IsPickup": False}, None),
        ("include", {"ServiceDirection": "Inbound", "IsPickup": True}, "SBX_RETURN"),
        ("only", {"ServiceDirection": "Inbound", "IsPickup": True}, "SBX_COLLECT"),
        ("only", {}, "SBX_RETURN"),
        # The one service of both directions passes, and costs more than the one that does not.
        ("include", {"ServiceDirection": "Outbound"}, "SBX_COLLECT"),
    ],
)
async def test_filters_narrow_what_the_rules_leave(
    caller: Caller, mode: str, filters: dict[str, Any], service: str | None
) -> None:
    await caller.switch(filters=mode)
    reference = await create(caller, Direction="Inbound")
    response = await caller.put("/allocation/allocateConsignmentsWithServiceFilters", many(reference, Filters=filters))
    assert response.json()[0]["CarrierServiceReference"] == service


@pytest.mark.parametrize(
    ("net", "written"), [("5.99", "5.99 1.20 7.19"), ("5.9900", "5.9900 1.1980 7.1880"), ("5", "5 1.00 6.00")]
)
def test_prices_of_equal_worth_keep_their_own_scales(net: str, written: str) -> None:
    price = Service(reference="A", name="A", carrier="A", net=Decimal(net)).price()
    assert price is not None
    assert f"{price.net} {price.tax} {price.gross}" == written
