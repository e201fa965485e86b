"""A node of a real cluster dies, and nobody says so: the others notice, and elect its replica.

How long writes of its slots stand still depends on `cluster-node-timeout`: docs/claims.md says how. To measure it:

    PYTHONPATH=server:clients/python/src:tests python -m claims.test_election MILLISECONDS ...
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from allocation_gateway.claims.model import Begun, ClaimState, Held, StoreUnavailableError
from support.claims import new_claim
from support.cluster import PRIMARIES, claims_of, running_cluster
from support.replication import wait_until

if TYPE_CHECKING:
    from allocation_gateway.claims.model import ClaimStore, NewClaim
    from support.cluster import Cluster

pytestmark = pytest.mark.cache

# Milliseconds, as short as a busy machine allows.
NODE_TIMEOUT: Final = 1_000
# Seconds after which writes go on, once the next primary can be reached; and in which one has to be elected.
SOON: Final = 2.0
_LONGEST: Final = 60.0
# Seconds between two tries.
_PAUSE: Final = 0.01


class Standstill(NamedTuple):
    """How long claims of a node were refused, in seconds since it was killed.

    Attributes:
        elected: When its replica knew that it is the primary.
        gone_on: When the first claim was begun there.
        elsewhere: How many claims the other nodes have begun meanwhile.
    """

    elected: float
    gone_on: float
    elsewhere: int


async def until_begun(store: ClaimStore, claim: NewClaim) -> float:
    """Tries to begin a claim until it is held. Returns when."""
    end = time.monotonic() + _LONGEST
    while True:
        try:
            await store.at(claim.references).begin(claim)
        except StoreUnavailableError:
            assert time.monotonic() < end, "writes do not go on"
            await asyncio.sleep(_PAUSE)
        else:
            return time.monotonic()


async def begun_elsewhere(cluster: Cluster, store: ClaimStore, is_over: asyncio.Event) -> int:
    """Begins claims at the nodes that live. Returns how many were begun until that is over."""
    # One that has its home at a node may be noted, by its id, at another.
    names = [name for node in (1, 2) for name in cluster.references(node, 400, "elsewhere")]
    count = 0
    for name in names:
        if is_over.is_set():
            break
        try:
            begun = await store.at((name,)).begin(new_claim(f"id-of-{name}", references=(name,)))
        except StoreUnavailableError:
            continue
        count += isinstance(begun, Begun)
        await asyncio.sleep(_PAUSE)
    return count


async def killed(cluster: Cluster, store: ClaimStore) -> Standstill:
    """Kills the first node, and waits until claims are begun at its replica."""
    (reference,) = cluster.references(0, 1, "first-afterwards")
    is_over = asyncio.Event()
    started = time.monotonic()
    cluster.nodes[0].kill()

    async def elected() -> float:
        await asyncio.to_thread(wait_until, lambda: cluster.is_primary(PRIMARIES), "nobody is elected", _LONGEST)
        return time.monotonic()

    election = asyncio.create_task(elected())
    elsewhere = asyncio.create_task(begun_elsewhere(cluster, store, is_over))
    gone_on = await until_begun(store, new_claim("afterwards", references=(reference,)))
    is_over.set()
    return Standstill(await election - started, gone_on - started, await elsewhere)


@pytest.mark.asyncio
async def test_replica_is_elected_by_the_other_nodes_and_knows_what_its_primary_had_answered() -> None:
    options = ("--cluster-require-full-coverage", "no")
    with running_cluster(*options, replicas=PRIMARIES, node_timeout=NODE_TIMEOUT) as cluster:
        async with claims_of(cluster, step_timeout=0.5) as store:
            names = cluster.references(0, 20, "before")
            before = [new_claim(f"id-of-{name}", references=(name,)) for name in names]
            for claim in before:
                await until_begun(store, claim)
            done = before[::2]
            for claim in done:
                await store.at(claim.references).finish(
                    claim.request_id,
                    claim.holder,
                    b"answer",
                    fallback=claim,
                    allocated=claim.references,
                    deallocated=(),
                )
            await asyncio.to_thread(cluster.wait_for_copy, 0)
            found = await killed(cluster, store)
            assert found.gone_on - found.elected < SOON, "writes do not go on once there is a primary"
            assert found.elsewhere, "the other nodes' slots stand still too"
            for claim in before:
                held = await store.at(claim.references).begin(claim)
                assert isinstance(held, Held)
                assert held.claim.state is (ClaimState.DONE if claim in done else ClaimState.IN_DOUBT)


async def _measure(node_timeout: int) -> Standstill:
    options = ("--cluster-require-full-coverage", "no")
    with running_cluster(*options, replicas=PRIMARIES, node_timeout=node_timeout) as cluster:
        async with claims_of(cluster, step_timeout=0.5) as store:
            (reference,) = cluster.references(0, 1, "before")
            await until_begun(store, new_claim("before", references=(reference,)))
            return await killed(cluster, store)


if __name__ == "__main__":
    for text in sys.argv[1:]:
        told = asyncio.run(_measure(int(text)))
        sys.stdout.write(
            f"{text} ms: elected after {told.elected:.2f} s, claims begun after {told.gone_on:.2f} s, "
            f"{told.elsewhere} elsewhere meanwhile\n"
        )
