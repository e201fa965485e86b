"""The writes of the items of a bulk call, which are waited for together."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Final

import pytest
from allocation.v1 import job_pb2
from allocation_gateway.rpc.streams.job import job_of
from streams.conftest import shipment
from streams.virtual import Scene, until
from streams.waves import new_job
from support.virtual import run

pytestmark = pytest.mark.usefixtures("quiet")

ALL: Final = [shipment(number) for number in range(1, 101)]
# Tasks of a call that are none of an item.
MORE: Final = 20


def test_an_item_that_is_sent_with_others_takes_one_task() -> None:
    """That of its write, which outlives the call. Nothing else of a call is made once for each item."""

    async def work() -> None:
        scene = Scene()
        scene.ship.write_seconds = 10.0
        job = asyncio.create_task(scene.allocate(ALL, new_job()))
        await until(lambda: scene.ship.writes)
        assert len(ALL) < len(asyncio.all_tasks()) <= len(ALL) + MORE
        assert (await job).kinds() == {"queued": len(ALL)}

    run(work())


def test_items_are_told_when_their_time_is_up() -> None:
    async def work() -> None:
        scene = Scene()
        scene.ship.write_seconds = 10.0
        begun = scene.clock()
        wave = await scene.allocate(ALL[:50], new_job(), item_deadline={"seconds": 2})
        assert wave.kinds() == {"unknown": 50}
        assert {round(moment - begun, 3) for moment in scene.moments().values()} == {2.0}

    run(work())


def test_a_defect_in_what_becomes_of_an_item_ends_the_call() -> None:
    """At once, and not when the time of the item is up."""

    async def work() -> None:
        scene = Scene()
        begun = scene.clock()

        def count(*_: str) -> None:
            raise ValueError("a defect")

        scene.count = count
        with pytest.raises(ValueError, match="a defect"):
            await scene.allocate(ALL, new_job())
        assert scene.clock() - begun < 1.0

    run(work())


def test_the_id_of_an_item_is_a_uuid_of_version_5() -> None:
    dice = random.Random(7)  # noqa: S311 - names that can be repeated
    for _ in range(1_000):
        namespace = uuid.UUID(int=dice.getrandbits(128))
        reference = "".join(chr(dice.choice((0x41, 0xE9, 0x20AC, 0x1F600)) + dice.randrange(9)) for _ in range(9))
        job = job_of(job_pb2.AllocationJob(job_id=str(namespace)))
        assert job.request_id(reference) == str(uuid.uuid5(namespace, reference))
