"""What a write leaves behind: nothing that only the garbage collector could free.

It would run the more often, and each time look through every call that is under way.
"""

from __future__ import annotations

import gc
import uuid
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from support.front import LONG
from support.world import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from writes.conftest import Scene

CALLS = 20


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """Lets a block run without the collector, and then tells what of ours it would have had to free."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = (type(left) for left in gc.garbage)
        found.update(kind.__qualname__ for kind in kinds if kind.__module__.startswith("allocation_gateway."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def allocate(scene: Scene) -> None:
    request = pb.AllocateShipmentRequest(shipment_reference=f"sp_{uuid.uuid4()}", request_id=str(uuid.uuid4()))
    scene.stub.AllocateShipment(request, timeout=LONG)


def test_a_write_leaves_nothing_for_the_garbage_collector(scene: Scene) -> None:
    allocate(scene)
    with watched() as found:
        for _ in range(CALLS):
            allocate(scene)
    assert not found


def test_a_refused_write_leaves_nothing_for_the_garbage_collector(scene: Scene) -> None:
    with watched() as found:
        for _ in range(CALLS):
            scene.world.fates.put(REFUSED)
            with pytest.raises(grpc.RpcError, match="FAILED_PRECONDITION"):
                allocate(scene)
    assert not found
