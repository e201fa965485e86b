"""Bulk requests: they check and queue, and the background worker allocates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from allocation_gateway.sandbox.journal import Arrival
from allocation_gateway.sandbox.ship.engine import Job
from allocation_gateway.sandbox.ship.seed import BULK_SHIPMENTS, DEFAULT_RULES_SHIPMENT, own
from allocation_gateway.sandbox.ship.selection import DefaultRules, WithGroup
from sandbox.calling import (
    CANCELLED,
    FLAMMABLE,
    FRAGILE,
    HEAVY,
    NOW,
    UNKNOWN,
    Caller,
    codes,
    properties,
)

pytestmark = pytest.mark.asyncio

FIRST, SECOND, THIRD = BULK_SHIPMENTS
GROUP = "/shipments/allocate/service_group"


def in_group(*references: str, **members: Any) -> dict[str, Any]:
    return {"shipments": list(references), "service_group": "exampleSG123", **members}


async def booked(caller: Caller, reference: str) -> str | None:
    if await caller.settled(reference) != "allocated":
        return None
    return str((await caller.shipment(reference))["allocation"]["carrier"]["service_reference"])


@pytest.mark.parametrize("spelling", ["allocate", "allocation"])
@pytest.mark.parametrize(
    ("path", "members", "service"),
    [
        ("", {}, "FF_DPD_Next_Day_103386"),
        ("/service", {"carrier_service_reference": "FF_DPD_Two_Day_103386"}, "FF_DPD_Two_Day_103386"),
        ("/service_group", {"service_group": "BAW_PREM_01"}, "FF_DPD_1200_103384"),
        ("/filters", {"filters": {"direction": "outbound", "tags": ["air"]}}, "SBX_HAZ_AIR"),
    ],
    ids=["default", "service", "group", "filters"],
)
async def test_every_form_on_both_spellings_is_allocated_by_the_worker(
    caller: Caller, spelling: str, path: str, members: dict[str, Any], service: str
) -> None:
    response = await caller.put(f"/shipments/{spelling}{path}", {"shipments": [FIRST, SECOND], **members})
    assert response.status_code == 202
    assert [await booked(caller, reference) for reference in (FIRST, SECOND)] == [service, service]


async def test_until_the_worker_comes_a_queued_shipment_is_allocating_and_locked(lazy: Caller) -> None:
    await lazy.put(GROUP, in_group(FIRST))
    assert await lazy.state(FIRST) == "allocating"
    assert codes(await lazy.put(f"/shipments/{FIRST}/allocate")) == ["shipment_invalid_state"]
    assert (await lazy.put(f"/shipments/{FIRST}/cancel")).status_code == 409
    assert (await lazy.journal(FIRST))["allocations"] == 0


async def test_the_journal_shows_the_way_through_allocating_and_the_request_that_caused_it(caller: Caller) -> None:
    await caller.put(GROUP, in_group(FIRST))
    await caller.settled(FIRST)
    events = (await caller.journal(FIRST))["events"]
    assert [event["effect"] for event in events] == ["allocating", "allocated"]
    assert {event["arrival"]["request"] for event in events} == {"PUT /shipments/allocate/service_group"}


async def test_a_queued_shipment_that_no_service_can_take_becomes_allocation_failed(caller: Caller) -> None:
    assert (await caller.put(GROUP, in_group(HEAVY))).json()["queued"] == [HEAVY]
    assert await caller.settled(HEAVY) == "allocation_failed"


async def test_shipments_in_the_wrong_state_are_rejected_by_code(caller: Caller) -> None:
    response = await caller.put(GROUP, in_group(CANCELLED, FIRST, UNKNOWN, own(998)))
    assert response.json()["queued"] == [FIRST]
    assert {item["code"]: item["references"] for item in response.json()["rejected"]} == {
        "shipment_invalid_state": [CANCELLED],
        "shipment_not_found": [UNKNOWN, own(998)],
    }


async def test_the_default_rules_form_counts_in_brackets_and_links_what_it_rejects(caller: Caller) -> None:
    document = (await caller.put("/shipments/allocate", {"shipments": [FIRST, SECOND, UNKNOWN]})).json()
    assert document["message"] == (
        "2 shipment(s) queued for allocation successfully. 1 shipment(s) rejected for allocation."
    )
    assert [(link["rel"], link["type"], link["reference"]) for link in document["_links"]] == [
        ("shipment", "rejected", UNKNOWN)
    ]


async def test_the_filters_form_answers_with_links_and_a_reference(caller: Caller) -> None:
    body = {"shipments": [FIRST, UNKNOWN], "filters": {"direction": "outbound"}}
    document = (await caller.put("/shipments/allocate/filters", body)).json()
    assert document["reference"].startswith("af_")
    assert [link["reference"] for link in document["shipments"]] == [FIRST]
    assert document["message"] == "Shipments queued for allocation successfully"


@pytest.mark.parametrize(
    ("filters", "service"),
    [
        ({"direction": "outbound"}, "FF_DPD_Next_Day_103386"),
        ({"direction": "outbound", "tags": ["dangerous"]}, "SBX_HAZ_ROAD"),
        ({"direction": "outbound", "tags": ["dangerous", "fragile"]}, None),
        ({"direction": "inbound"}, "BAW_PREM_01"),
        ({"direction": "inbound", "pickup": True, "drop_off": False}, None),
        ({"direction": "inbound", "pickup": False, "drop_off": True}, "BAW_PREM_01"),
    ],
    ids=str,
)
async def test_filters_leave_the_services_that_match(caller: Caller, filters: Any, service: str | None) -> None:
    await caller.put("/shipments/allocate/filters", {"shipments": [FIRST], "filters": filters})
    assert await booked(caller, FIRST) == service


@pytest.mark.parametrize(
    ("value", "service"),
    [("require", "FF_DPD_Next_Day_103386"), ("prefer", "FF_DPD_Next_Day_103386"), ("prevent", "BAW_PREM_01")],
)
async def test_proof_of_delivery_decides_among_services(caller: Caller, value: str, service: str) -> None:
    """Without it the cheapest would win: the service that retires here is made cheapest and gives no proof."""
    services = {
        "BAW_PREM_01": {"prices": [{"net": 1}]},
        "FF_DPD_Two_Day_103386": {"enabled": False},
        "FF_DPD_Sunday_103386": {"enabled": False},
        "SBX_HAZ_ROAD": {"enabled": False},
        "SBX_HAZ_AIR": {"enabled": False},
    }
    await caller.control("PUT", "world", {"ship": {"services": services}})
    capability = {"type": "proof_of_delivery", "value": value}
    await caller.put("/shipments/allocate", {"shipments": [FIRST], "capabilities": capability})
    assert await booked(caller, FIRST) == service


async def test_prevented_proof_of_delivery_excludes_a_service_that_requires_it(caller: Caller) -> None:
    body = {
        "shipments": [FLAMMABLE],
        "service_group": "dangerousGoods",
        "capabilities": [{"type": "proof_of_delivery", "value": "prevent"}],
    }
    await caller.put(GROUP, body)
    assert await caller.settled(FLAMMABLE) == "allocation_failed"


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({"service_group": "x"}, "required_property_missing", "shipments"),
        (in_group(), "too_few_elements", "shipments"),
        (in_group(*[own(number) for number in range(101)]), "too_many_elements", "shipments"),
        (in_group(FIRST, FIRST), "duplicate_references", "shipments[1]"),
        (in_group(FIRST, "sp_1"), "invalid_reference_format", "shipments[1]"),
        ({"shipments": [FIRST, 7], "service_group": "x"}, "invalid_format", "shipments[1]"),
        ({"shipments": FIRST, "service_group": "x"}, "invalid_format", "shipments"),
        ({"shipments": [FIRST]}, "required_property_missing", "service_group"),
        ({"shipments": [FIRST], "service_group": ""}, "value_too_short", "service_group"),
        ({"shipments": [FIRST], "service_group": 7}, "invalid_format", "service_group"),
        (in_group(FIRST, capabilities="proof"), "invalid_format", "capabilities"),
        (in_group(FIRST, capabilities=["proof"]), "invalid_format", "capabilities[0]"),
        (in_group(FIRST, capabilities={"value": "require"}), "required_property_missing", "capabilities.type"),
        (
            in_group(FIRST, capabilities=[{"type": "speed", "value": "require"}]),
            "invalid_value",
            "capabilities[0].type",
        ),
        (
            in_group(FIRST, capabilities={"type": "proof_of_delivery", "value": "perhaps"}),
            "invalid_value",
            "capabilities.value",
        ),
    ],
)
async def test_a_wrong_request_is_refused_as_a_whole_with_the_path_of_what_is_wrong(
    caller: Caller, body: Any, code: str, path: str
) -> None:
    response = await caller.put(GROUP, body)
    assert response.status_code == 400
    assert response.json()["code"] == "validation_error"
    assert (codes(response), properties(response)) == ([code], [path])
    assert await caller.state(FIRST) == "unallocated"


@pytest.mark.parametrize(
    ("filters", "code", "path"),
    [
        (None, "required_property_missing", "filters"),
        ({}, "required_property_missing", "filters.direction"),
        ({"direction": "sideways"}, "invalid_direction", "filters.direction"),
        ({"direction": "outbound", "pickup": "yes"}, "invalid_format", "filters.pickup"),
        ({"direction": "outbound", "tags": ["a", "a"]}, "duplicate_tags", "filters.tags[1]"),
        ({"direction": "outbound", "tags": [str(tag) for tag in range(11)]}, "too_many_elements", "filters.tags"),
    ],
)
async def test_wrong_filters_are_refused(caller: Caller, filters: Any, code: str, path: str) -> None:
    response = await caller.put("/shipments/allocate/filters", {"shipments": [FIRST], "filters": filters})
    assert (response.status_code, codes(response), properties(response)) == (400, [code], [path])


async def test_all_violations_are_named_at_once(caller: Caller) -> None:
    response = await caller.put(GROUP, {"shipments": [FIRST, FIRST]})
    assert codes(response) == ["duplicate_references", "required_property_missing"]


@pytest.mark.parametrize(
    ("path", "members", "status", "code"),
    [
        ("service", {"carrier_service_reference": "NO_SUCH"}, 521, "carrier_service_not_found"),
        ("service_group", {"service_group": "NoSuch"}, 404, "not_found"),
    ],
)
async def test_an_unknown_service_or_group_is_refused_before_anything_is_queued(
    caller: Caller, path: str, members: Any, status: int, code: str
) -> None:
    response = await caller.put(f"/shipments/allocate/{path}", {"shipments": [FIRST], **members})
    assert (response.status_code, codes(response)) == (status, [code])
    assert await caller.state(FIRST) == "unallocated"


async def test_jobs_are_done_in_the_order_in_which_they_were_queued(caller: Caller) -> None:
    order = [THIRD, FIRST, DEFAULT_RULES_SHIPMENT, FRAGILE, SECOND]
    await caller.put(GROUP, in_group(*order))
    for reference in order:
        await caller.settled(reference)
    sequences = [(await caller.journal(reference))["events"][-1]["sequence"] for reference in order]
    assert sequences == sorted(sequences)


async def test_a_shipment_that_was_reset_is_not_allocated_by_what_was_queued_before(lazy: Caller) -> None:
    ship = lazy.sandbox.ship
    shipment = ship.world.shipments[FIRST]
    job = Job(shipment, shipment.life, DefaultRules(), None, Arrival(1, NOW, "PUT /shipments/allocate"))
    ship.restore(FIRST)
    ship.engine.process(job)
    assert shipment.state == "unallocated"
    ship.engine.process(replace(job, life=shipment.life))
    assert shipment.state == "allocated"


async def test_a_queued_job_whose_selection_has_lost_its_meaning_fails_the_shipment(lazy: Caller) -> None:
    ship = lazy.sandbox.ship
    shipment = ship.world.shipments[FIRST]
    arrival = Arrival(1, NOW, "PUT /shipments/allocate/service_group")
    ship.engine.process(Job(shipment, shipment.life, WithGroup("NoSuch"), None, arrival))
    assert [event["effect"] for event in (await lazy.journal(FIRST))["events"]] == ["allocating", "allocation_failed"]


async def test_a_defect_in_one_job_does_not_end_the_processing_of_others(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caller.sandbox.ship.world.shipments[FIRST].details = None  # type: ignore[assignment] # that is the defect
    await caller.put(GROUP, in_group(FIRST, SECOND))
    assert await caller.settled(SECOND) == "allocated"
    assert "the sandbox failed on a queued job" in caplog.text


async def test_a_reset_forgets_what_is_queued(lazy: Caller) -> None:
    await lazy.put(GROUP, in_group(FIRST))
    await lazy.control("POST", "reset")
    assert await lazy.state(FIRST) == "unallocated"
    assert (await lazy.journal(FIRST))["events"] == []
