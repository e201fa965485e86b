"""The store on a real server: several processes, a server that is away, slow or meddled with, and what it costs."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import redis
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation_gateway.claims.connecting import SCRIPT, Connector
from allocation_gateway.claims.link import PrimaryLink
from allocation_gateway.claims.model import Begun, Busy, ClaimState, Held, StoreUnavailableError
from allocation_gateway.claims.primary import ByName
from allocation_gateway.settings import Settings, server_url
from allocation_gateway.telemetry.telemetry import Telemetry
from google.protobuf import text_format
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.cache import CacheServer, running_cache, slow_path
from support.claims import TURNS, connected, new_claim, race, want_overlapping_references, want_the_same_ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from allocation_gateway.claims.model import Claim, NewClaim
    from allocation_gateway.claims.shared import SharedClaims
    from allocation_gateway.settings.server_url import ServerUrl

pytestmark = pytest.mark.cache

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
SHORT: Final = 0.2
LONG: Final = 5.0
PASSWORD: Final = "a-password-that-nobody-may-see"  # noqa: S105 - of a server that lives for one test


async def until(holds: Callable[[], Awaitable[Any]], bound: float = LONG) -> Any:
    """Asks again until something holds, within a bound."""
    end = time.monotonic() + bound
    while not (found := await holds()):
        assert time.monotonic() < end, "it does not hold in time"
    return found


async def finish(store: SharedClaims, claim: NewClaim, answer: bytes = b"answer", keep_locks: float = 0.0) -> None:
    """Finishes an allocation of all references."""
    await store.finish(
        claim.request_id,
        claim.holder,
        answer,
        fallback=claim,
        allocated=claim.references,
        deallocated=(),
        keep_locks=keep_locks,
    )


async def is_there(store: SharedClaims) -> Claim | None:
    """Reads the claim, if the server can be reached."""
    try:
        return await store.read("id")
    except StoreUnavailableError:
        return None


# Several at once.


def test_an_id_that_two_processes_want_at_once_is_begun_by_one_of_them(server: CacheServer) -> None:
    (_, ones), (_, others) = race(server.port, want_the_same_ids)
    assert sorted(ones + others, key=int) == [f"{turn}" for turn in range(TURNS)]
    assert ones
    assert others


def test_no_reference_is_locked_for_two_processes_at_once(server: CacheServer) -> None:
    (together, ones), (together_too, others) = race(server.port, want_overlapping_references)
    assert together == together_too == 0
    assert ones
    assert others
    with redis.Redis(port=server.port) as client:
        assert client.keys("*lock*") == []


@pytest.mark.asyncio
async def test_of_many_that_begin_at_once_one_does_and_the_others_are_shown_its_claim(server: CacheServer) -> None:
    async with connected(server.port) as store, connected(server.port) as other:
        claims = [new_claim(holder=f"{number}") for number in range(40)]
        found = await asyncio.gather(*((store, other)[n % 2].begin(claim) for n, claim in enumerate(claims)))
    (begun,) = [one for one in found if isinstance(one, Begun)]
    held = [one.claim.holder for one in found if isinstance(one, Held)]
    assert held == [begun.claim.holder] * 39


@pytest.mark.asyncio
async def test_a_claim_of_many_takes_all_locks_or_none(server: CacheServer) -> None:
    many = tuple(f"sp_{number}" for number in range(150))
    async with connected(server.port) as store:
        await store.begin(new_claim("single", references=("sp_149",)))
        busy = await store.begin(new_claim("bulk", references=many))
        assert isinstance(busy, Busy)
        assert busy.claim.request_id == "single"
        assert await store.read("bulk") is None
        assert isinstance(await store.begin(new_claim("another", references=many[:149])), Begun)


# Leases.


@pytest.mark.asyncio
async def test_whoever_takes_over_after_the_lease_keeps_the_former_holder_from_all_but_a_known_success(
    server: CacheServer,
) -> None:
    claim = new_claim(holder="former", lease=SHORT, effects=0.0)
    async with connected(server.port) as store, connected(server.port) as other:
        begun = await store.begin(claim)
        assert isinstance(begun, Begun)
        assert begun.claim.lease_left == pytest.approx(SHORT)
        assert await other.take_over("id", "latter", LONG) is None, "its lease has not run out"
        taken = await until(lambda: other.take_over("id", "latter", LONG))
        assert (taken.holder, taken.attempts, taken.request) == ("latter", 1, claim.request)
        assert taken.age >= SHORT
        assert not await store.renew("id", "former", LONG)
        assert not await store.settle("id", "former")
        await store.leave_in_doubt("id", "former", effects=0.0)
        await store.release("id", "former")
        left = await other.read("id")
        assert left is not None
        assert left.lease_left > 0
        assert isinstance(await store.begin(new_claim("next")), Busy), "its lock is still there"
        await finish(store, claim)
        done = await other.read("id")
        assert done is not None
        assert (done.state, done.answer) == (ClaimState.DONE, b"answer")
        await finish(other, msgspec.structs.replace(claim, holder="latter"), b"another answer")
        still = await other.read("id")
        assert still is not None
        assert still.answer == b"answer", "what is done stays as it is"
        assert isinstance(await store.begin(new_claim("next")), Begun)


@pytest.mark.asyncio
async def test_a_claim_settles_only_when_its_effects_are_over_and_is_then_taken_up_again(server: CacheServer) -> None:
    claim = new_claim(effects=SHORT)
    async with connected(server.port) as store:
        await store.begin(claim)
        assert not await store.settle("id", claim.holder)
        assert await until(lambda: store.settle("id", claim.holder))
        assert isinstance(await store.begin(new_claim(fingerprint="1:other")), Held)
        again = await store.begin(claim)
        assert isinstance(again, Begun)
        assert again.claim.attempts == 2
        assert again.claim.age >= SHORT
        await store.release("id", claim.holder)
        left = await store.read("id")
        assert left is not None
        assert (left.state, left.attempts) == (ClaimState.SETTLED, 1), "what is known of it stays known"
        assert isinstance(await store.begin(claim), Begun)
        with redis.Redis(port=server.port) as client:
            assert client.ttl("claims:{ship}:claim:id") == -1, "in doubt again, it never ends by itself"


@pytest.mark.asyncio
async def test_what_is_done_is_forgotten_after_the_retention_time_and_what_is_in_doubt_never(
    server: CacheServer,
) -> None:
    async with connected(server.port, retention=SHORT) as store:
        for name in ("done", "settled", "doubt"):
            await store.begin(new_claim(name, references=(name,), effects=0.0))
        await finish(store, new_claim("done", references=("done",)), keep_locks=LONG)
        assert isinstance(await store.begin(new_claim("next", references=("done",))), Busy), "its lock is kept"
        assert await store.settle("settled", "holder")
        with redis.Redis(port=server.port) as client:
            await until(lambda: asyncio.to_thread(lambda: client.dbsize() == 2))
            assert {*client.keys("*")} == {b"claims:{ship}:claim:doubt", b"claims:{ship}:lock:doubt"}
            assert [client.ttl(key) for key in client.keys("*")] == [-1, -1]
        assert isinstance(await store.begin(new_claim("next", references=("done",))), Begun)


# A server that is not what it should be.


@pytest.mark.asyncio
async def test_claims_survive_a_crash_of_a_server_that_writes_them_down(tmp_path: Path) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path))
    done = new_claim("done", references=("done",))
    with running_cache(*options) as server:
        async with connected(server.port, checks="require") as store:
            await until(lambda: is_begun(store, new_claim()))
            await store.begin(done)
            await finish(store, done)
            server.kill()
            server.start()
            assert await until(lambda: is_there(store))
            assert isinstance(await store.begin(new_claim("other")), Busy)
            answered = await store.read("done")
            assert answered is not None
            assert answered.answer == b"answer"


async def is_begun(store: SharedClaims, claim: NewClaim) -> bool:
    """Begins a claim, if the server can be reached."""
    try:
        return isinstance(await store.begin(claim), Begun | Held)
    except StoreUnavailableError:
        return False


@pytest.mark.asyncio
async def test_a_server_that_is_gone_is_told_at_once_and_used_again_when_it_is_back() -> None:
    with running_cache() as server:
        async with connected(server.port, step_timeout=1.0) as store:
            await store.begin(new_claim())
            server.kill()
            for _ in range(3):
                with pytest.raises(StoreUnavailableError, match=r"^begin: ConnectionError$"):
                    await store.begin(new_claim("other"))
            server.start()
            assert await until(lambda: is_begun(store, new_claim("other")))


@pytest.mark.asyncio
async def test_a_server_that_does_not_answer_costs_no_more_than_the_time_it_has(server: CacheServer) -> None:
    with slow_path(server.port) as path:
        async with connected(path.port, step_timeout=0.3) as store:
            await store.begin(new_claim())
            path.stop()
            started = time.monotonic()
            steps = [store.begin(new_claim(f"{number}")) for number in range(16)]
            found = await asyncio.gather(*steps, return_exceptions=True)
            assert time.monotonic() - started < 0.3 + 0.5
            assert {type(error) for error in found} == {StoreUnavailableError}
            path.go_on()
            assert await until(lambda: is_there(store))


@pytest.mark.asyncio
async def test_a_server_with_which_no_connection_can_be_made_in_time_costs_no_more(server: CacheServer) -> None:
    with slow_path(server.port) as path:
        path.delay(0.3)
        async with connected(path.port, step_timeout=0.5, checks="warn") as store:
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="timeout"):
                await store.read("id")
            assert time.monotonic() - started < 0.5 + 0.3


@pytest.mark.asyncio
async def test_steps_that_are_cut_off_cost_no_connection_for_good(server: CacheServer) -> None:
    """Each is cancelled at another moment, or runs out of time."""
    with slow_path(server.port) as path:
        path.delay(0.001)
        async with connected(path.port, step_timeout=0.02) as store:
            for turn in range(100):
                tasks = [asyncio.ensure_future(store.read(f"{number}")) for number in range(8)]
                await asyncio.sleep(turn * 0.0002)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            path.delay(0.0)
            for _ in range(8):
                assert await until(lambda: answers(store))


async def answers(store: SharedClaims) -> bool:
    """Tells whether steps are carried out, and each is given its own answer."""
    found = await asyncio.gather(*(store.read(f"{number}") for number in range(4)), return_exceptions=True)
    return found == [None] * 4


@pytest.mark.asyncio
async def test_a_script_that_the_server_has_forgotten_is_sent_again(server: CacheServer) -> None:
    async with connected(server.port) as store:
        await store.begin(new_claim())
        with redis.Redis(port=server.port) as client:
            client.script_flush()
        assert await store.read("id") is not None


@pytest.mark.asyncio
async def test_no_text_holds_the_password() -> None:
    for options, user in ((("--requirepass", "right"), f":{PASSWORD}@"), ((), f"nobody:{PASSWORD}@")):
        with running_cache(*options) as server:
            for checks in ("off", "warn", "require"):
                async with connected(server.port, user=user, checks=checks) as store:
                    with pytest.raises(StoreUnavailableError) as raised:
                        await store.begin(new_claim())
                    assert PASSWORD not in f"{raised.value}{raised.value.__cause__}"
            server.kill()
            async with connected(server.port, user=user) as store:
                with pytest.raises(StoreUnavailableError) as raised:
                    await store.begin(new_claim())
                assert PASSWORD not in f"{raised.value}{raised.value.__cause__}"


@pytest.mark.asyncio
async def test_a_server_without_room_refuses_a_claim_but_ends_and_tells_what_there_is() -> None:
    """Whoever would wait for room could not resolve what takes it."""
    with running_cache() as server, redis.Redis(port=server.port) as client:
        async with connected(server.port) as store:
            await store.begin(new_claim())
            client.config_set("maxmemory", "1")
            with pytest.raises(StoreUnavailableError, match="OutOfMemoryError"):
                await store.begin(new_claim("other", references=("sp_2",)))
            assert await store.renew("id", "holder", LONG, attempt=True)
            await finish(store, new_claim())
            repeated = await store.begin(new_claim())
            assert isinstance(repeated, Held)
            assert repeated.claim.answer == b"answer"
            client.config_set("maxmemory", "0")
            await store.begin(new_claim("third", references=("sp_3",)))
            client.config_set("maxmemory", "1")
            await store.release("third", "holder")
            assert await store.read("third") is None


# What is written by others.


@pytest.mark.asyncio
async def test_a_claim_of_a_later_release_is_read_and_its_news_survive_a_step_of_this_one(
    server: CacheServer,
) -> None:
    key = "claims:{ship}:claim:id"
    async with connected(server.port) as store:
        await store.begin(new_claim())
        with redis.Redis(port=server.port) as client:
            for field in ("h", "b"):
                places = msgspec.msgpack.decode(client.hget(key, field))
                client.hset(key, field, msgspec.msgpack.encode([*places, "news", 7]))
            client.hset(key, "n", "more news")
            before = await store.read("id")
            assert before is not None
            assert before.request == new_claim().request
            assert await store.renew("id", "holder", LONG, attempt=True)
            after = await store.read("id")
            assert after is not None
            assert after.attempts == 2
            assert msgspec.msgpack.decode(client.hget(key, "h"))[-2:] == ["news", 7]
            assert client.hget(key, "n") == b"more news"


@pytest.mark.asyncio
@pytest.mark.parametrize("field", ["h", "b", "z"])
@pytest.mark.parametrize(
    "damage", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x9a\x01\x09\xa1a\x01\x01\x01\x01\xa1a\x90\x90"]
)
async def test_what_is_no_claim_is_not_taken_for_one(server: CacheServer, field: str, damage: bytes) -> None:
    async with connected(server.port) as store:
        await store.begin(new_claim())
        with redis.Redis(port=server.port) as client:
            client.hset("claims:{ship}:claim:id", field, damage)
        with pytest.raises(StoreUnavailableError):
            await store.begin(new_claim())


@pytest.mark.asyncio
async def test_a_lock_without_its_claim_is_none(server: CacheServer) -> None:
    async with connected(server.port) as store:
        await store.begin(new_claim())
        with redis.Redis(port=server.port) as client:
            client.delete("claims:{ship}:claim:id")
        assert isinstance(await store.begin(new_claim("other")), Begun)


# What it costs, and what is told of it.


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [0, 1023, 1024, 100_000])
async def test_an_answer_comes_back_as_it_was_however_large(server: CacheServer, size: int) -> None:
    answer = random.Random(size).randbytes(size)  # noqa: S311 - no secret
    async with connected(server.port) as store:
        await store.begin(new_claim())
        await finish(store, new_claim(), answer)
        done = await store.read("id")
        assert done is not None
        assert done.answer == answer


def answer_of(kind: str) -> bytes:
    """Returns the answer that upstream documents, or as many bytes that nothing can make fewer of."""
    text = (FIXTURES / "ship" / "service_group.txtpb").read_text()
    message = text_format.Parse(text, ship_pb.AllocateShipmentWithServiceGroupResponse())
    documented = message.SerializeToString()
    return documented if kind == "documented" else random.Random(0).randbytes(1200)  # noqa: S311 - no secret


@pytest.mark.parametrize(
    ("kind", "references", "low", "high"),
    [("documented", 1, 1300, 1600), ("random", 1, 2000, 2300), ("random", 100, 20_000, 30_000)],
)
def test_a_claim_takes_as_much_room_as_documented(
    server: CacheServer, kind: str, references: int, low: int, high: int
) -> None:
    """See docs/claims.md for how much that is."""
    count = 200

    async def fill() -> None:
        async with connected(server.port, namespace=Settings().store_namespace) as store:
            for number in range(count):
                claim = new_claim(
                    f"00000000-0000-4000-8000-{number:012d}",
                    references=tuple(f"sp_{number:016d}{part:016d}" for part in range(references)),
                    request=b"r" * 60,
                    note=b"n" * 20,
                    holder="h" * 16,
                    fingerprint="1:" + "f" * 32,
                )
                await store.begin(claim)
                await finish(store, claim, answer_of(kind))

    asyncio.run(fill())
    with redis.Redis(port=server.port) as client:
        used = sum(int(client.memory_usage(key) or 0) for key in client.keys("*")) / count
    assert low <= used <= high


@pytest.mark.asyncio
async def test_steps_are_timed_and_failures_are_counted(server: CacheServer) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with slow_path(server.port) as path:
        async with connected(path.port, step_timeout=0.3, telemetry=Telemetry(meter_provider=provider)) as store:
            await store.begin(new_claim())
            await store.read("id")
            path.stop()
            with pytest.raises(StoreUnavailableError, match=r"^read: timeout$"):
                await store.read("id")
    data: Any = reader.get_metrics_data()
    provider.shutdown()
    metrics = {metric.name: metric.data for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    timed = metrics["allocation_gateway.claim_store.duration"].data_points
    assert {point.attributes["step"]: point.count for point in timed} == {"begin": 1, "read": 1}
    (failed,) = metrics["allocation_gateway.claim_store.failures"].data_points
    assert (dict(failed.attributes), failed.value) == ({"step": "read", "error.type": "timeout"}, 1)


class Looking(ByName):
    """Looks for the primary until it is told not to, and takes its time to end."""

    interval = 0.0

    def __init__(self, url: ServerUrl) -> None:
        super().__init__(url)
        self.has_begun = asyncio.Event()
        self.has_ended = False
        self.was_closed_first = False

    async def is_elsewhere(self, target: ServerUrl, peer: str) -> bool:
        """Never comes to an end by itself."""
        del target, peer
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.has_ended = True
        return False

    async def close(self) -> None:
        """Notes whether something still goes on."""
        self.was_closed_first = not self.has_ended


@pytest.mark.asyncio
async def test_closing_ends_what_looks_for_the_primary_first(server: CacheServer) -> None:
    """What asks Sentinels would go on to open connections that nobody closes."""
    looking = Looking(server_url.parse(f"redis://127.0.0.1:{server.port}/0"))
    connector = Connector(timeout=LONG, checks="off", namespace="claims", script=SCRIPT)
    link = PrimaryLink(looking, connector.connect, timeout=LONG, on_failure=lambda *_: False, on_contact=lambda: None)
    await link.connected(time.monotonic() + LONG)
    await looking.has_begun.wait()
    await link.close()
    assert looking.has_ended
    assert not looking.was_closed_first
