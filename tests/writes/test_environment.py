"""What all writes of a process have in common."""

from __future__ import annotations

import asyncio

from allocation_gateway.writes import environment
from allocation_gateway.writes.environment import BackgroundSteps, NamedWrite

WRITE = NamedWrite("id", "/allocation.v1.ShipmentAllocationService/AllocateShipment")


def test_what_ends_claims_does_not_pile_up_while_the_store_is_away() -> None:
    """Each refused write has something to end. What is not tried is ended by its lease."""
    tried = 0

    async def end() -> None:
        # Never answered: how many are tried must not depend on how soon one is tried again.
        nonlocal tried
        tried += 1
        await asyncio.Event().wait()

    async def main() -> None:
        steps = BackgroundSteps()
        for _ in range(2 * environment._MOST_ENDING):
            steps.run(end, WRITE)
        await asyncio.sleep(0)
        assert tried == environment._MOST_ENDING
        await steps.end(0.0)
        steps.run(end, WRITE)
        await asyncio.sleep(0)
        assert tried == environment._MOST_ENDING + 1, "there is room again"
        await steps.end(0.0)

    asyncio.run(main())
