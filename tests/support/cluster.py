"""A cluster of real servers, on free ports of the loopback, whose slots can be moved and whose nodes can be killed."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis
from allocation_gateway.claims.cluster import ClaimCluster
from allocation_gateway.claims.slots import SlotClaims
from allocation_gateway.settings import Secret
from allocation_gateway.telemetry.telemetry import Telemetry
from redis.crc import key_slot

from support.cache import CacheServer, running_cache
from support.claims import RETENTION
from support.replication import access, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

SLOTS: Final = 16_384
PRIMARIES: Final = 3
NAMESPACE: Final = "claims"
# Milliseconds. No node is to be taken for lost because the machine is busy: tests say when one is.
_NODE_TIMEOUT: Final = 15_000
# Below those that systems take for connections.
_PORTS: Final = (12_000, 30_000)


def base(reference: str) -> str:
    """Returns what the names of all keys of a reference begin with."""
    return f"{NAMESPACE}:{{ship:{reference}}}:"


def slot_of(reference: str) -> int:
    """Returns the slot of a reference."""
    return key_slot(base(reference).encode())


@dataclass
class Cluster:
    """A cluster.

    Attributes:
        nodes: Its nodes, first those that began as primaries.
        password: The password that all want.
        authority: Who has signed their certificates, if they speak TLS.
    """

    nodes: Sequence[CacheServer]
    password: str = ""
    authority: Path | None = None

    def url(self, *, scheme: str = "redis+cluster", options: str = "") -> str:
        """Returns the URL, which names two of the nodes."""
        user = f":{self.password}@" if self.password else ""
        return f"{scheme}://{user}{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[1:3])}/{options}"

    def client(self, number: int) -> redis.Redis:
        """Returns a client of a node alone."""
        known = access(self.password, self.authority)
        return redis.Redis(port=self.nodes[number].port, decode_responses=True, **known)

    def ask(self, number: int, *command: Any) -> Any:
        """Asks a node."""
        with self.client(number) as client:
            return client.execute_command(*command)

    def id(self, number: int) -> str:
        """Returns the name of a node."""
        return str(self.ask(number, "CLUSTER MYID"))

    def references(self, number: int, count: int, prefix: str = "sp") -> list[str]:
        """Returns references whose slots were given to a node at first, each in another slot."""
        found: dict[int, str] = {}
        for index in range(100_000):
            reference = f"{prefix}_{index}"
            if first_node_of(slot_of(reference)) == number:
                found.setdefault(slot_of(reference), reference)
            if len(found) == count:
                break
        return list(found.values())

    def is_primary(self, number: int) -> bool:
        """Tells whether a node takes writes, as it knows itself."""
        return bool(self.ask(number, "ROLE")[0] == "master")

    def follows(self, number: int) -> bool:
        """Tells whether a node is a replica that has all that its primary has written so far."""
        role = self.ask(number, "ROLE")
        return bool(role[0] == "slave" and role[3] == "connected")

    def wait_for_copy(self, number: int, replica: int | None = None) -> None:
        """Waits until a replica has all that was written so far; without one, that of one of the first nodes."""
        written = self.ask(number, "ROLE")[1]
        follower = number + PRIMARIES if replica is None else replica
        wait_until(lambda: self.ask(follower, "ROLE")[4] >= written, "the replica does not follow")

    def is_ok(self) -> bool:
        """Tells whether all nodes know all others, and that all slots are served."""
        for number in range(len(self.nodes)):
            told = self.ask(number, "CLUSTER INFO")
            if told["cluster_state"] != "ok" or int(told["cluster_known_nodes"]) != len(self.nodes):
                return False
        return True

    def flush(self) -> None:
        """Empties all nodes."""
        for number in range(PRIMARIES):
            self.ask(number, "FLUSHALL")

    def keys(self, pattern: str = "*") -> list[str]:
        """Returns the keys of all nodes that began as primaries."""
        return [key for number in range(PRIMARIES) for key in self.ask(number, "KEYS", pattern)]

    # A slot on its way from one node to another.

    def begin_to_move(self, slot: int, source: int, target: int) -> None:
        """Has two nodes know that a slot is on its way."""
        self.ask(target, "CLUSTER SETSLOT", slot, "IMPORTING", self.id(source))
        self.ask(source, "CLUSTER SETSLOT", slot, "MIGRATING", self.id(target))

    def move_keys(self, slot: int, source: int, target: int, count: int = 1_000) -> None:
        """Moves keys of a slot."""
        keys = self.ask(source, "CLUSTER GETKEYSINSLOT", slot, count)
        if keys:
            self.ask(source, "MIGRATE", "127.0.0.1", self.nodes[target].port, "", 0, 5000, "KEYS", *keys)

    def end_moving(self, slot: int, target: int) -> None:
        """Gives a slot to a node, as all primaries know from then on."""
        self.ask(target, "CLUSTER SETSLOT", slot, "NODE", self.id(target))
        for number in range(PRIMARIES):
            if number != target and self.is_primary(number):
                self.ask(number, "CLUSTER SETSLOT", slot, "NODE", self.id(target))


def first_node_of(slot: int) -> int:
    """Returns the node that a slot is given to at first."""
    return slot * PRIMARIES // SLOTS


def _range(number: int) -> tuple[int, int]:
    slots = [slot for slot in range(SLOTS) if first_node_of(slot) == number]
    return slots[0], slots[-1]


def bus_port() -> int:
    """Returns a free port that no connection is made from.

    A node that finds another at the port of its bus ends, after it has begun to listen.
    """
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running_cluster(
    *options: str,
    replicas: int = 0,
    password: str = "",
    authority: Path | None = None,
    node_timeout: int = _NODE_TIMEOUT,
) -> Iterator[Cluster]:
    """Runs a cluster of three primaries, and as many replicas, of the first, second and third of them.

    Args:
        options: Further options of all nodes.
        replicas: How many replicas there are.
        password: The password that all nodes want.
        authority: Who has signed their certificates, if they speak TLS.
        node_timeout: Milliseconds of silence after which a node is taken for lost.
    """
    common = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        str(node_timeout),
        "--repl-diskless-sync-delay",
        "0",
    ]
    if password:
        common += ["--requirepass", password, "--masterauth", password]
    with ExitStack() as stack:
        nodes = [
            # The bus is 10,000 ports further if nothing else is said, which may be too far.
            stack.enter_context(
                running_cache(
                    *common, "--cluster-port", str(bus_port()), *options, tls=bool(authority), port=bus_port()
                )
            )
            for _ in range(PRIMARIES + replicas)
        ]
        cluster = Cluster(nodes, password, authority)
        for number in range(len(nodes)):
            cluster.ask(number, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < PRIMARIES:
                cluster.ask(number, "CLUSTER ADDSLOTSRANGE", *_range(number))
        for number in range(1, len(nodes)):
            bus = nodes[number].options[nodes[number].options.index("--cluster-port") + 1]
            cluster.ask(0, "CLUSTER MEET", "127.0.0.1", nodes[number].port, bus)
        wait_until(cluster.is_ok, "the nodes do not find each other")
        for number in range(PRIMARIES, len(nodes)):
            cluster.ask(number, "CLUSTER REPLICATE", cluster.id(number - PRIMARIES))
            wait_until(lambda: cluster.follows(number), "the replica does not follow")  # noqa: B023
        yield cluster


@asynccontextmanager
async def claims_of(
    cluster: Cluster,
    *,
    step_timeout: float = 5.0,
    checks: str = "off",
    retention: float = RETENTION,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[SlotClaims]:
    """Uses the store on a cluster."""
    steps = ClaimCluster(Secret(cluster.url()), timeout=step_timeout, checks=checks, telemetry=telemetry or Telemetry())
    store = SlotClaims(steps, namespace=NAMESPACE, name="ship", retention=retention)
    try:
        yield store
    finally:
        await store.close()
