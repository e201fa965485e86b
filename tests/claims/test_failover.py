"""A primary that is demoted, cut off, replaced or not ready: writes go on at the next one, and nothing is done twice.

The servers are real ones. What was done is counted by the server itself, in what it copies to its replica.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
import structlog
from allocation_gateway.claims import health
from allocation_gateway.claims.link import FAILOVER_WAIT
from allocation_gateway.claims.model import Begun, ClaimState, Held, StoreUnavailableError
from allocation_gateway.claims.primary import ByName
from allocation_gateway.settings import Secret, Settings
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.writes.claimant import Claimant
from allocation_gateway.writes.environment import BackgroundSteps, Environment
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.cache import CacheServer, free_port, running_cache, slow_path
from support.certificates import Authority
from support.claims import connected, new_claim, open_claims
from support.replication import client, replicated, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from allocation_gateway.claims.shared import SharedClaims

pytestmark = pytest.mark.cache

NAME: Final = "store.test"
HOSTS: Final = ("127.0.0.1", "127.0.0.2")
# What is wanted: seconds after which writes go on, once the next primary can be reached.
SOON: Final = 2.0
# The same for a process that is busy all the time.
BUSY: Final = 6.0
# Counts each step by its claim, and takes none on a replica, as every script of writes.
COUNTING: Final = "return redis.call('INCR', KEYS[1])"


class Names:
    """What names stand for, instead of what the system knows.

    Attributes:
        address: What the store's name stands for.
    """

    def __init__(self, address: str) -> None:
        self.address = address


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names(HOSTS[0])
    system = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **more: Any) -> Any:
        return system(found.address if host == NAME else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


def url(server: CacheServer, options: str = "") -> str:
    return f"redis://{NAME}:{server.port}/0{options}"


async def gone_on(store: SharedClaims, request_id: str, bound: float = SOON) -> float:
    """Reads a claim again and again until that is possible. Returns after how many seconds it was."""
    started = time.monotonic()
    while True:
        try:
            claim = await store.read(request_id)
        except StoreUnavailableError:
            assert time.monotonic() < started + bound, "writes do not go on"
            continue
        assert claim is not None, "the claim is lost"
        return time.monotonic() - started


class Load:
    """Steps that are taken all the time, each of a claim of its own, and what became of them."""

    def __init__(self, store: SharedClaims) -> None:
        self._store = store
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self.done_at = 0.0
        self._is_over = False
        self._numbers = iter(range(1_000_000))

    async def _run(self) -> None:
        while not self._is_over:
            name = f"{next(self._numbers)}"
            try:
                await self._store.read(name)
            except StoreUnavailableError:
                self.failed.add(name)
            except TypeError:  # a number is no claim
                self.done.add(name)
                self.done_at = time.monotonic()
            await asyncio.sleep(0.001)

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(16)]
        await self.until(lambda: len(self.done) > 50)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def until(self, holds: Callable[[], bool], bound: float = 20.0) -> None:
        end = time.monotonic() + bound
        while not holds():
            assert time.monotonic() < end, f"{len(self.done)} were done and {len(self.failed)} failed"
            await asyncio.sleep(0.005)

    async def goes_on(self, bound: float = SOON) -> float:
        """Waits until steps that are asked for from now on are done. Returns after how many seconds they were."""
        started = time.monotonic()
        await self.until(lambda: self.done_at > started, bound)
        return self.done_at - started

    def check(self, server: CacheServer) -> None:
        """Checks that each step that was done was done once, and none of the others more often."""
        with client(server) as witness:
            for name in self.done | self.failed:
                count = int(witness.get(f"claims:{{ship}}:claim:{name}") or 0)
                assert count == 1 if name in self.done else count <= 1, (name, count)


@pytest.mark.asyncio
@pytest.mark.parametrize("checks", ["off", "warn"])
async def test_primary_that_is_demoted_while_connections_to_it_stay_open(checks: str, names: Names) -> None:
    with replicated(hosts=HOSTS) as pair:
        async with connected(url=url(pair.primary), checks=checks, script=COUNTING) as store:
            async with Load(store) as load:
                for _ in range(2):
                    await asyncio.to_thread(pair.swap)
                    # The name follows a little later, as it does in the world.
                    await asyncio.sleep(0.2)
                    names.address = pair.primary.host
                    await load.goes_on()
                    await asyncio.to_thread(pair.wait_for_copy)
                assert not load.failed, "the failover was over before any step had waited for long enough"
            load.check(pair.primary)


@pytest.mark.asyncio
async def test_failover_that_the_server_was_told_to_make_loses_nothing(names: Names) -> None:
    with replicated(hosts=HOSTS) as pair:
        async with connected(url=url(pair.primary), script=COUNTING) as store:
            async with Load(store) as load:
                with client(pair.primary) as primary, client(pair.replica) as replica:
                    primary.execute_command("FAILOVER")
                    await asyncio.to_thread(
                        wait_until, lambda: replica.info("replication")["role"] == "master", "it does not fail over"
                    )
                names.address = pair.replica.host
                await load.goes_on()
                assert not load.failed
            load.check(pair.replica)


@pytest.mark.asyncio
async def test_former_primary_does_not_tell_what_it_still_holds(names: Names) -> None:
    """It cannot be written to, so that what it holds may be over: it must not be believed in any step."""
    with replicated(hosts=HOSTS) as pair:
        async with connected(url=url(pair.primary), step_timeout=0.2) as store:
            doubt, done = new_claim("doubt"), new_claim("done", references=("sp_2",))
            for claim in (doubt, done):
                await store.begin(claim)
            await store.finish("done", done.holder, b"old", fallback=done, allocated=("sp_2",), deallocated=())
            await asyncio.to_thread(pair.swap, follow=False)
            steps: dict[str, Callable[[], Any]] = {
                "read": lambda: store.read("doubt"),
                "held": lambda: store.begin(doubt),
                "done": lambda: store.begin(done),
                "busy": lambda: store.begin(new_claim("other")),
                "taken over": lambda: store.take_over("doubt", "another", 1.0),
                "not held": lambda: store.renew("doubt", "another", 1.0),
                "not settled": lambda: store.settle("doubt", "another"),
                "released": lambda: store.release("doubt", "another"),
                "finished": lambda: store.finish("done", "holder", b"new", fallback=done, allocated=(), deallocated=()),
            }
            for name, step in steps.items():
                with pytest.raises(StoreUnavailableError, match="ReadOnlyError"):
                    pytest.fail(f"{name}: {await step()}")
            names.address = pair.primary.host
            await gone_on(store, "doubt")
            held = await store.begin(done)
            assert isinstance(held, Held)
            assert (held.claim.state, held.claim.answer) == (ClaimState.DONE, b"old")


@pytest.mark.asyncio
async def test_primary_that_dies_and_the_next_one_by_another_address(names: Names) -> None:
    with replicated(hosts=HOSTS) as pair:
        async with connected(url=url(pair.primary), script=COUNTING, step_timeout=0.5) as store:
            async with Load(store) as load:
                await asyncio.to_thread(pair.wait_for_copy)
                pair.primary.kill()
                # Longer than steps wait for the next primary.
                await load.until(lambda: len(load.failed) > 100, bound=FAILOVER_WAIT + 5.0)
                with client(pair.replica) as promoted:
                    promoted.replicaof("NO", "ONE")
                names.address = pair.replica.host
                await load.goes_on()
            # What was not copied in time is lost, but nothing is there twice.
            with client(pair.replica) as witness:
                counts = [int(witness.get(key) or 0) for key in witness.keys("claims:{ship}:*")]
            assert {*counts} == {1}


@pytest.mark.asyncio
async def test_primary_that_is_cut_off_without_a_word(names: Names) -> None:
    with (
        running_cache() as cut_off,
        slow_path(cut_off.port) as path,
        running_cache(host=HOSTS[1], port=path.port) as successor,
    ):
        async with (
            connected(url=f"redis://{NAME}:{path.port}/0", script=COUNTING, step_timeout=0.5) as store,
            Load(store) as load,
        ):
            path.stop()
            await load.until(lambda: len(load.failed) >= 16)
            names.address = successor.host
            await load.goes_on()
            path.go_on()
            await load.goes_on()
        with client(cut_off) as one, client(successor) as other:
            for name in load.done | load.failed:
                key = f"claims:{{ship}}:claim:{name}"
                assert int(one.get(key) or 0) + int(other.get(key) or 0) <= 1, "it was asked for twice"


@pytest.mark.asyncio
async def test_address_that_now_stands_for_another_server_while_the_former_one_takes_writes(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have begun to use the new one: to go on with the former would be to know nothing of their claims."""
    monkeypatch.setattr(ByName, "interval", 0.05)
    port = free_port()
    with running_cache(port=port) as former, running_cache(host=HOSTS[1], port=port) as new:
        async with connected(url=url(former), script=COUNTING) as store:
            async with Load(store) as load:
                names.address = new.host
                with client(new) as witness:
                    await load.until(lambda: int(witness.dbsize()) > 50, SOON)
                # One that cannot be used is no reason to leave one that can.
                names.address = "127.0.0.3"
                done = len(load.done)
                await load.until(lambda: len(load.done) > done + 100)
            assert not load.failed


@pytest.mark.asyncio
async def test_server_that_still_reads_what_it_keeps_is_used_when_it_has(tmp_path: Path) -> None:
    # It answers once in a thousand keys.
    slow = ("--key-load-delay", "50")
    kept = ("--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path))
    with running_cache(*kept) as server:
        async with connected(server.port, step_timeout=1.0) as store:
            await store.begin(new_claim())
            with client(server) as filling:
                pipe = filling.pipeline(transaction=False)
                for number in range(12_000):
                    pipe.set(f"filler:{number}", "")
                pipe.execute()
            server.kill()
            server.options = (*kept, *slow)
            with structlog.testing.capture_logs() as lines:
                server.start()
                with client(server) as loading:
                    assert loading.info("persistence")["loading"] == 1, "it has read all too soon"
                with pytest.raises(StoreUnavailableError):
                    await store.read("id")
                with client(server) as loading:
                    await asyncio.to_thread(
                        wait_until, lambda: loading.info("persistence")["loading"] == 0, "it does not end to load"
                    )
                assert await gone_on(store, "id") < SOON
            told = [(line["event"], line.get("reason")) for line in lines]
            assert ("claim_store_not_usable", "loading") in told
            assert told[-1] == ("claim_store_usable", None)


@pytest.mark.asyncio
async def test_replica_that_stands_still_where_the_primary_must_have_one() -> None:
    """The primary may be the one that was cut off: it takes no writes, and what it tells may be over."""
    wanted = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
    with replicated(*wanted) as pair:
        async with connected(pair.primary.port, step_timeout=0.3) as store:
            assert isinstance(await store.begin(new_claim()), Begun)
            pair.replica.signal(signal.SIGSTOP)
            try:
                with structlog.testing.capture_logs() as lines:
                    await refused_at_last(store)
                    with pytest.raises(StoreUnavailableError):
                        await store.begin(new_claim())
                assert "persistence" in [line.get("reason") for line in lines]
            finally:
                pair.replica.signal(signal.SIGCONT)
            with client(pair.primary) as primary:
                await asyncio.to_thread(
                    wait_until, lambda: primary.info("replication")["min_slaves_good_slaves"] == 1, "it does not follow"
                )
            assert await gone_on(store, "id") < SOON


async def refused_at_last(store: SharedClaims) -> None:
    """Reads until that is refused."""
    end = time.monotonic() + 20.0
    while True:
        try:
            await store.read("id")
        except StoreUnavailableError:
            return
        assert time.monotonic() < end, "the server goes on alone"
        await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_server_that_was_full_is_used_when_it_has_room() -> None:
    with running_cache() as server, client(server) as owner:
        async with connected(server.port) as store:
            await store.begin(new_claim())
            owner.config_set("maxmemory", "1")
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match="OutOfMemoryError"):
                    await store.begin(new_claim("other", references=("sp_2",)))
            connections = owner.info("stats")["total_connections_received"]
            owner.config_set("maxmemory", "0")
            assert isinstance(await store.begin(new_claim("other", references=("sp_2",))), Begun)
            assert owner.info("stats")["total_connections_received"] == connections, "it is the one to write to"


@pytest.mark.asyncio
@pytest.mark.parametrize("refusal", ["memory", "rights"])
async def test_server_that_refuses_claims_and_lets_them_be_released_is_not_called_usable(refusal: str) -> None:
    """Each write that is refused is followed by a release, which a full server carries out."""
    with running_cache() as server, client(server) as owner:
        telemetry = Telemetry()
        async with connected(server.port, telemetry=telemetry) as store:
            assert isinstance(await store.begin(new_claim()), Begun)
            if refusal == "memory":
                owner.config_set("maxmemory", "1")
            else:
                owner.execute_command("ACL", "SETUSER", "default", "-hset")
            steps = BackgroundSteps()
            environment = Environment(30.0, 1.0, telemetry, "process", steps)
            with structlog.testing.capture_logs() as lines:
                for number in range(3):
                    writer = Claimant(environment, asyncio.get_running_loop().time)
                    claim = new_claim(f"{number}", references=(f"other_{number}",))
                    with pytest.raises(StoreUnavailableError):
                        await writer.begin(store, claim)
                    await steps.end(5.0)
                told = [(line["event"], line.get("reason")) for line in lines]
                assert told == [("claim_store_not_usable", refusal)]
                owner.config_set("maxmemory", "0")
                owner.execute_command("ACL", "SETUSER", "default", "+@all")
                assert isinstance(await store.begin(new_claim("last", references=("last",))), Begun)
            assert [line["event"] for line in lines][1:] == ["claim_store_usable"]


@pytest.mark.asyncio
async def test_idle_connection_that_was_cut_off_is_found_before_a_step_needs_it(
    server: CacheServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ByName, "interval", 0.05)
    with slow_path(server.port) as path:
        options = "?health_check_interval=1"
        async with connected(
            url=f"redis://127.0.0.1:{path.port}/0{options}", step_timeout=0.3, script=COUNTING
        ) as store:
            async with Load(store):
                pass
            with structlog.testing.capture_logs() as lines:
                path.stop()
                end = time.monotonic() + 10.0
                while not lines:
                    assert time.monotonic() < end, "nobody notices"
                    await asyncio.sleep(0.01)
            assert [(line["event"], line["reason"]) for line in lines] == [("claim_store_not_usable", "timeout")]
            path.go_on()


@pytest.mark.asyncio
@pytest.mark.parametrize("is_tls", [False, True])
async def test_process_whose_turns_are_long_comes_back_to_a_server_that_is_there(is_tls: bool, tmp_path: Path) -> None:
    """Connecting takes several turns of the event loop, which together take longer here than a server may."""
    options: tuple[str, ...] = ()
    where = "redis://127.0.0.1:{}/0"
    access: dict[str, Any] = {}
    if is_tls:
        authority = Authority(tmp_path)
        chain, key = authority.issue("server")
        files = {"cert-file": chain, "key-file": key, "ca-cert-file": authority.file, "auth-clients": "no"}
        options = tuple(word for name, value in files.items() for word in (f"--tls-{name}", str(value)))
        where = f"rediss://127.0.0.1:{{}}/0?ssl_ca_certs={authority.file}"
        access = {"ssl": True, "ssl_ca_certs": str(authority.file)}
    with running_cache(*options, tls=is_tls) as server, client(server, **access) as owner:
        async with connected(url=where.format(server.port), step_timeout=0.3) as store:
            assert isinstance(await store.begin(new_claim()), Begun)
            loop = asyncio.get_running_loop()
            is_over = False

            def hold_up() -> None:
                if not is_over:
                    time.sleep(0.06)
                    loop.call_soon(hold_up)

            loop.call_soon(hold_up)
            owner.client_kill_filter(_type="normal", skipme=True)
            try:
                await gone_on(store, "id", BUSY)
            finally:
                is_over = True


@pytest.mark.asyncio
async def test_steps_are_told_when_the_search_for_the_next_primary_takes_long() -> None:
    with running_cache() as server:
        async with connected(server.port, step_timeout=5.0) as store:
            await store.begin(new_claim())
            server.kill()
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await store.read("id")
            with pytest.raises(StoreUnavailableError, match="ConnectionError"):
                await store.read("id")
            assert FAILOVER_WAIT <= time.monotonic() - started < FAILOVER_WAIT + 2.0
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="ConnectionError"):
                await store.read("id")
            assert time.monotonic() - started < 1.0, "it is known by now"


class UsableGauge:
    """What `allocation_gateway.claim_store.usable` tells."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader])
        self.telemetry = Telemetry(meter_provider=self._provider)

    def value(self) -> int | None:
        """Returns its value; None while it is absent."""
        data: Any = self._reader.get_metrics_data()
        metrics = [] if data is None else data.resource_metrics[0].scope_metrics[0].metrics
        found = [metric for metric in metrics if metric.name == "allocation_gateway.claim_store.usable"]
        return found[0].data.data_points[0].value if found else None

    async def wait_for(self, value: int) -> None:
        """Waits until it tells so."""
        end = time.monotonic() + 10.0
        while self.value() != value:
            assert time.monotonic() < end, f"it stays {self.value()}"
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Ends what reads it."""
        self._provider.shutdown()


@pytest.mark.asyncio
async def test_a_process_that_writes_nothing_learns_that_the_server_is_back() -> None:
    """Else an alert that waits for its next write would last for ever."""
    gauge = UsableGauge()
    with running_cache("--appendonly", "yes") as server:
        settings = Settings(store_url=Secret(f"redis://127.0.0.1:{server.port}/0"))
        stores = await open_claims(settings, ("ship",), gauge.telemetry)
        await gauge.wait_for(1)
        server.kill()
        await gauge.wait_for(0)
        server.start()
        await gauge.wait_for(1)
        await stores["ship"].close()
    gauge.close()


@pytest.mark.asyncio
async def test_a_server_that_can_be_reached_and_refuses_steps_is_not_said_to_be_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection is no proof as long as steps fail; it is enough again when none has failed for a while."""
    monkeypatch.setattr(ByName, "interval", 0.02)
    monkeypatch.setattr(health, "_REMEMBERED", 0.5)
    gauge = UsableGauge()
    with running_cache() as server:
        refusing = "if ARGV[1] == 'read' then return redis.error_reply('MISCONF it is broken') end return 1"
        async with connected(server.port, script=refusing, telemetry=gauge.telemetry) as store:
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                with pytest.raises(StoreUnavailableError):
                    await store.read("id")
                # Meanwhile the connection is looked at.
                await asyncio.sleep(0.05)
                assert gauge.value() == 0
            await gauge.wait_for(1)
    gauge.close()
