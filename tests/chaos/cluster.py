"""The store that gateways share, as a cluster: three primaries, each with a replica, real servers all of them."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from chaos.history import Incident
from chaos.store import named
from redis.crc import key_slot
from support.cluster import PRIMARIES, running_cluster
from support.replication import wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from chaos.history import History
    from chaos.plan import Plan
    from support.cluster import Cluster

# Milliseconds of silence after which a node is taken for lost: nobody but the others says that one is.
_NODE_TIMEOUT: Final = 2_000
# What the gateways ask of a server that is safe; and the slots of the others go on when one is lost.
_OPTIONS: Final = (
    *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
    *("--cluster-require-full-coverage", "no"),
)
# Milliseconds for which a node that is to be killed takes no more writes: it is killed before.
_PAUSED: Final = 10_000
# So many slots are moved at a time. The primaries that they are moved between are never killed.
_SLOTS: Final = 40
_MOVED_BETWEEN: Final = (1, 2)


class ClusterStore:
    """A cluster in which slots move, and of which a node is killed.

    Attributes:
        url: Where gateways find it.
    """

    def __init__(self, plan: Plan, history: History) -> None:
        self._plan = plan
        self._history = history
        self._stack = ExitStack()
        self._moves = 0
        # That whose turn it is to be killed, and the one that takes its place.
        self._first, self._second = 0, PRIMARIES
        self.url = ""

    async def __aenter__(self) -> Self:
        running = running_cluster(*_OPTIONS, replicas=PRIMARIES, node_timeout=_NODE_TIMEOUT)
        self._cluster: Cluster = await asyncio.to_thread(self._stack.enter_context, running)
        self.url = self._cluster.url()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._stack.close)

    async def move_slots(self) -> None:
        """Moves slots that claims are in from one node to another, one key after the other."""
        source, target = _MOVED_BETWEEN if self._moves % 2 == 0 else _MOVED_BETWEEN[::-1]
        self._moves += 1
        started = time.time()
        keys = await asyncio.to_thread(self._move, source, target)
        self._history.add(Incident("slots moved", started, time.time(), named=named("\n".join(keys).encode())))

    def _move(self, source: int, target: int) -> list[str]:
        cluster = self._cluster
        keys = sorted(cluster.ask(source, "KEYS", "*"))
        slots = sorted({key_slot(key.encode()) for key in keys})
        dice = self._plan.generator("slots", self._moves)
        some = set(dice.sample(slots, min(len(slots), _SLOTS)))
        for slot in sorted(some):
            cluster.begin_to_move(slot, source, target)
            while cluster.ask(source, "CLUSTER COUNTKEYSINSLOT", slot):
                cluster.move_keys(slot, source, target, count=1)
            cluster.end_moving(slot, target)
        return [key for key in keys if key_slot(key.encode()) in some]

    async def kill_node(self, touched: int) -> None:
        """Kills a node with SIGKILL, waits until another one is elected, and has it come back as a replica of that."""
        started = time.time()
        await asyncio.to_thread(self._kill)
        self._history.add(Incident("store node killed", started, time.time(), touched=touched))

    def _kill(self) -> None:
        cluster, first, second = self._cluster, self._first, self._second
        # What its replica has not got yet would be lost with it, which the promise does not cover (docs/claims.md).
        cluster.ask(first, "CLIENT PAUSE", _PAUSED, "WRITE")
        cluster.wait_for_copy(first, second)
        cluster.nodes[first].kill()
        wait_until(lambda: cluster.is_primary(second), "nobody is elected")
        cluster.nodes[first].start()
        wait_until(lambda: cluster.follows(first) and cluster.is_ok(), "the node does not come back")
        self._first, self._second = second, first
