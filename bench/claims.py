"""What claims take: room on a server and its CPU time for each step, and CPU time of a process that keeps them itself.

docs/claims.md and docs/scaling.md have what came of it. What the gateway's calls cost is measured elsewhere.

Usage: PYTHONPATH=tests python -m bench.claims
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.claims.cluster import ClaimCluster
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import Begun, NewClaim
from allocation_gateway.claims.slots import SlotClaims
from allocation_gateway.operations.model import Api
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.settings import Secret, Settings
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.writes import stored_answer
from allocation_gateway.writes.fingerprint import fingerprint
from support.cache import running_cache
from support.claims import connected
from support.cluster import PRIMARIES, running_cluster
from support.replication import client

from bench import payloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.operations.model import Operation
    from google.protobuf.message import Message
    from support.cache import CacheServer

SINGLES: Final = 10_000
BULKS: Final = 500
MEMBERS: Final = 100
IN_FLIGHT: Final = 400
ROUNDS: Final = 2_000
NAMESPACE: Final = Settings().store_namespace
# As docs/claims.md has it.
KEPT: Final = ("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
_LEASE: Final = 10.0
_MICRO: Final = 1e6
_ROWS: Final[dict[type[Message], Operation]] = {row.request: row for row in OPERATIONS}


class Load(NamedTuple):
    """Claims of one kind.

    Attributes:
        name: What they are called.
        claims: How many there are.
        references: How many shipments each names.
    """

    name: str
    claims: int
    references: int


class Use(NamedTuple):
    """What claims that are done have taken of servers: bytes for each, and microseconds of CPU time for each step."""

    room: float
    step: float


LOADS: Final = (Load("one reference", SINGLES, 1), Load(f"{MEMBERS} references", BULKS, MEMBERS))


def answer() -> bytes:
    """Returns the documented answer as a claim remembers it."""
    return stored_answer.pack(_ROWS[pb.AllocateShipmentWithServiceGroupRequest], payloads.response())


def new_claim(load: Load, number: int, process: str) -> NewClaim:
    """Returns a claim as a call makes it."""
    references = tuple(f"sp_{number:020d}{part:012d}" for part in range(load.references))
    request_id, group = str(uuid.uuid4()), payloads.GROUP
    request: Message = pb.AllocateShipmentsWithServiceGroupRequest(
        shipments=references, request_id=request_id, service_group=group
    )
    if load.references == 1:
        request = pb.AllocateShipmentWithServiceGroupRequest(
            shipment_reference=references[0], request_id=request_id, service_group=group
        )
    name = _ROWS[type(request)].full_name
    body, print_of = request.SerializeToString(), fingerprint(name, request)
    return NewClaim(request_id, name, print_of, body, b"", references, f"{process}-{number}", _LEASE, 30.0)


async def carry_out(store: ClaimStore, load: Load) -> None:
    """Begins claims and finishes them, as many at once as calls may be in flight."""
    numbers, process, kept = iter(range(load.claims)), uuid.uuid4().hex, answer()

    async def go_on() -> None:
        for number in numbers:
            new = new_claim(load, number, process)
            at = store.at(new.references)
            if not isinstance(await at.begin(new), Begun):
                raise RuntimeError("nobody else has this claim")
            await at.finish(new.request_id, new.holder, kept, fallback=new, allocated=new.references, deallocated=())

    await asyncio.gather(*(go_on() for _ in range(IN_FLIGHT)))


def taken(servers: Sequence[CacheServer]) -> tuple[float, float]:
    """Returns how many bytes servers hold, and how many seconds of CPU time they have used."""
    room = seconds = 0.0
    for server in servers:
        with client(server) as asked:
            found = {**asked.info("memory"), **asked.info("cpu")}
        room += found["used_memory"]
        seconds += found["used_cpu_user"] + found["used_cpu_sys"]
    return room, seconds


async def use_of(servers: Sequence[CacheServer], store: ClaimStore, load: Load, steps: int) -> Use:
    """Returns what so many claims take of servers, and of their CPU time for each of so many steps of a claim."""
    await carry_out(store, load._replace(claims=IN_FLIGHT))
    room, seconds = taken(servers)
    # Others than those that are there already.
    await carry_out(store, load)
    more, spent = taken(servers)
    return Use((more - room) / load.claims, (spent - seconds) / load.claims / steps * _MICRO)


async def on_server(load: Load) -> Use:
    """Measures with one server."""
    with running_cache(*KEPT) as server:
        async with connected(server.port, namespace=NAMESPACE) as store:
            return await use_of([server], store, load, 2)


async def on_cluster(load: Load) -> Use:
    """Measures with a cluster."""
    with running_cluster(*KEPT) as cluster:
        steps = ClaimCluster(Secret(cluster.url()), timeout=5.0, checks="off", telemetry=Telemetry())
        store = SlotClaims(steps, namespace=NAMESPACE, name=Api.SHIP.value, retention=Settings().claim_retention)
        try:
            count = 3 if load.references == 1 else 2 * load.references + 2
            return await use_of(cluster.nodes[:PRIMARIES], store, load, count)
        finally:
            await store.close()


async def in_memory() -> float:
    """Returns how many microseconds of CPU time a claim takes of a process that keeps it itself."""
    store, kept = MemoryClaims(size=SINGLES, retention=3_600.0), answer()
    claims = [new_claim(LOADS[0], number, "process") for number in range(2 * SINGLES)]
    started = time.process_time()
    for new in claims:
        await store.begin(new)
        await store.finish(new.request_id, new.holder, kept, fallback=new, allocated=new.references, deallocated=())
    return (time.process_time() - started) / len(claims) * _MICRO


def compressing() -> tuple[float, int, int]:
    """Returns how many microseconds it takes to compress the documented answer, and its size before and after."""
    kept = answer()
    started = time.process_time()
    for _ in range(ROUNDS):
        packed = zlib.compress(kept, 1)
    return (time.process_time() - started) / ROUNDS * _MICRO, len(kept), len(packed)


async def main() -> None:
    """Prints what was measured."""
    seconds, before, after = compressing()
    sys.stdout.write(f"documented answer: {before} bytes, compressed to {after} in {seconds:.0f} us\n")
    sys.stdout.write(f"in memory: {await in_memory():.1f} us for a claim that is begun and finished\n")
    for load in LOADS:
        for name, measure in (("one server", on_server), ("a cluster", on_cluster)):
            found = await measure(load)
            sys.stdout.write(
                f"{load.name}, {name}: {found.room:.0f} bytes a claim, {found.step:.0f} us of CPU time a step\n"
            )


if __name__ == "__main__":
    asyncio.run(main())
