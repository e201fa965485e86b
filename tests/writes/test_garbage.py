"""What a write leaves behind: nothing that only the garbage collector could free.

It would run the more often, and each time look through every call that is under way.
"""

from __future__ import annotations

import gc
import uuid
from collections import Counter
from contextlib import suppress
from typing import Final

import pytest
import uvloop
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.account_api import AccountApi
from allocation_gateway.accounts.opening import configured_upstreams
from allocation_gateway.claims.opening import in_memory
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.table import OPERATIONS, routes
from allocation_gateway.settings import PREFIX, load
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.writes.coordinator import Coordinator
from allocation_gateway.writes.request import WriteRequest
from support.front import LONG
from support.upstream import running_upstream
from support.world import ANSWERED, REFUSED, World
from writes.conftest import SETTINGS

CALLS: Final = 20
ROW: Final = next(row for row in OPERATIONS if row.request is pb.AllocateShipmentRequest)


async def leftovers(world: World, fate: str, url: str) -> Counter[str]:
    """Makes writes one after the other, as a handler does, and the collector wait.

    Returns:
        The objects of ours that it would have had to free, by their kinds.
    """
    given = {**SETTINGS, "ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": url, "SHIP_API_KEY": "key"}
    settings = load({f"{PREFIX}{name}": text for name, text in given.items()})
    telemetry = Telemetry()
    writes = Coordinator(settings, telemetry)
    (upstream,) = configured_upstreams(settings).values()
    api = AccountApi(settings, upstream, in_memory(settings), None, telemetry)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(CALLS):
            world.fates.put(fate)
            request = pb.AllocateShipmentRequest(shipment_reference=f"sp_{uuid.uuid4()}", request_id=str(uuid.uuid4()))
            write = WriteRequest(
                ROW, routes(settings)[ROW.full_name], request, is_named=True, fingerprint="1:", terms=None
            )
            with suppress(GatewayError):
                await writes.carry_out(write, api, telemetry.background(), api.clock() + LONG, {})
        gc.collect()
        kinds = [type(one) for one in gc.garbage]
        return Counter(kind.__qualname__ for kind in kinds if kind.__module__.startswith("allocation_gateway."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        await upstream.close()
        await writes.drain(0)


@pytest.mark.parametrize("fate", [ANSWERED, REFUSED])
def test_a_write_leaves_nothing_for_the_garbage_collector(fate: str) -> None:
    world = World()
    with running_upstream() as upstream:
        upstream.default = world.answer
        found = uvloop.run(leftovers(world, fate, upstream.url))
    assert len(world.written) == CALLS
    assert not found
