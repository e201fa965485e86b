"""What becomes of items that are queued: a state that may be left from before is not told as their end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2
from allocation.v1.error_reason_pb2 import ExcludedServices
from allocation_gateway.operations.streams import STREAMS
from allocation_gateway.rpc.streams.belief import Belief, Standing, standing_of
from allocation_gateway.upstream import error_table, failures
from allocation_gateway.upstream.http import Answer
from streams.conftest import shipment
from streams.virtual import Scene, Shipment, error, until
from streams.waves import ALLOCATED, new_job
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

pytestmark = pytest.mark.usefixtures("quiet")

WAVE: Final = [shipment(number) for number in range(1, 11)]
# The default of SHIP_SETTLE_TIME.
SETTLED: Final = 30.0
READ: Final = STREAMS[0].read


def done(work: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def begun() -> None:
        await work(Scene())

    run(begun())


@pytest.mark.parametrize("by_results", [False, True], ids=["listed", "by results"])
def test_a_failure_that_is_left_from_before_is_not_told(by_results: bool) -> None:
    """Upstream lets it be queued again, and shows that only when its turn has come, as does its answer then."""

    async def work(scene: Scene) -> None:
        scene.ship.is_shown_when_queued, scene.ship.queue_seconds = False, 5.0
        scene.ship.answers_by_results = by_results
        for name in WAVE:
            scene.ship.shipments[name] = Shipment("allocation_failed")
        wave = await scene.allocate(WAVE, new_job(), ALLOCATED)
        assert wave.kinds() == {"allocation": len(WAVE)}
        assert all(scene.ship.shipment(name).bookings == 1 for name in WAVE)

    done(work)


RESULTS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a child": (
        {"details": [error("allocation_failed", code="carrier_service_not_found")]},
        "CARRIER_SERVICE_NOT_FOUND",
    ),
    "a parent": ({"details": [error("allocation_failed")]}, "ALLOCATION_FAILED"),
    "excluded services": ({"excluded_services": [{"exclusion": {"code": "ex_tag"}}]}, "ALLOCATION_FAILED"),
}


@pytest.mark.parametrize("state", ["allocation_failed", "unallocated"])
@pytest.mark.parametrize(("more", "reason"), RESULTS.values(), ids=RESULTS.keys())
def test_what_a_result_says_was_wrong_is_told_at_once(more: dict[str, Any], reason: str, state: str) -> None:
    """It is about this call, and no state that is left from before."""

    async def work(scene: Scene) -> None:
        def fail(asked: Mapping[str, Any]) -> tuple[int, list[Mapping[str, Any]]]:
            return 202, [{"shipment_reference": name, "state": state, **more} for name in asked["shipments"]]

        scene.ship.refuse = fail
        begun = scene.clock()
        wave = await scene.allocate(WAVE, new_job(), ALLOCATED)
        assert wave.kinds() == {"refusal": len(WAVE)}
        assert {wave.reason(name) for name in WAVE} == {reason}
        assert max(scene.moments().values()) - begun < 1.0
        tells_services = any(detail.Is(ExcludedServices.DESCRIPTOR) for detail in wave.status(WAVE[0]).details)
        assert tells_services is ("excluded_services" in more)

    done(work)


def test_a_failure_is_told_at_once_if_it_was_seen_to_come() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.queue_seconds = 5.0
        for name in WAVE:
            scene.ship.shipments[name] = Shipment("allocation_failed", ends_as="allocation_failed")
        begun = scene.clock()
        wave = await scene.allocate(WAVE, new_job(), ALLOCATED)
        assert wave.kinds() == {"refusal": len(WAVE)}
        assert {wave.reason(name) for name in WAVE} == {"ALLOCATION_FAILED"}
        assert max(scene.moments().values()) - begun < SETTLED / 2

    done(work)


def test_a_failure_that_lasts_is_told_when_nothing_can_change_it() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.is_shown_when_queued = False
        for name in WAVE:
            scene.ship.shipments[name] = Shipment("allocation_failed", ends_as="allocation_failed")
        begun = scene.clock()
        wave = await scene.allocate(WAVE, new_job(), ALLOCATED)
        assert {wave.reason(name) for name in WAVE} == {"ALLOCATION_FAILED"}
        assert all(SETTLED <= moment - begun < 3 * SETTLED for moment in scene.moments().values())
        assert len(scene.ship.reads) < 15 * len(WAVE)

    done(work)


def test_a_job_that_is_begun_again_believes_a_failure_that_has_lasted_since_it_was_queued() -> None:
    """Its claims know when: nothing that is left from before can be left any more."""

    async def work(scene: Scene) -> None:
        scene.ship.is_shown_when_queued = False
        for name in WAVE:
            scene.ship.shipments[name] = Shipment("allocation_failed", ends_as="allocation_failed")
        job = new_job()
        await scene.allocate(WAVE, job, ALLOCATED)
        # Until nothing that the claims know of can take effect: their lease, a time-out and the settle time.
        await asyncio.sleep(10.0 + 30.0 + SETTLED)
        begun, read = scene.clock(), len(scene.ship.reads)
        wave = await scene.allocate(WAVE, job, ALLOCATED)
        assert {wave.reason(name) for name in WAVE} == {"ALLOCATION_FAILED"}
        assert max(scene.moments().values()) - begun < 1.0
        assert len(scene.ship.reads) - read == len(WAVE)
        assert len(scene.ship.writes) == 1

    done(work)


def test_a_job_that_is_begun_again_at_once_does_not_believe_a_failure_that_is_left_from_before() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.is_shown_when_queued, scene.ship.queue_seconds = False, 20.0
        for name in WAVE:
            scene.ship.shipments[name] = Shipment("allocation_failed")
        job = new_job()
        await scene.allocate(WAVE, job)
        wave = await scene.allocate(WAVE, job, ALLOCATED)
        assert wave.kinds() == {"allocation": len(WAVE)}

    done(work)


def test_what_can_never_be_known_is_told_when_that_is_certain() -> None:
    """The answer was lost, and it was cancelled: no repeat tells more, and nobody is told to ask again."""

    async def work(scene: Scene) -> None:
        def lost(asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
            scene.ship.shipments.update({name: Shipment("cancelled") for name in asked["shipments"]})
            return 500, {}

        scene.ship.refuse = lost
        job = new_job()
        for _ in range(2):
            begun = scene.clock()
            wave = await scene.allocate(WAVE, job)
            assert wave.kinds() == {"unknown": len(WAVE)}
            assert {wave.reason(name) for name in WAVE} == {"OUTCOME_UNKNOWN"}
            assert not any("RetryInfo" in detail.type_url for name in WAVE for detail in wave.status(name).details)
            assert max(scene.moments().values()) - begun < 3 * SETTLED
        assert len(scene.ship.writes) == 1

    done(work)


@pytest.mark.parametrize("selector", [{}, {"capabilities": [{"type": "signature"}]}], ids=["listed", "linked"])
def test_what_can_never_be_known_shows_the_allocation_that_is_there(selector: dict[str, Any]) -> None:
    """The answer was lost, and it is allocated: nothing tells by whom."""

    async def work(scene: Scene) -> None:
        def lost(asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
            scene.ship.shipments.update({name: Shipment("allocated") for name in asked["shipments"]})
            return 500, {}

        scene.ship.refuse = lost
        job, begun = new_job(), scene.clock()
        wave = await scene.allocate(WAVE[:1], job, ALLOCATED, selector=selector)
        found, shown = wave.status(WAVE[0]), core_pb2.Allocation()
        assert wave.kinds() == {"unknown": 1}
        assert any(detail.Unpack(shown) for detail in found.details)
        assert shown.shipment_reference == WAVE[0]
        assert max(scene.moments().values()) - begun < 3 * SETTLED

    done(work)


def test_the_time_of_an_item_is_up_before_its_failure_is_believed() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.is_shown_when_queued, scene.ship.queue_seconds = False, 60.0
        scene.ship.shipments[WAVE[0]] = Shipment("allocation_failed")
        wave = await scene.allocate(WAVE[:1], new_job(), ALLOCATED, item_deadline={"seconds": 10})
        assert wave.kinds() == {"queued": 1}

    done(work)


def test_what_was_cancelled_or_removed_after_it_was_queued_may_have_been_allocated() -> None:
    async def work(scene: Scene) -> None:
        cancelled, removed, *others = WAVE
        scene.ship.shipments[cancelled] = Shipment(ends_as="cancelled")
        scene.ship.missing.add(removed)
        wave = await scene.allocate(WAVE, new_job(), ALLOCATED)
        assert wave.kinds() == {"allocation": len(others), "unknown": 2}
        for name in (cancelled, removed):
            assert "OUTCOME_UNKNOWN" in str(wave.outcomes[name][0].unknown)

    done(work)


def test_one_answer_that_something_is_not_there_is_not_believed() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.missing.add(WAVE[0])
        job = asyncio.create_task(scene.allocate(WAVE[:1], new_job(), ALLOCATED))
        await until(lambda: len(scene.ship.reads) == 1)
        await asyncio.sleep(scene.ship.read_seconds)
        scene.ship.missing.clear()
        assert (await job).kinds() == {"allocation": 1}

    done(work)


def test_a_watch_of_what_was_queued_again_does_not_end_with_its_old_failure() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.is_shown_when_queued, scene.ship.queue_seconds = False, 5.0
        scene.ship.shipments[WAVE[0]] = Shipment("allocation_failed")
        await scene.allocate(WAVE[:1], new_job())
        told: list[tuple[float, Any]] = []
        await scene.watch(WAVE[:1], told)
        standings = [one for _, response in told for one in response.shipments]
        assert [(one.allocation.state, one.final) for one in standings] == [
            (core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED, False),
            (core_pb2.SHIPMENT_STATE_ALLOCATED, True),
        ]

    done(work)


def test_a_watch_ends_with_what_is_not_there_and_with_a_failure_that_lasts() -> None:
    async def work(scene: Scene) -> None:
        failed, missing = WAVE[:2]
        scene.ship.shipments[failed] = Shipment("allocation_failed")
        scene.ship.missing.add(missing)
        told: list[tuple[float, Any]] = []
        begun = scene.clock()
        await scene.watch([failed, missing], told)
        ends = {
            one.shipment_reference: moment - begun
            for moment, response in told
            for one in response.shipments
            if one.final
        }
        assert ends[missing] < 1.0
        assert SETTLED <= ends[failed] < 3 * SETTLED

    done(work)


@pytest.mark.parametrize(
    ("status", "code"), [(404, "shipment_not_found"), (404, "not_found"), (404, ""), (410, "gone"), (410, "")]
)
def test_what_is_gone_is_missing_however_upstream_says_so(status: int, code: str) -> None:
    request = READ.request(shipment_reference=WAVE[0])
    body = error("not_found", code=code, property="", message="m") if code else error("something")
    told = failures.failure(READ, request, Answer(status, {}, b"{}"), body)
    assert standing_of(READ, told) is Standing.MISSING


def test_what_could_not_be_read_says_nothing() -> None:
    error_ = failures.no_answer(READ, "m", sent=True)
    assert standing_of(READ, error_) is Standing.UNCLEAR
    assert standing_of(READ, core_pb2.Allocation(state_text="new")) is Standing.UNCLEAR
    assert error_table.GONE.reason  # what it is compared with is still there


@pytest.mark.parametrize(
    ("readings", "final"),
    [
        ([(Standing.FAILED, 1.0)], False),
        ([(Standing.FAILED, 1.0), (Standing.FAILED, 9.0)], False),
        ([(Standing.FAILED, 10.0)], True),
        ([(Standing.PENDING, 1.0), (Standing.FAILED, 2.0)], True),
        ([(Standing.UNCLEAR, 1.0), (Standing.FAILED, 2.0)], False),
        ([(Standing.MISSING, 1.0)], False),
        ([(Standing.MISSING, 1.0), (Standing.MISSING, 11.0)], True),
        ([(Standing.MISSING, 1.0), (Standing.PENDING, 5.0), (Standing.MISSING, 12.0)], False),
        ([(Standing.PENDING, 99.0)], False),
        ([(Standing.ALLOCATED, 0.0)], True),
        ([(Standing.CANCELLED, 0.0)], True),
    ],
)
def test_what_is_believed(readings: list[tuple[Standing, float]], final: bool) -> None:
    belief = Belief(0.0, is_known=True)
    told = [belief.is_final(standing, moment, 10.0) for standing, moment in readings]
    assert told == [False] * (len(readings) - 1) + [final]
