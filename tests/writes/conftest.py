"""A gateway in front of a Ship API that remembers what was done, and loses answers."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.front import running_front
from support.upstream import running_upstream
from support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from support.front import Front

# Short, so that nobody waits long for what cannot take effect any more.
SETTLE = 1.0
SETTINGS = {
    "SHIP_TIMEOUT": str(SETTLE),
    "SHIP_SETTLE_TIME": str(SETTLE),
    "LOCK_WAIT": "0.3",
    "DEADLINE_MARGIN": "0.2",
    "SHIP_BREAKER_MIN_CALLS": "1000000",
}


@dataclass(frozen=True)
class Scene:
    """What a test of a write needs."""

    front: Front
    world: World

    @property
    def stub(self) -> ShipmentAllocationServiceStub:
        """Calls the gateway."""
        return self.front.stub


@contextmanager
def running_scene(**settings: str) -> Iterator[Scene]:
    """Runs a gateway with settings of its own."""
    with running_upstream() as upstream:
        world = World()
        upstream.default = world.answer
        with running_front(upstream, settings={**SETTINGS, **settings}) as front:
            yield Scene(front, world)


@pytest.fixture(scope="module")
def shared_scene() -> Iterator[Scene]:
    """One gateway and one world for a module: each test has shipments of its own."""
    with running_scene() as scene:
        yield scene


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    """The same, with nothing written."""
    shared_scene.world.written.clear()
    shared_scene.world.readable = True
    shared_scene.world.read.clear()
    while not shared_scene.world.fates.empty():
        shared_scene.world.fates.get()
    shared_scene.front.gateway.forget()
    return shared_scene
