"""Which store the settings ask for, and whether a server is fit to keep claims."""

from __future__ import annotations

import asyncio
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
import redis
import structlog
from allocation_gateway import pooling
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import Begun, Busy, StoreUnavailableError
from allocation_gateway.settings import ConfigurationError, Secret, Settings
from allocation_gateway.telemetry.telemetry import Telemetry
from redis import exceptions
from redis.asyncio import Redis
from support.cache import CacheServer, free_port, running_cache
from support.claims import new_claim, open_claims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.claims.model import ClaimStore

NAMES: Final = ("ship", "consignments")
SAFE: Final = ("--appendonly", "yes")
PASSWORD: Final = "a-password-that-nobody-may-see"  # noqa: S105 - of a server that lives for one test


async def opened(port: int, *, user: str = "", **more: Any) -> Mapping[str, ClaimStore]:
    """Opens the stores on a server."""
    settings = Settings(store_url=Secret(f"redis://{user}127.0.0.1:{port}/0"), store_timeout=5.0, **more)
    return await open_claims(settings, NAMES, Telemetry())


async def close(stores: Mapping[str, ClaimStore]) -> None:
    for store in stores.values():
        await store.close()


def told(lines: list[Any]) -> list[str]:
    """Returns the events of log lines."""
    return [line["event"] for line in lines]


@pytest.mark.asyncio
async def test_without_a_server_each_api_has_a_store_in_memory_with_the_settings_for_it() -> None:
    stores = await open_claims(Settings(claims_in_memory=1, claim_retention_in_memory=60.0), NAMES, Telemetry())
    assert [type(store) for store in stores.values()] == [MemoryClaims, MemoryClaims]
    for store in stores.values():
        assert isinstance(await store.begin(new_claim()), Begun)
    await close(stores)


@pytest.mark.cache
@pytest.mark.asyncio
async def test_the_stores_of_apis_and_of_namespaces_are_apart_on_one_server(tmp_path: Path) -> None:
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        with structlog.testing.capture_logs() as lines:
            ours, theirs = await opened(server.port), await opened(server.port, store_namespace="theirs")
            for store in (*ours.values(), *theirs.values()):
                assert isinstance(await store.begin(new_claim()), Begun)
            again = await opened(server.port)
            assert isinstance(await again["ship"].begin(new_claim("other")), Busy)
        assert told(lines) == ["claim_store_usable"] * 3
        assert {*client.keys("*:claim:*")} == {
            f"{namespace}:{{{name}}}:claim:id".encode()
            for namespace in ("allocation-gateway-claims", "theirs")
            for name in NAMES
        }
        for stores in (ours, theirs, again):
            await close(stores)


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("checks", ["require", "off"])
async def test_the_connection_is_there_before_the_first_call(checks: str, tmp_path: Path) -> None:
    """Many first calls at once keep a process too busy to connect in the time that they wait for it."""
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        stores = await opened(server.port, store_checks=checks)
        (found,) = [one for one in client.client_list() if one["cmd"] != "client|list"]
        assert found["cmd"] in {"eval", "evalsha"}, "the script is not tried"
        await close(stores)


UNSAFE: Final = {
    "evicts": ((*SAFE, "--maxmemory-policy", "volatile-lru"), "volatile-lru, which must be noeviction"),
    "forgets": ((), "keeps no append-only file"),
}


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("why", UNSAFE)
async def test_a_server_that_may_lose_claims_is_refused_unless_that_is_accepted(why: str, tmp_path: Path) -> None:
    options, text = UNSAFE[why]
    with running_cache(*options, "--dir", str(tmp_path)) as server:
        with pytest.raises(ConfigurationError, match=f"_STORE_URL: .*{text}.*_STORE_CHECKS"):
            await opened(server.port)
        for checks, events in (
            ("warn", ["claim_store_unsafe", "claim_store_usable"]),
            ("off", ["claim_store_usable"]),
        ):
            with structlog.testing.capture_logs() as lines:
                stores = await opened(server.port, store_checks=checks)
                for store in stores.values():
                    assert isinstance(await store.begin(new_claim(checks, references=(checks,))), Begun)
            assert told(lines) == events
            await close(stores)


def documented_rights() -> list[str]:
    """Returns what docs/claims.md says that the user on the server needs."""
    text = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()
    (commands,) = re.findall(r"The user needs `([^`]+)`", text)
    (keys,) = re.findall(r"the keys `([^`]+)`", text)
    return [*commands.split(), keys.replace("<namespace>", Settings().store_namespace)]


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("may_ask", [True, False])
async def test_a_user_with_the_documented_rights_can_take_every_step(may_ask: bool, tmp_path: Path) -> None:
    """But for INFO: without it nobody can tell that the server is safe."""
    rights = [right for right in documented_rights() if may_ask or right != "+info"]
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("ACL", "SETUSER", "gateway", "on", ">right", *rights)
        user = "gateway:right@"
        if not may_ask:
            with pytest.raises(ConfigurationError, match="INFO"):
                await opened(server.port, user=user)
        stores = await opened(server.port, user=user, store_checks="require" if may_ask else "warn")
        store, claim = stores["ship"], new_claim(effects=0.0)
        for _ in range(2):
            assert isinstance(await store.begin(claim), Begun)
            assert await store.renew("id", "holder", 1.0)
            assert await store.take_over("id", "holder", 1.0) is not None
            await store.leave_in_doubt("id", "holder", effects=0.0)
            assert await store.settle("id", "holder")
        assert isinstance(await store.begin(claim), Begun)
        await store.finish("id", "holder", b"", fallback=claim, allocated=("a",), deallocated=("b",), keep_locks=1.0)
        assert isinstance(await store.begin(new_claim("other")), Busy)
        assert isinstance(await store.begin(new_claim("third", references=("c",))), Begun)
        await store.release("third", "holder")
        await close(stores)


@pytest.mark.cache
@pytest.mark.asyncio
async def test_a_user_that_lacks_one_of_the_documented_rights_is_told_at_the_start(tmp_path: Path) -> None:
    """A step that is refused in its middle would leave a claim between two states."""
    rights = documented_rights()
    needed = [right for right in rights if right.startswith("+") and right != "+@connection"]
    assert "+pexpire" in needed
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        for right in needed:
            if right == "+eval":  # is needed once by a server, which knows the script from then on
                continue
            client.execute_command("SCRIPT", "FLUSH")
            client.execute_command("ACL", "SETUSER", "poor", "reset", "on", ">right", *rights, f"-{right[1:]}")
            with pytest.raises(ConfigurationError) as raised:
                await opened(server.port, user="poor:right@")
            assert "lacks rights on the server" in str(raised.value) or right == "+info", right
        assert client.dbsize() == 0


@pytest.mark.cache
@pytest.mark.asyncio
async def test_claim_is_not_ended_by_half_when_a_right_is_taken_away(tmp_path: Path) -> None:
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">right", *documented_rights())
        store = (await opened(server.port, user="poor:right@"))["ship"]
        claim = new_claim()
        assert isinstance(await store.begin(claim), Begun)
        client.execute_command("ACL", "SETUSER", "poor", "-pexpire")
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await store.finish("id", "holder", b"a", fallback=claim, allocated=("sp_1",), deallocated=())
        client.execute_command("ACL", "SETUSER", "poor", "+pexpire")
        await store.finish("id", "holder", b"a", fallback=claim, allocated=("sp_1",), deallocated=())
        assert all(client.pttl(key) > 0 for key in client.scan_iter()), "something is kept for ever"
        assert isinstance(await store.begin(new_claim("other")), Begun)
        await store.close()


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("checks", ["require", "warn"])
async def test_a_server_that_refuses_the_password_is_refused_without_telling_it(checks: str, tmp_path: Path) -> None:
    with running_cache(*SAFE, "--requirepass", "right", "--dir", str(tmp_path)) as server:
        for user in (f":{PASSWORD}@", ""):
            with pytest.raises(ConfigurationError, match="refuses the credentials of the URL") as raised:
                await opened(server.port, user=user, store_checks=checks)
            assert PASSWORD not in f"{raised.value}"


async def begun_anew(store: ClaimStore) -> None:
    """Begins a claim as soon as there is a connection again."""
    async with asyncio.timeout(20.0):
        while True:
            try:
                await store.begin(new_claim("other", references=("b",)))
            except StoreUnavailableError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("user", ["", "gateway"])
async def test_a_password_in_a_file_is_replaced_without_a_restart(user: str, tmp_path: Path) -> None:
    """The next connection logs in with what the file holds then. The cache's connections do the same."""
    file = tmp_path / "password"
    file.write_text("old\n")
    name = user or "default"
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", name, "on", "resetpass", ">old", "~*", "&*", "+@all")
        at = f"redis://{user}@127.0.0.1:{server.port}/0?password_file={quote(str(file))}".replace("//@", "//")
        stores = await open_claims(Settings(store_url=Secret(at), store_timeout=5.0), NAMES, Telemetry())
        pool = pooling.open_pool(Secret(at), connections=1, timeout=5.0)
        cache = Redis(connection_pool=pool)
        assert isinstance(await stores["ship"].begin(new_claim()), Begun)
        await cache.ping()
        with redis.Redis(port=server.port, username=name, password="old") as admin:  # noqa: S106 - of this server
            admin.execute_command("ACL", "SETUSER", name, "resetpass", ">new")
            file.write_text("new\n")
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await begun_anew(stores["ship"])
        await pool.disconnect()
        await cache.ping()
        file.write_text("wrong")
        await pool.disconnect()
        with pytest.raises(exceptions.AuthenticationError):
            await cache.ping()
        await pooling.close_pool(pool)
        await close(stores)


@pytest.mark.cache
@pytest.mark.asyncio
async def test_a_server_that_comes_later_is_used_then_if_it_is_safe(tmp_path: Path) -> None:
    """It is asked again whenever its connections were lost: another one may have taken its place."""
    port = free_port()
    with structlog.testing.capture_logs() as lines:
        stores = await opened(port)
        with pytest.raises(StoreUnavailableError):
            await stores["ship"].begin(new_claim())
        for options, safe in (((), False), (SAFE, True), ((), False)):
            server = CacheServer((*options, "--dir", str(tmp_path)), port=port)
            server.start()
            try:
                if safe:
                    assert isinstance(await begun_when_loaded(stores["ship"]), Begun)
                else:
                    with pytest.raises(StoreUnavailableError):
                        await stores["ship"].begin(new_claim())
            finally:
                server.kill()
            with pytest.raises(StoreUnavailableError):
                await stores["ship"].begin(new_claim())
    # Each reason for which it cannot be used is told by itself.
    changes = [event for event, _ in itertools.groupby(told(lines))]
    assert changes == ["claim_store_not_usable", "claim_store_usable", "claim_store_not_usable"]
    assert "unsafe" in [line.get("reason") for line in lines]
    await close(stores)


async def begun_when_loaded(store: ClaimStore) -> object:
    """Begins a claim as soon as the server has read what it keeps."""
    for _ in range(1000):
        try:
            return await store.begin(new_claim())
        except StoreUnavailableError:
            continue
    return None
