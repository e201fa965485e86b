"""Claims to try a store with, a server that keeps them, and processes that want the same ones."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import redis
from allocation_gateway.claims.connecting import SCRIPT
from allocation_gateway.claims.model import Begun, NewClaim
from allocation_gateway.claims.opening import open_stores
from allocation_gateway.claims.server import ClaimServer
from allocation_gateway.claims.shared import SharedClaims
from allocation_gateway.settings import Secret
from allocation_gateway.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.settings import Settings

OPERATION: Final = "allocation.v1.ShipmentAllocationService/AllocateShipmentWithServiceGroup"
RETENTION: Final = 86_400.0
TURNS: Final = 200
# As long as a process needs to start on a busy machine.
_START: Final = 60.0


def new_claim(request_id: str = "id", **changes: Any) -> NewClaim:
    """Returns a claim of one shipment."""
    claim = NewClaim(request_id, OPERATION, "1:00", b"request \xff", b"note \x00", ("sp_1",), "holder", 30.0, 60.0)
    return msgspec.structs.replace(claim, **changes)


async def open_claims(settings: Settings, names: Iterable[str], telemetry: Telemetry) -> Mapping[str, ClaimStore]:
    """Opens the stores of several APIs."""
    stores = await open_stores(settings, telemetry)
    return {name: stores.of(name)[0] for name in names}


@asynccontextmanager
async def connected(
    port: int = 0,
    *,
    step_timeout: float = 5.0,
    checks: str = "off",
    retention: float = RETENTION,
    namespace: str = "claims",
    user: str = "",
    telemetry: Telemetry | None = None,
    script: str = SCRIPT,
    url: str = "",
) -> AsyncIterator[SharedClaims]:
    """Uses the store on a server: that of a port, or of a URL."""
    server = ClaimServer(
        Secret(url or f"redis://{user}127.0.0.1:{port}/0"),
        timeout=step_timeout,
        checks=checks,
        namespace=namespace,
        telemetry=telemetry or Telemetry(),
        script=script,
    )
    store = SharedClaims(server, namespace=namespace, name="ship", retention=retention)
    try:
        yield store
    finally:
        await store.close()


Work = tuple[int, list[str]]


def race(port: int, work: Callable[[int, int], Work], processes: int = 2) -> list[Work]:
    """Has several processes do the same at once. Each is given the port and its number."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        return pool.starmap(work, [(port, number) for number in range(processes)], chunksize=1)


def _wait_for_all(client: redis.Redis, processes: int = 2) -> None:
    client.incr("started")
    end = time.monotonic() + _START
    while int(client.get("started") or 0) < processes:
        assert time.monotonic() < end, "the other process does not start"
        time.sleep(0.001)


def _wait_for_other(client: redis.Redis, turn: int, number: int) -> None:
    assert client.blpop([f"ready:{turn}:{1 - number}"], timeout=_START), "the other process does not come"


def want_the_same_ids(port: int, number: int) -> Work:
    """Begins the same claims as another process, each at the same moment. Returns the ids that were begun here."""

    async def run(client: redis.Redis) -> list[str]:
        mine = []
        async with connected(port) as store:
            for turn in range(TURNS):
                claim = new_claim(f"{turn}", references=(f"sp_{turn}",), holder=f"{number}")
                # Who says last that it is ready is a little ahead: by turns, or on a busy machine it is always one.
                if waits_first := turn % 2 == number:
                    _wait_for_other(client, turn, number)
                client.rpush(f"ready:{turn}:{number}", "")
                if not waits_first:
                    _wait_for_other(client, turn, number)
                if isinstance(await store.begin(claim), Begun):
                    mine.append(claim.request_id)
        return mine

    with redis.Redis(port=port) as client:
        return 0, asyncio.run(run(client))


def want_overlapping_references(port: int, number: int) -> Work:
    """Begins and releases claims of some of six shipments.

    While it has one, it counts itself in at a witness of each. Returns how often somebody else was there too, and the
    ids that were begun here.
    """
    chance = random.Random(number)  # noqa: S311 - which shipments are next is no secret

    async def run(client: redis.Redis) -> Work:
        together, mine = 0, []
        async with connected(port) as store:
            for turn in range(TURNS):
                references = tuple(chance.sample([f"sp_{n}" for n in range(6)], 3))
                claim = new_claim(f"{number}-{turn}", references=references, holder=f"{number}")
                if not isinstance(await store.begin(claim), Begun):
                    continue
                mine.append(claim.request_id)
                together += sum(int(client.incr(f"witness:{reference}")) > 1 for reference in references)
                for reference in references:
                    client.decr(f"witness:{reference}")
                await store.release(claim.request_id, claim.holder)
        return together, mine

    with redis.Redis(port=port) as client:
        _wait_for_all(client)
        return asyncio.run(run(client))
