"""The control paths: journal, requests, world, clock, reset, health."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from allocation_gateway.sandbox.journal import Arrival, Journal
from allocation_gateway.sandbox.ship.seed import DEFAULT_RULES_SHIPMENT, GOLDEN_SHIPMENT
from sandbox.calling import HEADERS, NOW, ON_DEMAND, OTHER_ON_DEMAND, UNKNOWN, Caller, until
from sandbox.shipping import create

GROUP = f"/shipments/{GOLDEN_SHIPMENT}/allocate/service_group/valuableGoods"


@pytest.mark.asyncio
async def test_control_paths_need_no_key_and_their_mistakes_are_json(caller: Caller) -> None:
    assert (await caller.control("GET", "health")) == {"status": "ok", "apis": ["consignments", "ship"]}
    assert (await caller.control_response("GET", "nothing")).status_code == 404
    assert (await caller.control_response("POST", "health")).status_code == 405
    response = await caller.http.put(f"{caller.sandbox.control_url}/switches", content=b"{")
    assert (response.status_code, list(response.json())) == (400, ["error"])


@pytest.mark.asyncio
async def test_the_journal_tells_what_was_booked_and_by_which_request(caller: Caller) -> None:
    await caller.ship("GET", f"/shipments/{GOLDEN_SHIPMENT}")
    await caller.put(GROUP)
    await caller.ship("DELETE", f"/shipments/{GOLDEN_SHIPMENT}/allocation")
    journal = await caller.journal(GOLDEN_SHIPMENT)
    assert journal == {
        "reference": GOLDEN_SHIPMENT,
        "allocations": 1,
        "deallocations": 1,
        "events": [
            {
                "sequence": 1,
                "time": NOW.isoformat(),
                "reference": GOLDEN_SHIPMENT,
                "arrival": {
                    "sequence": 2,
                    "time": NOW.isoformat(),
                    "request": "PUT /shipments/{reference}/allocate/service_group/{group_ref}",
                },
                "effect": "allocated",
                "service_reference": "FF_LINET-00001",
                "net": 2.0,
                "currency": "GBP",
            },
            {
                "sequence": 2,
                "time": NOW.isoformat(),
                "reference": GOLDEN_SHIPMENT,
                "arrival": {
                    "sequence": 3,
                    "time": NOW.isoformat(),
                    "request": "DELETE /shipments/{reference}/allocation",
                },
                "effect": "deallocated",
                "service_reference": "FF_LINET-00001",
            },
        ],
    }


@pytest.mark.asyncio
async def test_a_refused_request_leaves_no_trace_in_the_journal(caller: Caller) -> None:
    await caller.put(f"/shipments/{GOLDEN_SHIPMENT}/allocate/service/NO_SUCH")
    await caller.http.put(caller.sandbox.ship_base_url + GROUP, headers={**HEADERS, "x-api-key": "wrong"})
    assert (await caller.journal(GOLDEN_SHIPMENT))["events"] == []


@pytest.mark.asyncio
async def test_the_journal_says_whose_request_an_effect_came_from(caller: Caller) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    await caller.ship("PUT", f"/shipments/{GOLDEN_SHIPMENT}/allocate", headers={"traceparent": traceparent})
    event = (await caller.journal(GOLDEN_SHIPMENT))["events"][0]
    assert event["arrival"]["traceparent"] == traceparent


@pytest.mark.asyncio
async def test_the_journal_of_all_lists_references_in_pages(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allocation_gateway.sandbox.control.PAGE", 1)
    for reference in (ON_DEMAND, GOLDEN_SHIPMENT):
        await caller.put(f"/shipments/{reference}/allocate")
    first = await caller.control("GET", "journal")
    assert (first["allocations"], first["references"][0]["reference"]) == (2, GOLDEN_SHIPMENT)
    second = await caller.control("GET", f"journal?after={first['next']}")
    assert second["references"] == [{"reference": ON_DEMAND, "allocations": 1, "deallocations": 0}]
    assert second["next"] is None


def test_the_journal_forgets_old_events_but_never_counts() -> None:
    journal = Journal(lambda: NOW, limit=2)
    for _ in range(5):
        journal.write("a", "allocated", Arrival(1, NOW, "PUT /x"))
    journal.write("b", "deallocated", Arrival(2, NOW, "PUT /x"))
    assert [event["sequence"] for event in journal.about("a")["events"]] == [5]
    assert journal.about("a")["allocations"] == 5
    assert journal.about("b")["deallocations"] == 1


@pytest.mark.asyncio
async def test_requests_are_counted_by_method_and_template(caller: Caller) -> None:
    await caller.put(GROUP)
    for reference in (ON_DEMAND, UNKNOWN):
        await caller.ship("GET", f"/shipments/{reference}")
    await caller.ship("GET", "/nowhere")
    await caller.ship("PATCH", "/nowhere/else")
    assert await caller.control("GET", "requests") == {
        "total": 5,
        "counts": {
            "(unmatched)": 2,
            "GET /shipments/{reference}": 2,
            "PUT /shipments/{reference}/allocate/service_group/{group_ref}": 1,
        },
    }


@pytest.mark.asyncio
async def test_the_world_can_be_read_and_written_back(caller: Caller) -> None:
    world = await caller.control("GET", "world")
    assert list(world["ship"]) == ["carriers", "services", "groups"]
    assert await caller.control("PUT", "world", world) == world


@pytest.mark.asyncio
async def test_a_price_set_over_http_keeps_its_scale(caller: Caller) -> None:
    body = b'{"ship": {"services": {"FF_LINET-00001": {"prices": [{"net": 1.230}]}}}}'
    await caller.http.put(f"{caller.sandbox.control_url}/world", content=body)
    assert b'"net":1.230,"gross":1.23' in (await caller.put(GROUP)).content


@pytest.mark.asyncio
async def test_carriers_services_and_groups_can_be_added(caller: Caller) -> None:
    service = {
        "name": "By foot",
        "carrier": "WALK",
        "prices": [{"net": 0.50}],
        "delivery": {"kind": "within", "hours": 48},
    }
    ship = {
        "carriers": {"WALK": {"name": "Walkers"}},
        "services": {"FOOT": service},
        "groups": {"slow/est": {"services": ["FOOT"]}},
    }
    await caller.control("PUT", "world", {"ship": ship})
    document = (await caller.put(f"/shipments/{DEFAULT_RULES_SHIPMENT}/allocate/service_group/slow%2Fest")).json()
    assert document["carrier"] == {
        "reference": "WALK",
        "name": "Walkers",
        "service_reference": "FOOT",
        "service_name": "By foot",
    }


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "ship",
    [
        {"services": {"FF_LINET-00001": {"colour": "red"}}},
        {"services": {"FF_LINET-00001": {"enabled": "yes"}}},
        {"services": {"FF_LINET-00001": {"prices": [{"net": "NaN"}]}}},
        {"services": {"FF_LINET-00001": {"prices": [{"net": 1e-13}]}}},
        {"services": {"FF_LINET-00001": {"prices": [{"net": 1e12}]}}},
        {"services": {"FF_LINET-00001": {"delivery": {"kind": "days", "days": 1, "collects_on": []}}}},
        {"services": {"FF_LINET-00001": {"carrier": "NO_SUCH"}}},
        {"services": {"NEW": {"name": "incomplete"}}},
        {"groups": {"valuableGoods": {"services": ["NO_SUCH"]}}},
        {"groups": {"new": {"services": ["FF_LINET-00001"]}, "bad": {"services": ["NO_SUCH"]}}},
        {"ships": {}},
        [],
    ],
    ids=str,
)
async def test_a_wrong_change_of_the_world_is_refused_as_a_whole(caller: Caller, ship: Any) -> None:
    before = await caller.control("GET", "world")
    response = await caller.control_response("PUT", "world", {"ship": ship})
    assert response.status_code == 400
    assert response.json()["error"].startswith("ship: ")
    assert await caller.control("GET", "world") == before


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [{}, {"advance": "1"}, {"advance": True}, {"advance": 10**15}, {"advance": -(10**12)}])
async def test_a_wrong_move_of_the_clock_is_refused(caller: Caller, body: Any) -> None:
    response = await caller.control_response("POST", "clock", body)
    assert response.status_code == 400
    assert await caller.control("GET", "clock") == {"time": NOW.isoformat()}


@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [3600, -7200])
async def test_all_that_is_said_of_time_agrees(caller: Caller, seconds: int) -> None:
    """Whoever compares the date of an allocation with the header `Date` finds one clock, wherever it was moved."""
    await caller.control("POST", "clock", {"advance": seconds})
    response = await caller.http.put(f"{caller.sandbox.ship_base_url}{GROUP}", headers=HEADERS)
    shown = await caller.http.get(f"{caller.sandbox.ship_base_url}/shipments/{GOLDEN_SHIPMENT}", headers=HEADERS)
    moved = NOW + timedelta(seconds=seconds)
    assert [parsedate_to_datetime(one.headers["date"]) for one in (response, shown)] == [moved, moved]
    assert datetime.fromisoformat(shown.json()["allocation"]["allocation_date"]) == moved


@pytest.mark.asyncio
async def test_a_reset_puts_everything_back(caller: Caller) -> None:
    pristine = await caller.shipment(GOLDEN_SHIPMENT)
    world = await caller.control("GET", "world")
    created = await create(caller)
    await caller.put(GROUP)
    await caller.switch(state_case="title")
    await caller.fault("status", status=500)
    await caller.control("PUT", "world", {"ship": {"services": {"FF_LINET-00001": {"enabled": False}}}})
    await caller.control("POST", "clock", {"advance": 60})
    assert await caller.control("POST", "reset") == {"reset": "all", "kept": []}
    assert await caller.control("GET", "requests") == {"total": 0, "counts": {}}
    assert await caller.shipment(GOLDEN_SHIPMENT) == pristine
    assert await caller.control("GET", "world") == world
    assert (await caller.journal(GOLDEN_SHIPMENT))["events"] == []
    assert (await caller.control("GET", "clock")) == {"time": NOW.isoformat()}
    assert (await caller.ship("GET", f"/shipments/{created}")).status_code == 404


@pytest.mark.asyncio
async def test_a_reset_may_keep_switches_and_faults(caller: Caller) -> None:
    await caller.switch(state_case="title")
    await caller.fault("status", status=500, match={"method": "DELETE"})
    assert await caller.control("POST", "reset?keep=switches,faults") == {
        "reset": "all",
        "kept": ["faults", "switches"],
    }
    assert await caller.state(ON_DEMAND) == "Unallocated"
    assert len((await caller.control("GET", "faults"))["faults"]) == 1
    assert (await caller.control_response("POST", "reset?keep=journal")).status_code == 400


@pytest.mark.asyncio
async def test_a_reset_of_one_shipment_changes_nothing_else(caller: Caller) -> None:
    for reference in (ON_DEMAND, OTHER_ON_DEMAND):
        await caller.put(f"/shipments/{reference}/allocate")
    await caller.switch(state_case="title")
    assert await caller.control("POST", f"reset?reference={ON_DEMAND}") == {"reset": ON_DEMAND}
    assert await caller.state(ON_DEMAND) == "Unallocated"
    assert await caller.state(OTHER_ON_DEMAND) == "Allocated"
    assert (await caller.journal(ON_DEMAND))["allocations"] == 1
    assert (await caller.control_response("POST", f"reset?reference={UNKNOWN}")).status_code == 404


@pytest.mark.asyncio
async def test_a_created_shipment_can_be_reset_too(caller: Caller) -> None:
    reference = await create(caller)
    await caller.put("/shipments/allocate", {"shipments": [reference]})
    await until(lambda: booking(caller, reference))
    await caller.control("POST", f"reset?reference={reference}")
    assert await caller.state(reference) == "unallocated"


async def booking(caller: Caller, reference: str) -> Any:
    return (await caller.shipment(reference)).get("allocation")
