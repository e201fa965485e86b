"""What is done within the time of an item, how much is in hand meanwhile, and what its caller is told of it."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import job_pb2
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import StoreUnavailableError
from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc.streams.handler import ItemRoom
from allocation_gateway.rpc.streams.hindrance import Hindrance
from allocation_gateway.rpc.streams.job import Item
from allocation_gateway.rpc.streams.send_queue import SendQueue
from allocation_gateway.upstream import failures
from streams.conftest import shipment
from streams.virtual import ROW, Scene, Shipment, until
from streams.waves import ALLOCATED, Wave, new_job
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.usefixtures("quiet")

MANY: Final = [shipment(number) for number in range(1, 2_001)]
UNAVAILABLE: Final = failures.no_answer(ROW.bulk[""], "m", sent=False)


def down(_: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    """Answers as a proxy does whose server is down."""
    return 503, {}


def test_items_that_are_not_sent_in_time_are_told_so_in_time() -> None:
    async def work() -> None:
        scene = Scene()
        scene.ship.write_seconds = 5.0
        begun = scene.clock()
        wave = await scene.allocate(MANY, new_job(), chunk=1_000, item_deadline={"seconds": 1})
        sent = {name for _, names in scene.ship.writes for name in names}
        assert len(scene.ship.writes) == 8, "something was sent whose time was up"
        assert wave.kinds() == {"unknown": len(MANY)}
        assert max(scene.moments().values()) - begun < 2.0
        # What was sent goes on for nobody, and the next call knows it.
        await asyncio.sleep(10.0)
        assert {name for name, one in scene.ship.shipments.items() if one.bookings == 1} == sent

    run(work())


def test_of_a_job_that_is_new_it_is_certain_that_nothing_was_sent() -> None:
    async def work() -> None:
        scene = Scene()
        scene.ship.write_seconds = 5.0
        wave = await scene.allocate(MANY[:1_000], "", chunk=1_000, item_deadline={"seconds": 1})
        assert wave.kinds() == {"unknown": 800, "refusal": 200}
        refused = [name for name, (told,) in wave.outcomes.items() if told.HasField("refusal")]
        assert {wave.reason(name) for name in refused} == {"DEADLINE_EXCEEDED"}

    run(work())


def test_items_do_not_outlive_their_time_in_an_outage() -> None:
    async def work() -> None:
        scene = Scene()
        scene.ship.refuse = down
        begun = scene.clock()
        job = asyncio.create_task(scene.allocate(MANY[:300], new_job(), item_deadline={"seconds": 10}))
        await asyncio.sleep(60.0)
        assert job.done()
        assert set((await job).kinds()) <= {"unknown", "refusal"}
        assert max(scene.moments().values()) - begun < 12.0
        assert max(moment for moment, _ in scene.ship.writes) - begun < 11.0

    run(work())


@pytest.mark.parametrize("bad", [1, 2])
def test_items_that_are_never_answered_do_not_end_the_job(bad: int) -> None:
    """Upstream is not away: it has let all others through."""

    async def work() -> None:
        scene = Scene(STREAM_OUTAGE_TIME="60")
        never = set(MANY[:bad])
        scene.ship.refuse = lambda asked: down(asked) if never.intersection(asked["shipments"]) else None
        wave = await scene.allocate(MANY[:110], new_job(), item_deadline={"seconds": 600})
        assert {name for name, (told,) in wave.outcomes.items() if told.HasField("unknown")} >= never

    run(work())


def test_an_outage_ends_the_job() -> None:
    async def work() -> None:
        scene = Scene(STREAM_OUTAGE_TIME="60")
        scene.ship.refuse = down
        with pytest.raises(GatewayError) as caught:
            await scene.allocate(MANY[:60], new_job(), item_deadline={"seconds": 600})
        assert caught.value.reason_name == "UPSTREAM_UNAVAILABLE"

    run(work())


@pytest.mark.parametrize("window", [200, 1_500])
def test_no_more_is_in_hand_than_the_window(window: int) -> None:
    """Also if a message has more items than that."""

    async def work() -> None:
        scene = Scene(window=window)
        wave = Wave()
        job = job_pb2.AllocationJob(job_id=new_job(), wait_for=job_pb2.WAIT_FOR_QUEUED)
        call = scene.run(wave, job)
        most = 0

        async def requests() -> Any:
            for start in range(0, len(MANY), 1_000):
                items = [{"shipment_reference": name} for name in MANY[start : start + 1_000]]
                yield ROW.request(items=items).SerializeToString()

        running = asyncio.create_task(call.run(ROW.request(job=job), requests()))
        while not running.done():
            most = max(most, sum(call.items().values()))
            await asyncio.sleep(0.001)
        await running
        assert wave.kinds() == {"queued": len(MANY)}
        assert window - 100 <= most <= window

    run(work())


def test_shipments_and_consignments_have_their_room_together() -> None:
    class Handler:
        calls = 0

    room, handlers = ItemRoom(), (Handler(), Handler())
    room.handlers.extend(handlers)  # type: ignore[arg-type] # as much of one as is asked
    assert room.window() == 4_000
    handlers[0].calls, handlers[1].calls = 3, 5
    assert room.window() == 1_000
    handlers[1].calls = 500
    assert room.window() == 200


def test_progress_is_told_once_a_second_at_most_and_says_why_nothing_is_sent() -> None:
    async def work() -> None:
        scene = Scene()
        throttled: tuple[int, dict[str, Any]] = (429, {})
        begun = scene.clock()
        scene.ship.refuse = lambda _: throttled if scene.clock() < begun + 6.0 else None
        wave = await scene.allocate(MANY[:500], new_job(), ALLOCATED)
        assert wave.kinds() == {"allocation": 500}
        told = [(moment, one.progress) for moment, one in scene.told if one.WhichOneof("content") == "progress"]
        assert len(told) >= 4
        assert all(after - before >= 1.0 for (before, _), (after, _) in itertools.pairwise(told))
        assert "UPSTREAM_THROTTLED" in str(told[1][1].paused)
        assert not told[-1][1].HasField("paused")
        assert not wave.summary.progress.HasField("paused")

    run(work())


class Store:
    """Claims that cannot be reached for some time."""

    def __init__(self, clock: Any, away: tuple[float, float]) -> None:
        self._claims = MemoryClaims(size=100_000, retention=86_400.0, clock=clock)
        self._clock = clock
        self._away = away

    def at(self, _: Sequence[str]) -> Store:
        return self

    def __getattr__(self, name: str) -> Any:
        step = getattr(self._claims, name)

        async def reached(*arguments: Any, **more: Any) -> Any:
            if self._away[0] <= self._clock() < self._away[1]:
                await asyncio.sleep(0.5)
                raise StoreUnavailableError("it is away")
            return await step(*arguments, **more)

        return reached


def test_a_store_that_is_away_pauses_a_job_and_fails_no_item() -> None:
    async def work() -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        scene = Scene(Store(clock, (begun + 0.05, begun + 20.0)))
        wave = await scene.allocate(MANY[:900], new_job(), ALLOCATED)
        assert wave.kinds() == {"allocation": 900}
        assert all(scene.ship.shipment(name).bookings == 1 for name in MANY[:900])
        paused = {str(one.progress.paused) for _, one in scene.told if one.WhichOneof("content") == "progress"}
        assert any("CLAIM_STORE_UNAVAILABLE" in text for text in paused)
        assert all(moment < begun + 0.1 or moment >= begun + 20.0 for moment, _ in scene.ship.writes)

    run(work())


def test_a_store_that_stays_away_ends_the_call_with_the_reason() -> None:
    async def work() -> None:
        clock = asyncio.get_running_loop().time
        scene = Scene(Store(clock, (0.0, 1e9)), STREAM_OUTAGE_TIME="30")
        begun = clock()
        with pytest.raises(GatewayError) as caught:
            await scene.allocate(MANY[:100], new_job())
        assert caught.value.reason_name == "CLAIM_STORE_UNAVAILABLE"
        assert 30.0 <= clock() - begun < 60.0
        assert scene.told[1:] == [] or all(one.WhichOneof("content") == "progress" for _, one in scene.told[1:])

    run(work())


def test_read_backs_of_items_keep_to_the_share_of_streams() -> None:
    async def work() -> None:
        scene = Scene(SHIP_MAX_IN_FLIGHT="16", SHIP_READ_BEFORE_WRITE="true")
        wave = await scene.allocate(MANY[:1_000], new_job())
        assert wave.kinds() == {"queued": 1_000}
        assert len(scene.ship.reads) >= 1_000
        assert scene.ship.most_reads[0] == 8

    run(work())


# The parts alone.


def item(number: int, key: bytes = b"", until: float = 100.0) -> Item:
    return Item(shipment(number), "", None, key, until)


def test_a_queue_gives_selectors_their_turns_and_sends_what_was_put_together_first() -> None:
    async def work() -> None:
        queue = SendQueue(2)
        ones, others = [item(number, b"one") for number in range(5)], [item(number, b"other") for number in range(5, 7)]
        queue.add([*ones, *others])
        queue.add_batch(again := [item(8), item(9), item(10)])
        assert queue.fills_a_batch
        assert queue.take() is again
        assert [queue.take() for _ in range(5)] == [ones[:2], others, ones[2:4], ones[4:], ()]

    run(work())


def test_a_queue_gives_up_what_is_overdue_wherever_it_waits() -> None:
    async def work() -> None:
        queue = SendQueue(100)
        early, late = [item(1, b"a", 1.0), item(2, b"b", 2.0), item(3, b"", 1.5)], [item(4, b"a"), item(5)]
        queue.add([early[0], late[0], early[1]])
        queue.add_batch([early[2], late[1]])
        queue.add_batch([only := item(6, b"", 2.0)])
        assert queue.take_overdue(0.5) == []
        assert queue.take_overdue(2.0) == [*early[:2], early[2], only]
        assert [queue.take(), queue.take(), queue.take()] == [[late[1]], [late[0]], ()]

    run(work())


def test_a_hindrance_grows_with_its_pauses_and_ends_with_the_first_that_is_let_through() -> None:
    async def work() -> None:
        clock = asyncio.get_running_loop().time
        hindrance = Hindrance(60.0, clock)
        pauses = []
        begun = clock()
        while hindrance.note(UNAVAILABLE, 0.5):
            # Those that were under way together tell of it together, and are one.
            assert hindrance.note(UNAVAILABLE, 0.5)
            pauses.append(hindrance.seconds())
            await asyncio.sleep(pauses[-1])
        assert 60.0 < clock() - begun < 71.0
        assert all(0.5 <= pause <= 10.5 for pause in pauses)
        assert hindrance.error is UNAVAILABLE
        hindrance.clear()
        told: Any = hindrance.error
        assert told is None
        assert hindrance.seconds() == 0.0
        assert hindrance.note(UNAVAILABLE, 0.0), "its time begins anew"

    run(work())


def test_the_doubt_of_a_few_items_is_about_them() -> None:
    async def work() -> None:
        hindrance = Hindrance(60.0, asyncio.get_running_loop().time)
        items = [item(number) for number in range(4)]
        assert [hindrance.is_shown_by(one) for one in items] == [False, False, True, True]
        assert [hindrance.is_shown_by(one) for one in items] == [True, True, True, True]
        hindrance.clear()
        assert not any(hindrance.is_shown_by(one) for one in items), "others were let through meanwhile"
        assert [hindrance.is_shown_by(item(number)) for number in range(5, 8)] == [False, False, True]

    run(work())


# Watches.


def test_a_watch_shows_that_it_is_alive_while_nothing_changes() -> None:
    async def work() -> None:
        scene = Scene()
        names = MANY[:3]
        told: list[tuple[float, Any]] = []
        watch = asyncio.create_task(scene.watch(names, told))
        await asyncio.sleep(45.0)
        begun = scene.clock() - 45.0
        first, *beats = told
        assert len(first[1].shipments) <= len(names)
        empty = [moment - begun for moment, response in beats if not response.shipments]
        assert len(empty) == 4
        assert all(after - before == pytest.approx(10.0) for before, after in itertools.pairwise(empty))
        assert {response.pending for _, response in told} == {len(names)}
        for name in names:
            scene.ship.shipments[name] = Shipment("allocated")
        await watch
        assert told[-1][1].pending == 0

    run(work())


def test_a_watch_asks_nothing_more_when_its_caller_has_gone() -> None:
    async def work() -> None:
        scene = Scene()
        watch = asyncio.create_task(scene.watch(MANY[:3], []))
        await until(lambda: len(scene.ship.reads) >= 3)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        before = len(scene.ship.reads)
        await asyncio.sleep(100.0)
        assert len(scene.ship.reads) == before

    run(work())
