"""A primary that three real Sentinels tell, and replace when it is gone."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
import structlog
from allocation_gateway.claims.model import Begun, Held, StoreUnavailableError
from allocation_gateway.claims.primary import BySentinels
from allocation_gateway.groups.replication import Replication
from allocation_gateway.groups.shared_entries import VERSION, ObservedCode
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import ConfigurationError, Secret, Settings, server_url
from allocation_gateway.telemetry.telemetry import Telemetry
from support.cache import free_port, running_cache
from support.certificates import Authority
from support.claims import connected, new_claim, open_claims
from support.replica import Nothing
from support.replication import SERVICE, Sentinels, client, replicated, sentinels, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from allocation_gateway.claims.model import ClaimStore

pytestmark = pytest.mark.cache

# What is wanted: seconds after which writes go on, once the next primary can be reached.
SOON: Final = 2.0
PASSWORD: Final = "a-password-that-nobody-may-see"  # noqa: S105 - of servers that live for one test


async def opened(url: str, **more: Any) -> Mapping[str, ClaimStore]:
    settings = Settings(store_url=Secret(url), **{"store_checks": "warn", "store_timeout": 2.0, **more})
    return await open_claims(settings, ("ship",), Telemetry())


@pytest.mark.asyncio
async def test_elected_primary_is_used_soon_also_while_a_sentinel_is_gone(tmp_path: Path) -> None:
    with replicated() as pair, sentinels(pair, tmp_path) as watching:
        async with connected(url=watching.url(), step_timeout=1.0) as store:
            assert isinstance(await store.begin(new_claim()), Begun)
            await asyncio.to_thread(pair.wait_for_copy)
            watching.kill(0)
            pair.primary.kill()
            with client(pair.replica) as elected:
                await asyncio.to_thread(
                    wait_until, lambda: elected.info("replication")["role"] == "master", "nobody is elected"
                )
            started = time.monotonic()
            while True:
                try:
                    found = await store.begin(new_claim())
                    break
                except StoreUnavailableError:
                    assert time.monotonic() < started + SOON, "writes do not go on"
            assert isinstance(found, Held), "what was copied is there"
            assert isinstance(await store.begin(new_claim("other", references=("sp_2",))), Begun)


@pytest.mark.asyncio
async def test_primary_that_is_replaced_while_it_takes_writes_is_left(tmp_path: Path) -> None:
    """Nobody has to write to the former one to find out."""
    with replicated() as pair, sentinels(pair, tmp_path) as watching:
        async with connected(url=watching.url(), step_timeout=5.0) as store:
            await store.begin(new_claim())
            await asyncio.to_thread(pair.wait_for_copy)
            watching.clients()[1].sentinel_failover(SERVICE)
            await asyncio.to_thread(
                wait_until, lambda: watching.primaries() == [pair.replica.port] * 3, "they do not agree"
            )
            with client(pair.replica) as elected:
                await asyncio.to_thread(
                    wait_until,
                    lambda: any(one["cmd"].startswith("eval") for one in elected.client_list()),
                    "it is not used",
                )
            assert isinstance(await store.begin(new_claim()), Held)


@pytest.mark.asyncio
async def test_sentinel_that_was_cut_off_and_tells_the_former_primary_is_not_believed(tmp_path: Path) -> None:
    with replicated() as pair, sentinels(pair, tmp_path) as watching, running_cache() as former:
        # There was an election, of which the first Sentinel of the URL does not know.
        watching.clients()[1].sentinel_failover(SERVICE)
        await asyncio.to_thread(
            wait_until, lambda: watching.primaries() == [pair.replica.port] * 3, "they do not agree"
        )
        stale = watching.clients()[0]
        stale.sentinel_remove(SERVICE)
        stale.sentinel_monitor(SERVICE, former.host, former.port, 2)
        for order in (watching.ports, watching.ports[::-1]):
            async with connected(url=Sentinels(order, {}).url(), step_timeout=2.0) as store:
                await store.begin(new_claim())
        with client(pair.replica) as elected, client(former) as unused:
            assert (elected.dbsize(), unused.dbsize()) == (2, 0)


@pytest.mark.asyncio
async def test_one_sentinel_that_answers_is_enough_while_the_others_are_silent(tmp_path: Path) -> None:
    """They have neither ended nor closed anything, as behind a network that drops what is sent to them."""
    with (
        replicated() as pair,
        sentinels(pair, tmp_path) as watching,
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        silent = [server.getsockname()[1] for server in (one, two)]
        url = Sentinels((silent[0], watching.ports[0], silent[1]), {}).url()
        with structlog.testing.capture_logs() as lines:
            async with connected(url=url, step_timeout=1.0) as store:
                assert isinstance(await store.begin(new_claim()), Begun)
        assert [line["event"] for line in lines] == ["claim_store_usable"]


@pytest.mark.asyncio
async def test_of_sentinels_that_disagree_about_one_election_most_are_believed(tmp_path: Path) -> None:
    with replicated() as pair, sentinels(pair, tmp_path) as watching, running_cache() as other:
        stray = watching.clients()[2]
        stray.sentinel_remove(SERVICE)
        stray.sentinel_monitor(SERVICE, other.host, other.port, 2)
        told: list[Any] = [one.sentinel_master(SERVICE) for one in watching.clients()]
        assert {one["config-epoch"] for one in told} == {0}
        by = BySentinels(server_url.parse(watching.url()), timeout=2.0)
        assert [(await by.locate()).port for _ in range(20)] == [pair.primary.port] * 20
        await by.close()
        # Of two that differ, neither is right for certain: what is used goes on to be used.
        for first in (0, 2):
            two = Sentinels((watching.ports[first], watching.ports[2 - first]), {}, ("127.0.0.1",) * 2)
            by = BySentinels(server_url.parse(two.url()), timeout=2.0)
            assert len({(await by.locate()).port for _ in range(20)}) == 1
            await by.close()


@pytest.mark.asyncio
async def test_what_is_wrong_with_sentinels_is_told(tmp_path: Path) -> None:
    none = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{free_port()},127.0.0.1:{free_port()}/{SERVICE}/0"
    with structlog.testing.capture_logs() as lines:
        stores = await opened(none)
        with pytest.raises(StoreUnavailableError):
            await stores["ship"].begin(new_claim())
        await stores["ship"].close()
    (line,) = lines
    assert (line["event"], line["reason"]) == ("claim_store_not_usable", "sentinel")
    assert "tells the primary: nothing listens on" in line["problem"]
    assert PASSWORD not in f"{lines}"
    with replicated() as pair, sentinels(pair, tmp_path) as watching:
        url = watching.url().replace(SERVICE, "another")
        with pytest.raises(ConfigurationError, match="know no primary with the name another"):
            await opened(url)


@pytest.mark.asyncio
async def test_sentinels_and_servers_with_passwords_of_their_own(tmp_path: Path) -> None:
    options = ("--requirepass", "right", "--masterauth", "right")
    with (
        replicated(*options, password="right") as pair,  # noqa: S106 - of these servers
        sentinels(pair, tmp_path, f"sentinel auth-pass {SERVICE} right", password=PASSWORD) as watching,
    ):
        good = watching.url(options=f"?sentinel_password={PASSWORD}").replace("://", "://:right@")
        stores = await opened(good)
        assert isinstance(await stores["ship"].begin(new_claim()), Begun)
        await stores["ship"].close()
        with structlog.testing.capture_logs() as lines:
            stores = await opened(watching.url().replace("://", "://:right@"))
            await stores["ship"].close()
        assert [line["reason"] for line in lines] == ["sentinel"]
        with pytest.raises(ConfigurationError, match="refuses the credentials"):
            await opened(good.replace("right", "wrong"))


@pytest.mark.asyncio
async def test_password_of_sentinels_in_a_file_is_replaced_without_a_restart(tmp_path: Path) -> None:
    """The primary is replaced after that: only who logs in with the new password learns where it is."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    with replicated() as pair, sentinels(pair, tmp_path, password=PASSWORD) as watching:
        url = watching.url(options=f"?sentinel_password_file={quote(str(file))}")
        async with connected(url=url, step_timeout=5.0) as store:
            assert isinstance(await store.begin(new_claim()), Begun)
            await asyncio.to_thread(pair.wait_for_copy)
            watching.change_password("another")
            file.write_text("another\n")
            watching.clients()[1].sentinel_failover(SERVICE)
            await asyncio.to_thread(
                wait_until, lambda: watching.primaries() == [pair.replica.port] * 3, "they do not agree"
            )
            # The former primary knows the claim too, and may take writes for a moment longer.
            pair.primary.kill()
            async with asyncio.timeout(20.0):
                while True:
                    try:
                        found = await store.begin(new_claim())
                        break
                    except StoreUnavailableError:
                        await asyncio.sleep(0.05)
            assert isinstance(found, Held), "what was copied is there"
        file.write_text("wrong\n")
        with structlog.testing.capture_logs() as lines:
            stores = await opened(url)
            await stores["ship"].close()
        assert [line["reason"] for line in lines] == ["sentinel"]
        assert "its user name or its password is wrong" in lines[0]["problem"]


@pytest.mark.asyncio
async def test_sentinels_and_servers_that_speak_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("server")
    files = {"tls-cert-file": chain, "tls-key-file": key, "tls-ca-cert-file": authority.file, "tls-auth-clients": "no"}
    words = [word for name, value in files.items() for word in (f"--{name}", str(value))]
    with (
        replicated(*words, "--tls-replication", "yes", authority=authority.file) as pair,
        sentinels(
            pair,
            tmp_path,
            *(f"{name} {value}" for name, value in files.items()),
            "tls-replication yes",
            authority=authority.file,
        ) as watching,
    ):
        for scheme in ("rediss+sentinel", "valkeys+sentinel"):
            stores = await opened(watching.url(scheme=scheme, options=f"?ssl_ca_certs={authority.file}"))
            assert isinstance(await stores["ship"].begin(new_claim(scheme, references=(scheme,))), Begun)
            await stores["ship"].close()
        with structlog.testing.capture_logs() as lines:
            stores = await opened(watching.url(scheme="rediss+sentinel"))
            await stores["ship"].close()
        assert [line["reason"] for line in lines] == ["sentinel"]
        assert "not trusted" in lines[0]["problem"]


@pytest.mark.asyncio
async def test_cache_that_replicas_share_can_be_found_by_sentinels(tmp_path: Path) -> None:
    with replicated() as pair, sentinels(pair, tmp_path) as watching:
        ready = asyncio.Event()
        replication = Replication(
            Secret(watching.url()), namespace="groups", base_urls={Api.SHIP: "http://127.0.0.1"}, timeout=1.0, ttl=60.0
        )
        running = asyncio.create_task(replication.run(Nothing(), lambda usable: ready.set() if usable else None))
        await asyncio.wait_for(ready.wait(), 20.0)
        replication.publish_observed(Api.SHIP, ObservedCode(VERSION, "code", time.time(), time.time() + 60.0))
        with client(pair.primary) as primary:
            await asyncio.to_thread(wait_until, lambda: primary.keys("groups:*:observed"), "it is not written")
        running.cancel()
        await asyncio.wait([running])
        await replication.close()
