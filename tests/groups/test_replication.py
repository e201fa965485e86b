"""Replicas that share what they know by a real cache server: killed, restarted, slow, and meddled with."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import redis
from allocation.v1 import service_group_service_pb2 as pb
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation.v1.service_group_service_pb2_grpc import ServiceGroupServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.groups import shared_entries
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.cache import CacheServer, running_cache, slow_path
from support.certificates import Authority
from support.front import KEY, LONG, SHIPMENT
from support.gateway import Gateway, running_gateway
from support.upstream import Upstream, running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cache

SECOND: Final = 1.0
HEALTH: Final = "allocation.v1.ServiceGroupService/cache"
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
PASSWORD: Final = "a-password-that-nobody-may-see"  # noqa: S105 - of a server that lives for one test


@dataclass(frozen=True)
class Replica:
    """A gateway that shares a cache."""

    gateway: Gateway
    channel: grpc.Channel

    def allocate(self, group: str) -> None:
        """Allocates with a group."""
        request = ship_pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=SHIPMENT, service_group=group)
        ShipmentAllocationServiceStub(self.channel).AllocateShipmentWithServiceGroup(request, timeout=LONG)

    def codes(self, api: pb.Api.ValueType = pb.API_SHIP) -> set[str]:
        """Returns the codes that it knows."""
        request = pb.ListServiceGroupsRequest(api=api, page_size=1000)
        found = ServiceGroupServiceStub(self.channel).ListServiceGroups(request, timeout=LONG).service_groups
        return {group.code for group in found}

    def refresh(self) -> None:
        """Has everything forgotten."""
        ServiceGroupServiceStub(self.channel).RefreshServiceGroups(pb.RefreshServiceGroupsRequest(), timeout=LONG)

    def health(self, service: str = HEALTH) -> int:
        """Returns the health of a service."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LONG).status)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        running.default = shipped
        yield running


@pytest.fixture
def server() -> Iterator[CacheServer]:
    with running_cache() as running:
        yield running


@contextmanager
def running_replicas(upstream: Upstream, url: str, count: int = 2, **more: str) -> Iterator[list[Replica]]:
    """Runs gateways that share the cache at a URL, and waits until it is usable for each."""
    settings = {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_BASE_URL": upstream.url,
        "SHIP_API_KEY": KEY,
        "SERVICE_GROUP_REFRESH": "true",
        "CACHE_URL": url,
        **more,
    }
    with ExitStack() as stack:
        replicas = []
        for _ in range(count):
            gateway = stack.enter_context(running_gateway(settings))
            channel = stack.enter_context(grpc.insecure_channel(gateway.address))
            replicas.append(Replica(gateway, channel))
        for replica in replicas:
            replica.gateway.wait_for("cache_usable")
        yield replicas


def until(holds: Callable[[], bool], bound: float = SECOND) -> None:
    """Asks again until something holds, within a bound."""
    end = time.monotonic() + bound
    while not holds():
        assert time.monotonic() < end, "it does not hold in time"


def url(port: int, *, scheme: str = "redis", user: str = "") -> str:
    return f"{scheme}://{user}127.0.0.1:{port}/0"


def test_what_one_replica_learns_or_forgets_the_other_does_within_a_second(
    upstream: Upstream, server: CacheServer
) -> None:
    with running_replicas(upstream, url(server.port)) as (one, other):
        one.allocate("first")
        until(lambda: other.codes() == {"first"})
        other.allocate("second")
        until(lambda: one.codes() == {"first", "second"})
        one.refresh()
        until(lambda: other.codes() == set())
        other.allocate("third")
        until(lambda: one.codes() == other.codes() == {"third"})


def test_a_replica_that_comes_later_knows_what_was_learned_before(upstream: Upstream, server: CacheServer) -> None:
    with running_replicas(upstream, url(server.port)) as (one, other):
        for group in ("first", "second"):
            one.allocate(group)
        until(lambda: other.codes() == {"first", "second"})
        with running_replicas(upstream, url(server.port), 1) as (later,):
            assert later.codes() == {"first", "second"}


def test_a_server_that_is_killed_and_comes_back_empty_costs_nothing(upstream: Upstream, server: CacheServer) -> None:
    with running_replicas(upstream, url(server.port)) as (one, other):
        one.allocate("before")
        until(lambda: other.codes() == {"before"})
        server.kill()
        for replica, group in ((one, "here"), (other, "there")):
            replica.allocate(group)
            replica.gateway.wait_for("cache_not_usable")
            until(lambda replica=replica: replica.health() == NOT_SERVING)  # type: ignore[misc]
            assert replica.health("") == SERVING
            assert replica.codes() == {"before", group}
        server.start()
        until(lambda: one.codes() == other.codes() == {"before", "here", "there"}, 3 * SECOND)
        until(lambda: one.health() == other.health() == SERVING)


def test_what_was_forgotten_while_the_server_was_away_stays_forgotten(upstream: Upstream, server: CacheServer) -> None:
    with running_replicas(upstream, url(server.port)) as (one, other):
        one.allocate("before")
        until(lambda: other.codes() == {"before"})
        server.kill()
        one.refresh()
        assert other.codes() == {"before"}
        server.start()
        until(lambda: one.codes() == other.codes() == set(), 3 * SECOND)


def test_killing_the_server_under_load_fails_no_allocation(upstream: Upstream, server: CacheServer) -> None:
    """Bounded load on both replicas, each call with a group of its own, so that each of them has something to tell."""
    workers, calls = 4, 150
    failures: list[str] = []
    done = threading.Semaphore(0)

    def work(replica: Replica, number: int) -> None:
        for call in range(calls):
            try:
                replica.allocate(f"group-{number}-{call}")
            except grpc.RpcError as error:
                failures.append(f"{error}")
            done.release()

    with running_replicas(upstream, url(server.port)) as replicas:
        threads = [threading.Thread(target=work, args=(replicas[n % 2], n)) for n in range(workers)]
        for thread in threads:
            thread.start()
        for _ in range(workers * calls // 3):
            done.acquire()
        server.kill()
        for _ in range(workers * calls // 3):
            done.acquire()
        server.start()
        for thread in threads:
            thread.join()
        assert failures == []
        wanted = {f"group-{n}-{call}" for n in range(workers) for call in range(calls)}
        until(lambda: replicas[0].codes() == replicas[1].codes() == wanted, 20 * SECOND)


@pytest.mark.parametrize("how", ["slow", "stopped"])
def test_a_slow_server_delays_no_allocation_and_is_told(how: str, upstream: Upstream, server: CacheServer) -> None:
    with slow_path(server.port) as path, running_replicas(upstream, url(path.port), 1) as (one,):
        if how == "slow":
            path.delay(0.3)
        else:
            path.stop()
        started = time.monotonic()
        for number in range(50):
            one.allocate(f"group-{number}")
        assert time.monotonic() - started < 50 * 0.1
        line = one.gateway.wait_for("cache_not_usable")
        if how == "slow":
            assert line["reason"] == "slow"
        until(lambda: one.health() == NOT_SERVING)
        path.delay(0.0)
        path.go_on()
        until(lambda: one.health() == SERVING, 10 * SECOND)


def test_a_call_that_misses_the_list_waits_no_longer_than_it_may_for_a_slow_server(
    upstream: Upstream, server: CacheServer
) -> None:
    """It then asks upstream itself."""
    listing = [{"Reference": "SGREF01", "Name": "Service Group 1"}]
    settings = {
        "CONSIGNMENTS_API_KEY": KEY,
        "CONSIGNMENTS_BASE_URL": upstream.url,
        "SERVICE_GROUP_LISTING": "true",
        "CACHE_TIMEOUT": "0.2",
    }
    upstream.answer(200, listing)
    with slow_path(server.port) as path, running_replicas(upstream, url(path.port), 1, **settings) as (one,):
        assert one.codes(pb.API_CONSIGNMENTS) == {"SGREF01"}
        upstream.answer(200, listing)
        path.stop()
        started = time.monotonic()
        one.refresh()
        assert one.codes(pb.API_CONSIGNMENTS) == {"SGREF01"}
        assert time.monotonic() - started < 0.2 + SECOND


def test_a_list_that_one_replica_has_read_the_other_need_not_read(upstream: Upstream, server: CacheServer) -> None:
    settings = {
        "CONSIGNMENTS_API_KEY": KEY,
        "CONSIGNMENTS_BASE_URL": upstream.url,
        "SERVICE_GROUP_LISTING": "true",
    }
    upstream.forget()
    upstream.answer(200, [{"Reference": "SGREF01", "Name": "Service Group 1"}])
    with running_replicas(upstream, url(server.port), 1, **settings) as (one,):
        assert one.codes(pb.API_CONSIGNMENTS) == {"SGREF01"}
        until(lambda: b"SGREF01" in shared_list(server))
        # Before it has its connection to the shared list, it reads the list itself.
        upstream.answer(200, [{"Reference": "SGREF01", "Name": "Service Group 1"}])
        with running_replicas(upstream, url(server.port), 1, **settings) as (other,):
            until(lambda: other.codes(pb.API_CONSIGNMENTS) == {"SGREF01"})
            upstream.forget()
            upstream.answer(200, [{"Reference": "SGREF02", "Name": ""}])
            one.refresh()
            assert one.codes(pb.API_CONSIGNMENTS) == {"SGREF02"}
            # Until the new list is shared, one that has been told to forget the old one reads it itself.
            until(lambda: b"SGREF02" in shared_list(server))
            until(lambda: other.codes(pb.API_CONSIGNMENTS) == {"SGREF02"})
            assert [received.line for received in list(upstream.received.queue)] == ["GET /pro/servicegroups HTTP/1.1"]


@contextmanager
def connected(server: CacheServer) -> Iterator[Any]:
    """Looks into the server by hand. Its client's types are too wide to be of help."""
    with redis.Redis(port=server.port) as client:
        yield client


def shared_list(server: CacheServer) -> bytes:
    """Returns upstream's list as the replicas share it, or nothing."""
    with connected(server) as client:
        return b"".join(client.get(key) or b"" for key in client.keys("*:listing"))


def key_of(client: Any, ending: str) -> bytes:
    (found,) = client.keys(f"*{ending}")
    return bytes(found)


def test_damaged_values_and_those_of_other_versions_are_as_good_as_none(
    upstream: Upstream, server: CacheServer
) -> None:
    now = time.time()
    good = shared_entries.encode(shared_entries.ObservedCode(shared_entries.VERSION, "good", now, now + 100))
    values = {
        "good": good,
        "other": shared_entries.encode(
            shared_entries.ObservedCode(shared_entries.VERSION + 1, "other", now, now + 100)
        ),
        "damaged": good[:-5],
        "binary": b"\xff\x00\x80",
        "no-code": good.replace(b'"good"', b'""'),
        "elsewhere": good,
        "expired": shared_entries.encode(
            shared_entries.ObservedCode(shared_entries.VERSION, "expired", now - 9, now - 1)
        ),
        "future": shared_entries.encode(
            shared_entries.ObservedCode(shared_entries.VERSION, "future", now + 9999, now + 99999)
        ),
        "endless": good.replace(b'"good"', b'"endless"').replace(b'"learned_at":', b'"learned_at":1e999,"x":'),
    }
    with running_replicas(upstream, url(server.port), 1) as (one,), connected(server) as client:
        one.allocate("seen")
        until(lambda: bool(client.keys("*:observed")))
        observed = key_of(client, ":observed")
        channel = observed.replace(b":observed", b":news")
        for value in values.values():
            client.publish(channel.decode(), value)
        until(lambda: "good" in one.codes())
        assert one.codes() == {"seen", "good"}
        one.refresh()
        client.delete(observed)
        client.hset(observed.decode(), mapping=dict(values))
        fresh = shared_entries.encode(
            shared_entries.ObservedCode(shared_entries.VERSION, "fresh", time.time() + 1, now + 100)
        )
        client.hset(observed.decode(), "fresh", fresh.decode())
        with running_replicas(upstream, url(server.port), 1) as (other,):
            assert other.codes() == {"fresh"}, "what was good is older than what was forgotten"
        # Whoever learns such a code puts the damage right.
        one.allocate("damaged")
        until(
            lambda: (
                shared_entries.decode(client.hget(observed.decode(), "damaged"), shared_entries.ObservedCode)
                is not None
            )
        )


def test_a_key_of_another_type_does_not_end_the_sharing(upstream: Upstream, server: CacheServer) -> None:
    with running_replicas(upstream, url(server.port)) as (one, other), connected(server) as client:
        one.allocate("first")
        until(lambda: other.codes() == {"first"})
        observed = key_of(client, ":observed").decode()
        client.delete(observed)
        client.set(observed, "no hash")
        one.allocate("second")
        until(lambda: bool(other.codes() >= {"first"}))
        client.delete(observed)
        one.allocate("third")
        until(lambda: "third" in other.codes(), 5 * SECOND)


def test_keys_end_with_what_they_tell_of(upstream: Upstream, server: CacheServer) -> None:
    settings = {"SERVICE_GROUP_TTL": "50", "CACHE_NAMESPACE": "ours"}
    with running_replicas(upstream, url(server.port), 1, **settings) as (one,), connected(server) as client:
        one.allocate("first")
        one.refresh()
        one.allocate("second")
        until(lambda: len(client.keys("*")) == 2)
        for key in client.keys("*"):
            assert key.startswith(b"ours:1:ship:")
            assert 0 < client.ttl(key) <= 51


def test_what_is_known_of_another_address_is_not_shared(upstream: Upstream, server: CacheServer) -> None:
    with (
        running_upstream() as elsewhere,
        running_replicas(upstream, url(server.port), 1) as (one,),
        running_replicas(elsewhere, url(server.port), 1) as (other,),
        connected(server) as client,
    ):
        elsewhere.default = shipped
        one.allocate("first")
        other.allocate("second")
        until(lambda: len(client.keys("*:observed")) == 2)
        assert (one.codes(), other.codes()) == ({"first"}, {"second"})


def test_tls_and_a_password(upstream: Upstream, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("cache")
    options = (
        "--tls-cert-file",
        str(certificate),
        "--tls-key-file",
        str(key),
        "--tls-ca-cert-file",
        str(authority.file),
    )
    with running_cache(*options, "--tls-auth-clients", "no", "--requirepass", PASSWORD, tls=True) as server:
        right = url(server.port, scheme="rediss", user=f":{PASSWORD}@") + f"?ssl_ca_certs={authority.file}"
        with running_replicas(upstream, right) as (one, other):
            one.allocate("first")
            until(lambda: other.codes() == {"first"})
            one.gateway.stop()
            assert PASSWORD not in f"{one.gateway.lines}"
        for wrong in (
            url(server.port, scheme="rediss", user=f":{PASSWORD}@"),
            right.replace(PASSWORD, "wrong"),
            url(server.port, user=f":{PASSWORD}@"),
        ):
            settings = {
                "ALLOW_PLAINTEXT": "true",
                "SHIP_BASE_URL": upstream.url,
                "SHIP_API_KEY": KEY,
                "CACHE_URL": wrong,
            }
            with running_gateway(settings) as gateway, grpc.insecure_channel(gateway.address) as channel:
                replica = Replica(gateway, channel)
                gateway.wait_for("cache_not_usable")
                replica.allocate("second")
                assert replica.health() == NOT_SERVING
                assert replica.health("") == SERVING
                assert not [line for line in gateway.lines if line["event"] in {"cache_usable", "defect"}]
                assert PASSWORD not in f"{gateway.lines}"
