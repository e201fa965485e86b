"""Journal, counts, faults, clock, catalogue and resets work for the Consignments API as for any other."""

from __future__ import annotations

from decimal import Decimal

import httpx
import pytest
from allocation_gateway.sandbox.consignments.seed import QUOTED, in_state
from sandbox.calling import until
from sandbox_consignments.calling import PLAIN, Caller, cheapest, create, many

pytestmark = pytest.mark.asyncio

TEMPLATE = "/allocation/{consignmentReference}/allocatewithcheapestquote"


async def test_the_journal_tells_what_happened_and_by_which_request(caller: Caller) -> None:
    await caller.put(cheapest(PLAIN[0]))
    await caller.put(f"/consignments/{PLAIN[0]}/deallocate")
    await caller.put(f"/consignments/{PLAIN[0]}/cancel")
    journal = await caller.journal(PLAIN[0])
    assert (journal["allocations"], journal["deallocations"]) == (1, 1)
    allocated, deallocated, cancelled = journal["events"]
    assert (allocated["effect"], allocated["net"], allocated["currency"]) == ("allocated", 3.1042, "GBP")
    assert allocated["arrival"]["request"] == f"PUT {TEMPLATE}"
    assert (deallocated["effect"], deallocated["service_reference"]) == ("deallocated", "MPD_RMDTPS48HNAUT")
    assert (cancelled["effect"], cancelled["before"], cancelled["after"]) == (
        "state_changed",
        "Unallocated",
        "Cancelled",
    )


async def test_requests_are_counted_by_the_documented_spelling(caller: Caller) -> None:
    await caller.put("/ALLOCATION/x/AllocateWithCheapestQuote/")
    await caller.put("/allocation/no/such/path/at/all")
    counts = (await caller.control("GET", "requests"))["counts"]
    assert counts == {f"PUT {TEMPLATE}": 1, "(unmatched)": 1}


async def test_a_fault_strikes_by_template_and_by_reference(caller: Caller) -> None:
    await caller.fault("status", match={"path": TEMPLATE}, status=503)
    await caller.fault("status", match={"reference": PLAIN[1]}, status=502)
    assert (await caller.put("/allocation/allocate", many(*PLAIN))).status_code == 502
    assert (await caller.put(cheapest(PLAIN[0]))).status_code == 503
    assert (await caller.put(cheapest(PLAIN[0]))).status_code == 200


async def test_an_answer_may_be_lost_after_the_effect(caller: Caller) -> None:
    await caller.fault("drop", when="after")
    with pytest.raises(httpx.RemoteProtocolError):
        await caller.put(cheapest(PLAIN[0]))
    assert await caller.bookings(PLAIN[0]) == 1
    assert await caller.state(PLAIN[0]) == "Allocated"


async def test_an_effect_may_come_after_the_connection_is_gone(caller: Caller) -> None:
    await caller.fault("late_effect", seconds=0.05)
    with pytest.raises(httpx.RemoteProtocolError):
        await caller.put(cheapest(PLAIN[0]))

    async def booked() -> bool | None:
        return await caller.bookings(PLAIN[0]) == 1 or None

    assert await until(booked)


async def test_one_consignment_can_be_put_back(caller: Caller) -> None:
    before = await caller.consignment(PLAIN[0])
    await caller.put("/allocation/allocate", many(*PLAIN))
    await caller.call("GET", f"/labels/{PLAIN[0]}")
    await caller.control("POST", f"reset?reference={PLAIN[0]}")
    assert await caller.consignment(PLAIN[0]) == before
    assert await caller.state(PLAIN[1]) == "Allocated"
    assert await caller.bookings(PLAIN[0]) == 1
    unknown = await caller.control_response("POST", "reset?reference=EC-NO-SUCH")
    assert unknown.status_code == 404


async def test_a_failed_consignment_can_be_put_back(caller: Caller) -> None:
    before = await caller.consignment("EC-SBX-BAD-001")
    await caller.put(cheapest("EC-SBX-BAD-001"))
    await caller.control("POST", "reset?reference=EC-SBX-BAD-001")
    assert await caller.consignment("EC-SBX-BAD-001") == before


async def test_a_seeded_booking_comes_back_with_a_reset_of_the_consignment(caller: Caller) -> None:
    reference = in_state("Allocated")
    before = await caller.consignment(reference)
    await caller.put(f"/consignments/{reference}/deallocate")
    await caller.control("POST", f"reset?reference={reference}")
    assert await caller.consignment(reference) == before


async def test_a_reset_brings_back_the_seed(caller: Caller) -> None:
    created = await create(caller)
    await caller.world(services={"CX_NDS": {"net": 1}}, groups={"valuableGoods": None})
    await caller.put(cheapest(QUOTED))
    await caller.control("POST", "reset")
    assert (await caller.call("GET", f"/consignments/{created}")).status_code == 404
    assert await caller.state(QUOTED) == "Unallocated"
    assert (await caller.read("/servicegroups/valuableGoods"))["Name"] == "Valuable Goods"
    assert await caller.bookings(QUOTED) == 0
    assert await create(caller) != created


async def test_a_reset_starts_the_rate_limit_again(caller: Caller) -> None:
    await caller.switch(rate_limit=1)
    await caller.consignment(PLAIN[0])
    await caller.control("POST", "reset?keep=switches")
    await caller.consignment(PLAIN[0])


async def test_the_catalogue_can_be_read_and_changed(caller: Caller) -> None:
    await caller.world(
        carriers={"WALK": {"name": "Walkers"}},
        services={"FOOT": {"name": "On Foot", "carrier": "WALK", "net": 0.5, "legs": ["WALK", "UPS"]}},
    )
    services = (await caller.control("GET", "world"))["consignments"]["services"]
    assert services["FOOT"]["legs"] == ["WALK", "UPS"]
    assert caller.sandbox.consignments.world.services["FOOT"].net == Decimal("0.5")
    (item,) = (await caller.put(cheapest(PLAIN[0]))).json()
    assert (item["CarrierServiceReference"], item["CarrierName"]) == ("FOOT", "Walkers")


@pytest.mark.parametrize(
    "changes",
    [
        {"services": {"CX_NDS": {"carrier": "NOBODY"}}},
        {"services": {"CX_NDS": {"legs": ["NOBODY"]}}},
        {"services": {"CX_NDS": {"collects_on": []}}},
        {"services": {"CX_NDS": {"net": 1e300}}},
        {"services": {"CX_NDS": {"excluded_zips": ["9"]}}},
        {"services": {"NEW": {"name": "New"}}},
        {"groups": {"valuableGoods": {"services": ["NOTHING"]}}},
        {"carriers": {"UPS": {"colour": "brown"}}},
        {"unheard_of": {}},
        [],
    ],
)
async def test_a_change_that_leads_nowhere_is_refused_whole(caller: Caller, changes: object) -> None:
    before = await caller.control("GET", "world")
    response = await caller.control_response("PUT", "world", {"consignments": changes})
    assert (response.status_code, list(response.json())) == (400, ["error"])
    assert await caller.control("GET", "world") == before
