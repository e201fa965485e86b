"""When services collect and deliver, and how a shipment's dates exclude them. It is Wednesday, 4 March 2026, 10:00."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox.calling import Caller, exclusions
from sandbox.shipping import create

pytestmark = pytest.mark.asyncio

GROUP = "/allocate/service_group/valuableGoods"


async def allocate(caller: Caller, **members: Any) -> Any:
    reference = await create(caller, **members)
    await caller.switch(dates=True)
    return (await caller.put(f"/shipments/{reference}{GROUP}")).json()


async def test_a_scheduled_service_delivers_on_a_later_day_between_its_hours(caller: Caller) -> None:
    document = await allocate(caller)
    assert document["shipping_date"]["start"] == "2026-03-04T10:00:00.000000+00:00"
    assert document["expected_delivery_date"] == {
        "start": "2026-03-05T08:00:00.000000+00:00",
        "end": "2026-03-05T18:00:00.000000+00:00",
        "has_value": True,
    }


async def test_a_service_that_delivers_on_sundays_waits_for_one(caller: Caller) -> None:
    await caller.control("PUT", "world", {"ship": {"services": {"FF_DPD_Sunday_103386": {"prices": [{"net": 1}]}}}})
    document = await allocate(caller)
    assert document["expected_delivery_date"]["start"] == "2026-03-08T08:00:00.000000+00:00"


async def test_a_service_collects_only_on_its_days(caller: Caller) -> None:
    delivery = {"kind": "days", "days": 1, "collects_on": [4]}
    services = {"FF_DPD_Sunday_103386": {"prices": [{"net": 1}], "delivery": delivery}}
    await caller.control("PUT", "world", {"ship": {"services": services}})
    document = await allocate(caller)
    assert document["shipping_date"]["start"] == "2026-03-06T10:00:00.000000+00:00"
    assert document["expected_delivery_date"]["start"] == "2026-03-07T08:00:00.000000+00:00"


async def test_services_that_deliver_after_the_required_end_are_excluded(caller: Caller) -> None:
    document = await allocate(caller, required_delivery_date={"end": "2026-03-05T12:00:00Z"})
    assert document["carrier"]["service_reference"] == "FF_DPD_1200_103384"
    assert exclusions(document)["FF_DPD_Next_Day_103386"] == "ex_availability"


async def test_delivery_waits_for_the_required_start(caller: Caller) -> None:
    document = await allocate(caller, required_delivery_date={"start": "2026-03-11T00:00:00Z"})
    assert document["expected_delivery_date"]["start"] == "2026-03-11T08:00:00.000000+00:00"


async def test_collection_waits_for_the_required_start_in_any_time_zone(caller: Caller) -> None:
    document = await allocate(caller, required_shipping_date={"start": "2026-03-09T00:00:00+05:00"})
    assert document["shipping_date"]["start"] == "2026-03-08T19:00:00.000000+00:00"


async def test_a_shipping_date_that_has_passed_excludes_every_service(caller: Caller) -> None:
    document = await allocate(caller, required_shipping_date={"end": "2026-03-03T23:59:59Z"})
    assert document["code"] == "allocation_failed"
    assert set(exclusions(document).values()) == {"ex_availability", "ex_other"}


async def test_moving_the_clock_moves_the_dates(caller: Caller) -> None:
    await caller.control("POST", "clock", {"advance": 86400})
    document = await allocate(caller)
    assert document["shipping_date"]["start"] == "2026-03-05T10:00:00.000000+00:00"
