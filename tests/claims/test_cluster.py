"""The store on a real cluster of three: slots that move while claims are in them, and a node that is killed."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import structlog
from allocation_gateway.claims import cluster as cluster_module
from allocation_gateway.claims.cluster import ClaimCluster
from allocation_gateway.claims.model import Begun, Busy, ClaimState, Held, StoreUnavailableError
from allocation_gateway.settings import ConfigurationError, Secret, Settings
from allocation_gateway.telemetry.telemetry import Telemetry
from support.cache import CacheServer, free_port, running_cache
from support.certificates import Authority
from support.claims import new_claim, open_claims
from support.cluster import Cluster, base, bus_port, claims_of, running_cluster, slot_of
from support.replication import client, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from allocation_gateway.claims.model import ClaimStore, NewClaim

pytestmark = pytest.mark.cache

# Seconds after which writes go on, once the next primary can be reached.
SOON: Final = 2.0
PASSWORD: Final = "a-password-that-nobody-may-see"  # noqa: S105 - of servers that live for one test


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    """A cluster with a replica of its first node."""
    with running_cluster(replicas=1) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """The cluster, empty."""
    running.flush()
    return running


async def finish(store: ClaimStore, claim: NewClaim) -> None:
    """Finishes an allocation of all references."""
    await store.at(claim.references).finish(
        claim.request_id, claim.holder, b"answer", fallback=claim, allocated=claim.references, deallocated=()
    )


async def begin(store: ClaimStore, claim: NewClaim) -> Any:
    """Begins a claim at its home."""
    return await store.at(claim.references).begin(claim)


def one_of_each(cluster: Cluster, prefix: str = "sp") -> tuple[str, ...]:
    """Returns references of which each of the nodes has one."""
    return tuple(cluster.references(number, 1, prefix)[0] for number in range(3))


@pytest.mark.asyncio
async def test_keys_of_a_single_write_are_in_one_slot_and_take_two_steps_and_one_for_its_id(cluster: Cluster) -> None:
    async with claims_of(cluster) as store:
        for number, reference in enumerate(one_of_each(cluster)):
            claim = new_claim(f"id-{number}", references=(reference,))
            assert isinstance(await begin(store, claim), Begun)
            assert isinstance(await begin(store, new_claim("other", references=(reference,))), Busy)
            wanted = [f"{base(reference)}claim:id-{number}", f"{base(reference)}lock"]
            assert sorted(cluster.client(number).keys(f"{base(reference)}*")) == wanted
            for other in range(4):
                cluster.ask(other, "CONFIG RESETSTAT")
            again = new_claim(f"more-{number}", references=(f"{{{reference}",))
            await begin(store, again)
            await finish(store, again)
            called = [cluster.client(other).info("commandstats") for other in range(4)]
            assert sum(one.get("cmdstat_evalsha", {}).get("calls", 0) for one in called) == 3
            await finish(store, claim)
            done = await begin(store, claim)
            assert isinstance(done, Held)
            assert done.claim.state is ClaimState.DONE
            assert cluster.client(number).exists(f"{base(reference)}owner")


@pytest.mark.asyncio
async def test_claim_of_several_takes_all_locks_or_none(cluster: Cluster) -> None:
    references = tuple(name for number in range(3) for name in cluster.references(number, 30))
    bulk = new_claim("bulk", references=references)
    async with claims_of(cluster) as store, claims_of(cluster) as other:
        single = new_claim("single", references=(references[-1],))
        await begin(other, single)
        busy = await begin(store, bulk)
        assert isinstance(busy, Busy)
        assert busy.claim.request_id == "single"
        assert cluster.keys("*:lock") == [f"{base(references[-1])}lock"]
        assert await store.at(references).read("bulk") is None
        await finish(other, single)
        got = await begin(store, bulk)
        assert isinstance(got, Begun)
        assert got.claim.owners == {references[-1]: "single"}
        for reference in references:
            busy = await begin(other, new_claim("next", references=(reference,)))
            assert isinstance(busy, Busy)
            assert busy.claim.request_id == "bulk"
        await finish(store, bulk)
        assert cluster.keys("*:lock") == []
        for reference in references:
            got = await begin(other, new_claim(f"then-{reference}", references=(reference,)))
            assert got.claim.owners == {reference: "bulk"}
            owner = await other.at((reference,)).read("bulk")
            assert owner is not None
            assert owner.answer == b"answer"


@pytest.mark.asyncio
async def test_many_that_want_overlapping_references_never_hold_one_together(cluster: Cluster) -> None:
    names = one_of_each(cluster) + one_of_each(cluster, "other")
    held: set[str] = set()
    begun = 0

    async def want(store: ClaimStore, number: int) -> None:
        nonlocal begun
        for turn in range(12):
            some = tuple(names[(number + turn + step) % len(names)] for step in range(1 + (number + turn) % 4))
            claim = new_claim(f"{number}-{turn}", references=some, holder=f"{number}")
            if not isinstance(await begin(store, claim), Begun):
                continue
            begun += 1
            assert held.isdisjoint(some)
            held.update(some)
            await asyncio.sleep(0)
            held.difference_update(some)
            await store.at(some).release(claim.request_id, claim.holder)

    async with claims_of(cluster) as one, claims_of(cluster) as two:
        await asyncio.gather(*(want((one, two)[number % 2], number) for number in range(8)))
    assert begun > 12
    assert cluster.keys("*:lock") == cluster.keys("*claim:*") == []


@pytest.mark.asyncio
async def test_what_a_dead_process_has_begun_and_not_held_is_void_after_its_lease(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died after it had begun its claim at home, and before it had all locks."""
    references = one_of_each(cluster)
    async with claims_of(cluster) as store:
        bulk = new_claim("bulk", references=references, lease=0.3)
        seen = store.at(references)
        carry_out = seen._steps.run

        async def dies(step: str, *more: Any) -> Any:
            if step == "confirm":
                raise StoreUnavailableError("the process has died")
            return await carry_out(step, *more)

        with monkeypatch.context() as patched:
            patched.setattr(seen._steps, "run", dies)
            with pytest.raises(StoreUnavailableError):
                await begin(store, bulk)
        assert len(cluster.keys("*:lock")) == 3
        others = [new_claim(f"other-{name}", references=(name,)) for name in references]
        for other in others:
            busy = await begin(store, other)
            assert isinstance(busy, Busy)
            assert await seen.take_over("bulk", "somebody", 1.0) is None
        await asyncio.sleep(0.3)
        assert await seen.take_over("bulk", "somebody", 1.0) is None, "nothing was sent: there is nothing to find out"
        for other in others:
            assert isinstance(await begin(store, other), Begun)
        assert not cluster.keys("*claim:bulk")


@pytest.mark.asyncio
async def test_id_that_is_used_for_another_reference_is_found_out(cluster: Cluster) -> None:
    ones, others = one_of_each(cluster), one_of_each(cluster, "other")
    async with claims_of(cluster) as store, claims_of(cluster) as second:
        for number, (one, other) in enumerate(zip(ones, others[1:] + others[:1], strict=True)):
            first = new_claim(f"id-{number}", references=(one,))
            again = new_claim(f"id-{number}", references=(other,), fingerprint="1:bb", holder="another")
            await begin(store, first)
            for _ in range(2):
                held = await begin(second, again)
                assert isinstance(held, Held)
                assert held.claim.references == (one,)
                await finish(store, first)
            assert cluster.keys("*:lock") == []
            free = new_claim(f"free-{number}", references=(one,))
            assert isinstance(await begin(store, free), Begun)
            await store.at((one,)).release(free.request_id, free.holder)
            moved = new_claim(f"free-{number}", references=(other,), fingerprint="1:bb")
            assert isinstance(await begin(second, moved), Begun), "what was never made does not keep its id"
            await second.at((other,)).release(moved.request_id, moved.holder)


# Slots that move.


@pytest.mark.asyncio
async def test_claims_stay_what_they_are_while_their_slots_move(cluster: Cluster) -> None:
    (reference,) = cluster.references(0, 1, "moved")
    slot, far = slot_of(reference), cluster.references(2, 1)[0]
    async with claims_of(cluster) as store:
        single = new_claim("single", references=(reference,))
        bulk = new_claim("bulk", references=(far, *cluster.references(0, 3, "bulk")))
        await begin(store, single)
        await begin(store, bulk)
        cluster.begin_to_move(slot, 0, 1)
        # Nothing is there that is not here: steps are carried out where all keys are, or nowhere.
        assert await store.at((reference,)).renew("single", "holder", 30.0)
        waiting = asyncio.create_task(begin(store, new_claim("other", references=(reference,))))
        cluster.move_keys(slot, 0, 1, count=1)
        assert await store.at((reference,)).renew("single", "holder", 30.0), "wherever the claim is by now"
        assert not waiting.done()
        cluster.move_keys(slot, 0, 1)
        assert await store.at((reference,)).renew("single", "holder", 30.0), "it is asked for where it was moved to"
        cluster.end_moving(slot, 1)
        assert isinstance(await waiting, Busy)
        assert isinstance(await begin(store, single), Held)
        for other in bulk.references[1:]:
            cluster.begin_to_move(slot_of(other), 0, 2)
            cluster.move_keys(slot_of(other), 0, 2)
            cluster.end_moving(slot_of(other), 2)
        await finish(store, bulk)
        await finish(store, single)
        assert cluster.keys("*:lock") == []
        for name in (reference, *bulk.references):
            got = await begin(store, new_claim(f"last-{name}", references=(name,)))
            assert got.claim.owners == {name: "single" if name == reference else "bulk"}


@pytest.mark.asyncio
async def test_step_goes_to_where_its_slot_is_said_to_be(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if nobody looks at the slots for long."""
    monkeypatch.setattr(cluster_module, "_SHORTEST_INTERVAL", 3_600.0)
    (reference,) = cluster.references(1, 1, "told")
    async with claims_of(cluster) as store:
        await begin(store, new_claim("id", references=(reference,)))
        cluster.begin_to_move(slot_of(reference), 1, 0)
        cluster.move_keys(slot_of(reference), 1, 0)
        cluster.end_moving(slot_of(reference), 0)
        for _ in range(2):
            assert isinstance(await begin(store, new_claim("id", references=(reference,))), Held)


@pytest.mark.asyncio
async def test_slot_that_stays_between_two_nodes_is_refused_and_not_guessed_about(cluster: Cluster) -> None:
    (reference,) = cluster.references(1, 1, "between")
    slot = slot_of(reference)
    async with claims_of(cluster, step_timeout=0.5) as store:
        await begin(store, new_claim("first", references=(reference,)))
        cluster.begin_to_move(slot, 1, 2)
        lock = f"{base(reference)}lock"
        cluster.ask(1, "MIGRATE", "127.0.0.1", cluster.nodes[2].port, "", 0, 5000, "KEYS", lock)
        with pytest.raises(StoreUnavailableError, match="TryAgain"):
            await begin(store, new_claim("second", references=(reference,)))
        assert isinstance(await begin(store, new_claim("elsewhere", references=cluster.references(1, 1))), Begun)
        cluster.move_keys(slot, 1, 2)
        cluster.end_moving(slot, 2)
        assert isinstance(await begin(store, new_claim("second", references=(reference,))), Busy)


@pytest.mark.asyncio
async def test_slot_that_two_nodes_send_to_each_other_is_told_as_such(cluster: Cluster) -> None:
    """As after a move of which only the node that the slot leaves has learned."""
    elsewhere, reference = cluster.references(1, 2, "to-and-fro")
    slot, port = slot_of(reference), cluster.nodes[1].port
    cluster.ask(1, "CLUSTER SETSLOT", slot, "MIGRATING", cluster.id(2))
    async with claims_of(cluster, step_timeout=0.5) as store:
        # The connections are there: the step is sent on from the first answer, which is an ASK.
        await begin(store, new_claim("before", references=(elsewhere,)))
        with structlog.testing.capture_logs() as lines, pytest.raises(StoreUnavailableError, match="MovedError"):
            await begin(store, new_claim("id", references=(reference,)))
        (line,) = [line for line in lines if line["event"] == "claim_store_not_usable"]
        assert (line["reason"], line["problem"]) == (
            "cluster",
            f"the nodes of the cluster disagree about which of them has slot {slot}: "
            f"the step was redirected too often (MOVED), last to 127.0.0.1:{port}; "
            f"look at the slots with CLUSTER NODES, or with redis-cli --cluster check 127.0.0.1:{port}",
        )
        cluster.ask(1, "CLUSTER SETSLOT", slot, "STABLE")
        assert isinstance(await begin(store, new_claim("id", references=(reference,))), Begun)


@contextmanager
def joined(nodes: Cluster) -> Iterator[tuple[CacheServer, Any]]:
    """Runs one more node, which has no slots, and a client of it alone."""
    bus = str(bus_port())
    options = ("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "15000")
    with running_cache(*options, port=bus_port()) as server, client(server, decode_responses=True) as fresh:
        fresh.execute_command("CLUSTER SET-CONFIG-EPOCH", 9)
        nodes.ask(0, "CLUSTER MEET", server.host, server.port, bus)

        def is_known() -> bool:
            told = [fresh.execute_command("CLUSTER INFO"), *(nodes.ask(number, "CLUSTER INFO") for number in range(3))]
            return all((one["cluster_known_nodes"], one["cluster_state"]) == ("4", "ok") for one in told)

        wait_until(is_known, "the nodes do not know each other")
        yield server, fresh


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("leave", "reason", "problem"),
    [
        (lambda server: server.signal(signal.SIGSTOP), "timeout", "{} did not answer in time"),
        (CacheServer.kill, "address", "nothing listens on {}"),
    ],
    ids=["silent", "gone"],
)
async def test_node_that_a_slot_goes_to_and_that_cannot_be_reached_is_the_one_that_is_told(
    leave: Callable[[CacheServer], None], reason: str, problem: str
) -> None:
    """And not the one that has the slot, and has sent the step on."""
    with running_cluster() as nodes, joined(nodes) as (server, fresh):
        before, moving, after = nodes.references(0, 3)
        slot = slot_of(moving)
        fresh.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", nodes.id(0))
        nodes.ask(0, "CLUSTER SETSLOT", slot, "MIGRATING", fresh.execute_command("CLUSTER MYID"))
        async with claims_of(nodes, step_timeout=0.5) as store:
            assert isinstance(await begin(store, new_claim("before", references=(before,))), Begun)
            leave(server)
            with structlog.testing.capture_logs() as lines, pytest.raises(StoreUnavailableError):
                await begin(store, new_claim("moving", references=(moving,)))
            assert isinstance(await begin(store, new_claim("after", references=(after,))), Begun)
        (line,) = [line for line in lines if line["event"] == "claim_store_not_usable"]
        assert (line["reason"], line["problem"]) == (reason, problem.format(f"127.0.0.1:{server.port}"))


# Nodes that are away.


@pytest.mark.asyncio
async def test_node_that_has_no_slots_yet_takes_steps_of_the_first_one_that_moves_there() -> None:
    with running_cluster() as nodes, joined(nodes) as (server, fresh):
        claim = new_claim("moving", references=(nodes.references(0, 1)[0],))
        slot = slot_of(claim.references[0])
        async with claims_of(nodes, step_timeout=2.0) as store:
            await begin(store, claim)
            fresh.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", nodes.id(0))
            nodes.ask(0, "CLUSTER SETSLOT", slot, "MIGRATING", fresh.execute_command("CLUSTER MYID"))
            keys = nodes.ask(0, "CLUSTER GETKEYSINSLOT", slot, 10)
            nodes.ask(0, "MIGRATE", server.host, server.port, "", 0, 5000, "KEYS", *keys)
            moving = store.at(claim.references)
            assert await moving.renew("moving", "holder", 30.0)
            connections = fresh.info("stats")["total_connections_received"]
            # The slots are looked at meanwhile, and this node has none.
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                assert await moving.renew("moving", "holder", 30.0)
            assert fresh.info("stats")["total_connections_received"] == connections, "the connection is made anew"


@pytest.mark.asyncio
async def test_slots_that_nobody_serves_are_refused_until_somebody_does(cluster: Cluster) -> None:
    (reference,) = cluster.references(2, 1, "unserved")
    slot = slot_of(reference)
    async with claims_of(cluster, step_timeout=0.3) as store:
        await begin(store, new_claim("id", references=(reference,)))
        cluster.ask(2, "CLUSTER DELSLOTS", slot)
        with structlog.testing.capture_logs() as lines, pytest.raises(StoreUnavailableError, match="ClusterDown"):
            await begin(store, new_claim("id", references=(reference,)))
        assert [line["reason"] for line in lines if line["event"] == "claim_store_not_usable"] == ["cluster"]
        cluster.ask(2, "CLUSTER ADDSLOTS", slot)
        await asyncio.to_thread(wait_until, cluster.is_ok, "the cluster does not come back")
        assert isinstance(await begin(store, new_claim("id", references=(reference,))), Held)


@pytest.mark.asyncio
async def test_node_killed_in_the_middle_of_a_bulk_write_is_replaced_by_its_replica() -> None:
    """What it had answered was copied: it is known at the replica, and nothing is begun twice."""
    with running_cluster(replicas=1) as cluster:
        references = tuple(name for number in range(3) for name in cluster.references(number, 8))
        async with claims_of(cluster, step_timeout=0.5) as store:
            before = [new_claim(f"before-{name}", references=(name,)) for name in cluster.references(0, 3, "before")]
            for claim in before:
                await begin(store, claim)
            await asyncio.to_thread(cluster.wait_for_copy, 0)
            bulk = new_claim("bulk", references=references)
            writing = asyncio.create_task(begin(store, bulk))
            await asyncio.to_thread(wait_until, lambda: cluster.keys("*:lock"), "nothing is locked")
            cluster.nodes[0].kill()
            with suppress(StoreUnavailableError):
                await writing
            # Whoever has the other nodes' slots is none the wiser.
            (name,) = cluster.references(1, 1, "meanwhile")
            await begin(store, new_claim(name, references=(name,)))
            cluster.ask(3, "CLUSTER FAILOVER", "TAKEOVER")
            started = time.monotonic()
            while True:
                try:
                    found = await begin(store, bulk)
                    break
                except StoreUnavailableError:
                    assert time.monotonic() < started + SOON, "writes do not go on"
            assert isinstance(found, Begun) or found.claim.holder == bulk.holder
            for claim in before:
                held = await begin(store, claim)
                assert isinstance(held, Held)
                assert held.claim.state is ClaimState.IN_DOUBT
            for name in references:
                assert isinstance(await begin(store, new_claim("next", references=(name,))), Busy)
            await finish(store, bulk)
            done = await begin(store, bulk)
            assert done.claim.answer == b"answer"


# What is wrong with a cluster, in one line.


async def opened(url: str, **more: Any) -> Mapping[str, ClaimStore]:
    settings = Settings(store_url=Secret(url), **{"store_checks": "warn", "store_timeout": 2.0, **more})
    return await open_claims(settings, ("ship", "consignments"), Telemetry())


@pytest.mark.asyncio
async def test_what_is_wrong_with_a_cluster_is_told(cluster: Cluster) -> None:
    with structlog.testing.capture_logs() as lines:
        stores = await opened(f"redis+cluster://:{PASSWORD}@127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
        with pytest.raises(StoreUnavailableError):
            await stores["ship"].at(("sp_1",)).begin(new_claim())
        await stores["ship"].close()
    (line,) = [line for line in lines if line["event"] == "claim_store_not_usable"]
    assert line["reason"] == "cluster"
    assert "tells where the slots are: nothing listens on 127.0.0.1:" in line["problem"]
    assert PASSWORD not in f"{lines}"
    with (
        running_cache() as alone,
        pytest.raises(
            ConfigurationError, match=r"is not a node of a cluster: a URL of one server begins with redis://"
        ),
    ):
        await opened(f"redis+cluster://127.0.0.1:{alone.port}")
    with structlog.testing.capture_logs() as lines:
        stores = await opened(f"redis://127.0.0.1:{cluster.nodes[0].port}/0")
        await stores["ship"].close()
    (line,) = [line for line in lines if line["event"] == "claim_store_not_usable"]
    assert (line["reason"], "begins with redis+cluster://" in line["problem"]) == ("cluster", True)
    with pytest.raises(ConfigurationError, match=r"the server keeps no append-only file .*STORE_CHECKS decides"):
        await opened(cluster.url(), store_checks="require")
    with running_cache("--cluster-enabled", "yes", "--cluster-port", str(bus_port())) as empty:
        with structlog.testing.capture_logs() as lines:
            stores = await opened(f"redis+cluster://127.0.0.1:{empty.port}")
            await stores["ship"].close()
        assert "it is not set up yet" in next(one["problem"] for one in lines if "problem" in one)


@pytest.mark.asyncio
async def test_connections_to_all_nodes_are_there_before_the_first_call(cluster: Cluster) -> None:
    stores = await opened(cluster.url(), store_checks="off")
    for number in range(3):
        assert [one for one in cluster.client(number).client_list() if one["cmd"].startswith("eval")]
    await stores["ship"].close()


@pytest.mark.asyncio
async def test_password_is_that_of_all_nodes() -> None:
    with running_cluster(password=PASSWORD) as cluster:
        stores = await opened(cluster.url())
        for reference in one_of_each(cluster):
            store = stores["ship"].at((reference,))
            assert isinstance(await store.begin(new_claim(f"id-{reference}", references=(reference,))), Begun)
        await stores["ship"].close()
        with pytest.raises(ConfigurationError, match="refuses the credentials"):
            await opened(cluster.url().replace(PASSWORD, "wrong"))


@pytest.mark.asyncio
async def test_nodes_that_speak_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("node")
    files = {"tls-cert-file": chain, "tls-key-file": key, "tls-ca-cert-file": authority.file, "tls-auth-clients": "no"}
    words = [word for name, value in files.items() for word in (f"--{name}", str(value))]
    with running_cluster(*words, "--tls-cluster", "yes", authority=authority.file) as cluster:
        trusting = f"?ssl_ca_certs={authority.file}"
        for scheme in ("rediss+cluster", "valkeys+cluster"):
            stores = await opened(cluster.url(scheme=scheme, options=trusting))
            bulk = new_claim(scheme, references=one_of_each(cluster, scheme))
            assert isinstance(await begin(stores["ship"], bulk), Begun)
            await stores["ship"].close()
        with structlog.testing.capture_logs() as lines:
            stores = await opened(cluster.url(scheme="rediss+cluster"))
            await stores["ship"].close()
        (line,) = [line for line in lines if line["event"] == "claim_store_not_usable"]
        assert "tells where the slots are: the certificate of" in line["problem"]


@pytest.mark.asyncio
async def test_user_with_the_documented_rights_can_take_every_step(cluster: Cluster) -> None:
    text = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()
    rights = [right for found in re.findall(r"user needs `([^`]+)`", text) for right in found.split()]
    assert len(rights) > 15
    for number in range(4):
        cluster.ask(number, "ACL", "SETUSER", "gateway", "reset", "on", f">{PASSWORD}", "~claims:*", *rights)
    stores = await opened(cluster.url().replace("://", f"://gateway:{PASSWORD}@"), store_namespace="claims")
    bulk = new_claim("bulk", references=one_of_each(cluster), effects=0.0)
    for _ in range(2):
        assert isinstance(await begin(stores["ship"], bulk), Begun)
        store = stores["ship"].at(bulk.references)
        assert await store.renew("bulk", "holder", 30.0)
        assert await store.settle("bulk", "holder")
        await store.leave_in_doubt("bulk", "holder", effects=0.0)
    await finish(stores["ship"], bulk)
    assert isinstance(await begin(stores["ship"], bulk), Held)
    single = new_claim("single", references=bulk.references[:1])
    await begin(stores["ship"], single)
    await stores["ship"].at(single.references).release("single", "holder")
    for right in ("pexpire", "del", "hdel"):
        # What could not be ended is not begun.
        for number in range(4):
            cluster.ask(number, "ACL", "SETUSER", "gateway", f"-{right}")
        with pytest.raises(StoreUnavailableError):
            await begin(stores["ship"], single)
        for number in range(4):
            cluster.ask(number, "ACL", "SETUSER", "gateway", f"+{right}")
        await begin(stores["ship"], single)
        await stores["ship"].at(single.references).release("single", "holder")
    await stores["ship"].close()


@pytest.mark.asyncio
async def test_closing_leaves_nothing_open(cluster: Cluster) -> None:
    steps = ClaimCluster(Secret(cluster.url()), timeout=5.0, checks="off", telemetry=Telemetry())
    await steps.close()
    async with claims_of(cluster) as store:
        await begin(store, new_claim())
    for number in range(3):
        assert all(not one["cmd"].startswith("eval") for one in cluster.client(number).client_list())
