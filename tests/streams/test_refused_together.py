"""Bulk calls that upstream refuses as a whole: no item is refused for another's fault, and few are asked in vain."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2, job_pb2
from allocation_gateway.errors import GatewayError
from streams.conftest import shipment
from streams.virtual import Scene, error, until
from streams.waves import new_job
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.waves import Wave

pytestmark = pytest.mark.usefixtures("quiet")

GOOD: Final = [shipment(number) for number in range(1, 100)]
BAD: Final = "no-shipment"
ALL: Final = [*GOOD[:40], BAD, *GOOD[40:]]
MANY: Final = [shipment(number) for number in range(1, 1_001)]


def refuse_the_bad(asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]] | None:
    """Refuses a call for one of its items, and does not say for which."""
    return (400, error("validation_error")) if BAD in asked["shipments"] else None


def assert_only_the_bad_is_refused(wave: Wave) -> None:
    """Each good one has been let through."""
    assert wave.kinds() == {"queued": len(GOOD), "refusal": 1}
    assert wave.reason(BAD) == "INVALID_REQUEST"


def test_one_at_fault_does_not_cost_the_others() -> None:
    async def work() -> None:
        scene = Scene()
        scene.ship.refuse = refuse_the_bad
        assert_only_the_bad_is_refused(await scene.allocate(ALL, new_job()))
        assert len(scene.ship.writes) <= 20

    run(work())


def test_a_job_that_is_begun_again_is_not_refused_for_what_the_first_call_sent() -> None:
    """The items join writes that are under way, which tell as little of each as if they had sent them."""

    async def work() -> None:
        scene, job = Scene(), new_job()
        scene.ship.refuse, scene.ship.write_seconds = refuse_the_bad, 1.8
        first = asyncio.create_task(scene.allocate(ALL, job))
        await until(lambda: scene.ship.writes)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert_only_the_bad_is_refused(await scene.allocate(ALL, job))

    run(work())


def test_two_callers_of_one_job_are_told_the_same() -> None:
    async def work() -> None:
        scene, job = Scene(), new_job()
        scene.ship.refuse = refuse_the_bad
        for wave in await asyncio.gather(*(scene.allocate(ALL, job) for _ in range(2))):
            assert_only_the_bad_is_refused(wave)

    run(work())


def test_who_asks_for_one_item_is_not_refused_for_what_it_was_sent_with() -> None:
    async def work() -> None:
        scene, job = Scene(), new_job()
        scene.ship.refuse, scene.ship.write_seconds = refuse_the_bad, 1.8
        stream = asyncio.create_task(scene.allocate(ALL, job))
        await until(lambda: scene.ship.writes)
        told: Any = await asyncio.gather(
            scene.allocate_one(GOOD[0], job), scene.allocate_one(BAD, job), return_exceptions=True
        )
        good, bad = told
        assert list(good.queued) == [GOOD[0]]
        assert isinstance(bad, GatewayError)
        assert bad.reason_name == "INVALID_REQUEST"
        assert_only_the_bad_is_refused(await stream)

    run(work())


@pytest.mark.parametrize(
    ("selector", "answer", "most"),
    [
        (job_pb2.AllocationSelector(service_group="typo"), (404, error("not_found")), 40),
        (
            job_pb2.AllocationSelector(capabilities=[core_pb2.ServiceCapability(type="a", value="b")]),
            (400, error("validation_error", code="invalid", message="m", property="capabilities[0].type")),
            10,
        ),
        # It may as well be each of the items: so many are asked.
        (job_pb2.AllocationSelector(), (521, error("allocation_failed")), 230),
    ],
    ids=["unknown group", "named field", "no word of it"],
)
def test_a_selector_at_fault_does_not_cost_two_calls_for_each_item(
    selector: job_pb2.AllocationSelector, answer: tuple[int, Mapping[str, Any]], most: int
) -> None:
    async def work() -> None:
        scene = Scene()
        scene.ship.refuse = lambda _: answer
        wave = await scene.allocate(MANY, new_job(), selector=selector)
        assert wave.kinds() == {"refusal": len(MANY)}
        assert len({wave.reason(name) for name in MANY}) == 1
        assert len(scene.ship.writes) <= most
        assert wave.summary.progress.sent == len(MANY)

    run(work())


def test_a_selector_that_has_let_something_through_is_not_taken_for_the_fault() -> None:
    """Also if most of the items are bad ones, and those that are tried alone first are."""

    async def work() -> None:
        random.seed(16)
        scene = Scene()
        some = MANY[:300]
        good = set(some[::25])

        def refuse(asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]] | None:
            return None if good.issuperset(asked["shipments"]) else (400, error("validation_error"))

        scene.ship.refuse = refuse
        wave = await scene.allocate(some, new_job())
        assert wave.kinds() == {"queued": len(good), "refusal": len(some) - len(good)}
        assert {name for name, (told,) in wave.outcomes.items() if told.WhichOneof("outcome") == "queued"} == good

    run(work())


def test_what_is_said_of_items_is_asked_of_each() -> None:
    """Upstream may answer a bulk call of which it knows no shipment as a whole."""

    async def work() -> None:
        scene = Scene()
        some, good = MANY[:250], MANY[249]
        scene.ship.refuse = lambda asked: None if good in asked["shipments"] else (404, error("shipment_not_found"))
        wave = await scene.allocate(some, new_job())
        assert wave.reason(some[0]) == "SHIPMENT_NOT_FOUND"
        assert wave.outcomes[good][0].queued
        alone = [names for _, names in scene.ship.writes if len(names) == 1]
        assert len(alone) == 200, "some were refused for what others were refused for"

    run(work())


def test_refused_items_whose_time_is_up_are_not_told_anothers_fault() -> None:
    async def work() -> None:
        scene = Scene()
        scene.ship.refuse, scene.ship.write_seconds = refuse_the_bad, 0.9
        wave = await scene.allocate(ALL, new_job(), item_deadline={"seconds": 1})
        assert wave.kinds()["refusal"] > 1, "too quick to show anything"
        reasons = {wave.reason(name) for name in GOOD if wave.outcomes[name][0].HasField("refusal")}
        assert reasons == {"DEADLINE_EXCEEDED"}

    run(work())
