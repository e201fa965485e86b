"""The leader of the store changes under load, and claims are found at the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
from support.cache import CacheServer, running_cache
from support.replication import Sentinels, client, replicated, sentinels, wait_until

from e2e.release import released

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.control_plane import Kubernetes
    from e2e.situations import Loads

pytestmark = pytest.mark.e2e

_SERVERS: Final = ("10.64.254.11", "10.64.254.12", "10.64.254.13")
_SENTINELS: Final = ("10.64.254.21", "10.64.254.22", "10.64.254.23")
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
# As docs/claims.md has it.
_OPTIONS: Final = (
    *("--protected-mode", "no", "--appendonly", "yes", "--maxmemory-policy", "noeviction"),
    *("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"),
)


@dataclass
class Store:
    """Three servers, of which Sentinels choose the leader."""

    servers: dict[str, CacheServer]
    sentinels: Sentinels

    @property
    def leader(self) -> str:
        """The address of the leader that all Sentinels agree on; empty while they do not."""
        found = {host for host, _ in self.sentinels.addresses()}
        return found.pop() if len(found) == 1 else ""

    def wait_for_leader(self, former: str) -> None:
        """Waits until there is another leader, which takes writes."""
        wait_until(lambda: self.leader not in {"", former}, "there is no other leader")
        wait_until(lambda: self.replicas() >= 1, "the leader has no replica")

    def replicas(self) -> int:
        """Returns how many replicas follow the leader: none while there is none."""
        if not (address := self.leader):
            return 0
        with client(self.servers[address]) as leader:
            return int(leader.info("replication")["connected_slaves"])

    def claims(self) -> int:
        """Returns how many keys the leader has."""
        with client(self.servers[self.leader]) as leader:
            return int(leader.dbsize())


@pytest.fixture(scope="module")
def replicated_store(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A leader with two replicas, and three Sentinels."""
    first, second, third = _SERVERS
    follow = ("--replicaof", f"{first} {_PORT}", "--replica-announce-ip", third, "--repl-diskless-sync-delay", "0")
    with (
        replicated(*_OPTIONS, hosts=(first, second), port=_PORT) as pair,
        running_cache(*_OPTIONS, *follow, host=third, port=_PORT) as another,
        sentinels(pair, tmp_path_factory.mktemp("sentinels"), hosts=_SENTINELS, port=_SENTINEL_PORT) as watching,
    ):
        store = Store(dict(zip(_SERVERS, (pair.primary, pair.replica, another), strict=True)), watching)
        wait_until(lambda: store.replicas() == 2, "the replicas do not follow")
        wait_until(lambda: set(watching.replicas()) == {2}, "the Sentinels do not know the replicas")
        yield store


@pytest.fixture(scope="module")
def sentinel_release(kubernetes: Kubernetes, replicated_store: Store) -> Iterator[None]:
    """A release whose store is found by Sentinels."""
    with released(kubernetes, replicated_store.sentinels.url(), f"--set=store.sentinelPort={_SENTINEL_PORT}"):
        yield


@pytest.mark.usefixtures("sandbox", "sentinel_release")
def test_the_leader_is_killed(replicated_store: Store, loads: Loads) -> None:
    former = replicated_store.leader
    with loads.during("leader of the store killed") as situation:
        replicated_store.servers[former].kill()
        replicated_store.wait_for_leader(former)
        before = replicated_store.claims()
    situation.check()
    assert before > 0, "claims of before are not there"
    assert replicated_store.claims() > before, "the next leader is not used"


@pytest.mark.usefixtures("sandbox", "sentinel_release")
def test_another_leader_is_chosen(replicated_store: Store, loads: Loads) -> None:
    """As for maintenance: the former one is there, and takes no writes any more."""
    for server in replicated_store.servers.values():
        if not server.runs:
            server.start()
    wait_until(lambda: replicated_store.replicas() == 2, "what was killed does not follow")
    former = replicated_store.leader
    with loads.during("another leader of the store chosen") as situation:
        replicated_store.sentinels.fail_over()
        replicated_store.wait_for_leader(former)
        before = replicated_store.claims()
    situation.check()
    assert replicated_store.claims() > before > 0
