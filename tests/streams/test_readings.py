"""When something is read: once at a time whoever waits, soon for who comes, seldom for who has waited for long."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2
from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc.streams.readings import Readings
from allocation_gateway.telemetry.observation import Observation
from allocation_gateway.telemetry.telemetry import Telemetry
from streams.conftest import shipment
from streams.virtual import ROW, Scene, Shipment, until
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = pytest.mark.usefixtures("quiet")

NAME: Final = shipment(1)
OTHER: Final = shipment(2)


def done(work: Callable[[Scene], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def begun() -> None:
        await work(Scene(**settings))

    run(begun())


class Listener:
    """Waits until something is allocated."""

    def __init__(self, scene: Scene) -> None:
        self.told: list[float] = []
        self.is_done = False
        self.observation = Telemetry().background()
        self._clock = scene.clock

    def read(self, _: str, found: Any) -> bool:
        self.told.append(self._clock())
        if not isinstance(found, GatewayError):
            self.is_done = found.state == core_pb2.SHIPMENT_STATE_ALLOCATED
        return self.is_done


class Linked(Observation):
    """Keeps whom it is linked to."""

    def __init__(self) -> None:
        super().__init__(Telemetry().metrics)
        self.calls: list[Observation] = []

    def serves(self, other: Observation) -> None:
        self.calls.append(other)


def moments(scene: Scene, name: str = NAME) -> list[float]:
    return [moment for moment, reference in scene.ship.reads if reference == name]


def test_what_has_just_been_queued_is_read_soon_whoever_has_waited_for_long() -> None:
    async def work(scene: Scene) -> None:
        watching, waiting = Listener(scene), Listener(scene)
        scene.readings.follow(NAME, watching, at_once=True)
        await asyncio.sleep(300.0)
        seldom = moments(scene)
        assert seldom[-1] - seldom[-2] > 20.0
        begun = scene.clock()
        scene.readings.follow(NAME, waiting)
        scene.ship.shipments[NAME] = Shipment("allocating")
        await asyncio.sleep(5.0)
        soon = [moment - begun for moment in moments(scene) if moment > begun]
        assert soon[0] < 1.0
        assert len(soon) >= 3
        scene.ship.shipments[NAME] = Shipment("allocated")
        await until(lambda: waiting.is_done, 5.0)
        assert watching.is_done

    done(work)


def test_who_watches_what_is_queued_does_not_delay_its_reading() -> None:
    async def work(scene: Scene) -> None:
        waiting, watching = Listener(scene), Listener(scene)
        scene.readings.follow(NAME, waiting)
        begun = scene.clock()
        scene.readings.follow(NAME, watching, at_once=True)
        await until(lambda: watching.told, 1.0)
        assert scene.clock() - begun < 0.1
        assert waiting.told, "it is told of a reading that was made for another"

    done(work)


def test_nothing_is_read_twice_at_a_time() -> None:
    """Who comes while it is read waits for the next reading, and so does who has left and come again."""

    async def work(scene: Scene) -> None:
        scene.ship.read_seconds = 1.0
        listeners = [Listener(scene) for _ in range(5)]
        begun = scene.clock()
        for listener in listeners:
            scene.readings.follow(NAME, listener, at_once=True)
            await asyncio.sleep(0.1)
        first = listeners[0]
        scene.readings.leave(NAME, first)
        scene.readings.follow(NAME, first, at_once=True)
        await asyncio.sleep(0.7)
        assert not any(listener.told for listener in listeners)
        await until(lambda: all(listener.told for listener in listeners), 3.0)
        assert scene.ship.most_reads == (1, 1)
        assert moments(scene)[1] - begun < 1.1, "somebody still waited to have it read at once"
        # Of the first reading, only the first one had to be told, and it had left meanwhile.
        assert {len(listener.told) for listener in listeners} == {1}

    done(work)


def test_what_all_have_left_while_it_was_read_is_not_read_twice_at_a_time_either() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.read_seconds = 1.0
        one, other = Listener(scene), Listener(scene)
        scene.readings.follow(NAME, one, at_once=True)
        await asyncio.sleep(0.5)
        scene.readings.leave(NAME, one)
        scene.readings.follow(NAME, other, at_once=True)
        await until(lambda: other.told, 3.0)
        assert scene.ship.most_reads == (1, 1)
        assert one.told == []
        scene.readings.leave(NAME, other)
        before = len(scene.ship.reads)
        await asyncio.sleep(100.0)
        assert len(scene.ship.reads) == before

    done(work)


def test_the_first_reading_comes_when_most_are_final() -> None:
    """It learns how long upstream takes: most are found final by the first reading or the second, and not much late."""

    async def work(scene: Scene) -> None:
        scene.ship.queue_seconds = 3.0
        late = []
        for number in range(100):
            name, listener = shipment(number), Listener(scene)
            scene.ship.shipments[name] = Shipment("allocating")
            queued = scene.clock()
            asyncio.get_running_loop().call_later(3.0, scene.ship._process, scene.ship.shipments[name])
            scene.readings.follow(name, listener)
            await until(lambda listener=listener: listener.is_done, step=0.1)  # type: ignore[misc] # bound in the loop
            late.append(scene.clock() - queued - 3.0)
        learned = scene.ship.reads[-100:]
        assert len(learned) / len({name for _, name in learned}) < 2.5
        assert sum(late[-50:]) / 50 < 1.5

    done(work)


def test_what_was_queued_before_is_read_at_once_and_teaches_nothing() -> None:
    """Of what a claim remembers it is only known since when it was queued at the longest."""

    async def work(scene: Scene) -> None:
        scene.ship.queue_seconds = 3.0
        for number in range(40):
            name, listener = shipment(number), Listener(scene)
            scene.ship.shipments[name] = Shipment("allocated")
            begun = scene.clock()
            scene.readings.follow(name, listener, queued_since=begun - 60.0)
            await until(lambda listener=listener: listener.is_done)  # type: ignore[misc] # bound in the loop
            assert scene.clock() - begun < 0.1
        listener, begun = Listener(scene), scene.clock()
        scene.readings.follow(OTHER, listener)
        scene.ship.shipments[OTHER] = Shipment("allocated")
        await until(lambda: listener.is_done)
        # As at the start: half a second that it expects, and a quarter more.
        assert moments(scene, OTHER)[-1] - begun > 0.4

    done(work)


def test_intervals_grow_and_are_spread() -> None:
    async def work(scene: Scene) -> None:
        names = [shipment(number) for number in range(1, 31)]
        for name in names:
            scene.readings.follow(name, Listener(scene))
        await asyncio.sleep(600.0)
        first = [moments(scene, name)[0] for name in names]
        assert max(first) - min(first) > 0.1, "what was queued together is read together"
        for name in names:
            read = moments(scene, name)
            pauses = [after - before for before, after in itertools.pairwise(read)]
            assert max(pauses) <= 30.0 * 1.25 + 0.1
            assert min(pauses[-5:]) >= 30.0 * 0.75
            assert len(read) < 40

    done(work)


def test_a_failed_reading_is_made_again_when_upstream_wants() -> None:
    async def work(scene: Scene) -> None:
        listener = Listener(scene)
        scene.ship.missing.add(NAME)
        scene.readings.follow(NAME, listener, at_once=True)
        await until(lambda: listener.told)
        scene.ship.missing.clear()
        scene.ship.shipments[NAME] = Shipment("allocated")
        await until(lambda: listener.is_done, 5.0)

    done(work)


def most_at_once(read_seconds: float, **settings: str) -> int:
    most = 0

    async def work(scene: Scene) -> None:
        nonlocal most
        scene.ship.read_seconds = read_seconds
        for number in range(400):
            scene.readings.follow(shipment(number), Listener(scene), at_once=True)
        await asyncio.sleep(20.0 * read_seconds)
        most = scene.ship.most_reads[0]

    done(work, **settings)
    return most


def test_as_many_are_under_way_as_upstream_needs_time_for() -> None:
    """Within the share of streams."""
    assert most_at_once(0.005) == 16
    assert 80 <= most_at_once(0.1) <= 110
    assert most_at_once(2.0) == 228
    assert most_at_once(2.0, SHIP_MAX_IN_FLIGHT="40", SHIP_STREAM_SHARE="0.25") == 10


def test_the_end_of_all_readings_leaves_nothing_behind() -> None:
    async def work(scene: Scene) -> None:
        scene.ship.read_seconds = 1.0
        for number in range(100):
            scene.readings.follow(shipment(number), Listener(scene), at_once=number % 2 == 0)
        await asyncio.sleep(0.5)
        await scene.readings.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    done(work)


def test_each_reading_is_linked_to_those_who_wait_for_it_up_to_a_bound() -> None:
    async def work(scene: Scene) -> None:
        made: list[Linked] = []

        def observation() -> Linked:
            made.append(Linked())
            return made[-1]

        readings = Readings(scene.api, ROW.read, observation)
        first = Listener(scene)
        readings.follow(NAME, first, at_once=True)
        await until(lambda: first.told)
        others = [Listener(scene) for _ in range(40)]
        for other in others:
            readings.follow(NAME, other)
        await until(lambda: others[0].told)
        assert made[0].calls == [first.observation]
        assert made[1].calls == [each.observation for each in (first, *others)][:32]
        await readings.close()

    done(work)
