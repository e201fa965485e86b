"""The passwords of the store and of the cache are replaced under load: no call fails, and nothing is done twice."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.cache import running_cache
from support.cluster import running_cluster
from support.front import LONG, running_front
from support.replication import wait_until
from support.rotation import Load, Swapped, sent
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from support.front import Front

pytestmark = pytest.mark.cache

OLD: Final = "the-old-password-that-nobody-may-see"
NEW: Final = "the-new-password-that-nobody-may-see"
# The nodes of a cluster that its URL names, which are tried; and the other one, which learns of the password later.
NAMED: Final = slice(2)
LATE: Final = slice(2, None)
SAFE: Final = ("--appendonly", "yes")
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True)
class Servers:
    """What the claims, and what is known of service groups, are kept on.

    Attributes:
        admins: Clients of each server.
        user: Whose password is replaced.
        urls: The settings that name them, but for the password.
    """

    admins: Sequence[Any]
    user: str
    urls: Mapping[str, str]

    def change(self, *rules: str, which: slice = slice(None)) -> None:
        """Changes what some servers know of the user."""
        for admin in self.admins[which]:
            admin.execute_command("ACL", "SETUSER", self.user, *rules)

    def connections(self) -> set[tuple[int, str]]:
        """Returns the connections of everybody else, each by its server and its id there."""
        return {
            (number, one["id"])
            for number, admin in enumerate(self.admins)
            for own in (str(admin.client_id()),)
            for one in admin.client_list()
            if one["id"] != own
        }

    def wait_until_replaced(self, before: set[tuple[int, str]]) -> None:
        """Waits until none of some connections is left."""
        wait_until(lambda: not before & self.connections(), "connections are left that were made with the old password")


def admin_of(port: int) -> Any:
    """Returns a client of a server, which stays logged in."""
    client = redis.Redis(port=port, password=OLD, decode_responses=True, single_connection_client=True)
    client.ping()
    return client


@contextmanager
def running_servers(kind: str, directory: Path) -> Iterator[Servers]:
    """Runs one server for both, whose password is that of everybody or of a user, or a cluster for the claims."""
    with ExitStack() as stack:
        if kind == "cluster":
            cluster = stack.enter_context(running_cluster(*SAFE, password=OLD))
            nodes = [node.port for node in cluster.nodes]
            named = ",".join(f"127.0.0.1:{port}" for port in nodes[NAMED])
            urls = {"store_url": f"redis+cluster://{named}/"}
        else:
            server = stack.enter_context(running_cache(*SAFE, "--dir", str(directory), "--requirepass", OLD))
            nodes = [server.port]
            place = f"{'' if kind == 'requirepass' else 'gateway@'}127.0.0.1:{server.port}"
            urls = dict.fromkeys(("store_url", "cache_url"), f"redis://{place}/0")
        user = "gateway" if kind == "user" else "default"
        servers = Servers([stack.enter_context(admin_of(port)) for port in nodes], user, urls)
        servers.change("on", f">{OLD}", "~*", "&*", "+@all")
        yield servers


def told(front: Front, server: str) -> int:
    """Returns what the health of the gateway says of the file with the password of a server."""
    health: Any = health_pb2_grpc.HealthStub(front.channel)
    request = health_pb2.HealthCheckRequest(service=f"allocation_gateway.files/{server}.password_file")
    status: int = health.Check(request, timeout=LONG).status
    return status


@pytest.mark.parametrize("kind", ["requirepass", "user", "cluster"])
def test_passwords_of_store_and_cache_are_replaced_under_load(kind: str, tmp_path: Path) -> None:
    """A wrong one leaves the connections as they are; after the new one, none of the old one is left."""
    (tmp_path / "mounted").mkdir()
    files = Swapped(tmp_path / "mounted")
    files.put(password=f"{OLD}\n".encode())
    option = f"?password_file={quote(files.path('password'))}"
    with running_servers(kind, tmp_path) as servers, running_upstream() as upstream:
        upstream.default = shipped
        settings = {name.upper(): url + option for name, url in servers.urls.items()}
        with running_front(upstream, settings=settings) as front:
            load = Load(front.gateway.address)
            try:
                if "cache_url" in servers.urls:
                    front.gateway.wait_for("cache_usable")
                load.go_on()
                files.put(password=b"a-wrong-password")
                for one in servers.urls:
                    front.gateway.wait_for("server_credentials_rejected", setting=one, option="password_file")
                    assert told(front, one) == NOT_SERVING
                before = servers.connections()
                load.go_on()
                assert before <= servers.connections(), "a wrong password has taken connections away"
                servers.change(f">{NEW}", which=NAMED)
                files.put(password=f"{NEW}\n".encode())
                for one in servers.urls:
                    front.gateway.wait_for("server_credentials_loaded", setting=one, option="password_file")
                    assert told(front, one) == SERVING
                load.go_on()
                servers.change(f">{NEW}", which=LATE)
                servers.wait_until_replaced(before)
                servers.change(f"<{OLD}")
                load.go_on()
            finally:
                load.end()
            assert front.gateway.stop() == 0
    assert load.failures == []
    assert sent(upstream) == Counter(load.made)
    events = {line["event"] for line in front.gateway.lines}
    assert not {"claim_store_not_usable", "cache_not_usable"} & events
