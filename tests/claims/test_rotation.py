"""The passwords of the store and of the cache are replaced under load: no call fails, and nothing is done twice."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.cache import running_cache
from support.front import LONG, running_front
from support.rotation import Load, Swapped, sent
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from pathlib import Path

    from support.front import Front

pytestmark = pytest.mark.cache

OLD: Final = "the-old-password-that-nobody-may-see"
NEW: Final = "the-new-password-that-nobody-may-see"
SERVERS: Final = ("store_url", "cache_url")
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


def connections(admin: Any) -> set[str]:
    """Returns the ids of the connections of everybody else."""
    own = str(admin.client_id())
    return {one["id"] for one in admin.client_list() if one["id"] != own}


def wait_until_replaced(admin: Any, before: set[str]) -> None:
    """Waits until none of some connections is left."""
    end = time.monotonic() + LONG
    while before & connections(admin):
        assert time.monotonic() < end, "connections are left that were made with the old password"
        time.sleep(0.01)


def told(front: Front, server: str) -> int:
    """Returns what the health of the gateway says of the file with the password of a server."""
    health: Any = health_pb2_grpc.HealthStub(front.channel)
    request = health_pb2.HealthCheckRequest(service=f"allocation_gateway.files/{server}.password_file")
    status: int = health.Check(request, timeout=LONG).status
    return status


@pytest.mark.parametrize("user", ["", "gateway"], ids=["requirepass", "user"])
def test_passwords_of_store_and_cache_are_replaced_under_load(user: str, tmp_path: Path) -> None:
    """A wrong one leaves the connections as they are; after the new one, none of the old one is left."""
    (tmp_path / "mounted").mkdir()
    files = Swapped(tmp_path / "mounted")
    files.put(password=f"{OLD}\n".encode())
    name, options = user or "default", ("--appendonly", "yes", "--dir", str(tmp_path), "--requirepass", OLD)
    with running_cache(*options) as server, running_upstream() as upstream:
        upstream.default = shipped
        with redis.Redis(port=server.port, password=OLD, decode_responses=True) as admin:
            rights = ("on", f">{OLD}", "~*", "&*", "+@all")
            admin.execute_command("ACL", "SETUSER", name, *rights)
            place = f"{user}@127.0.0.1:{server.port}".lstrip("@")
            url = f"redis://{place}/0?password_file={quote(files.path('password'))}"
            with running_front(upstream, STORE_URL=url, CACHE_URL=url) as front:
                load = Load(front.gateway.address)
                try:
                    front.gateway.wait_for("cache_usable")
                    load.go_on()
                    before = connections(admin)
                    files.put(password=b"a-wrong-password")
                    for one in SERVERS:
                        front.gateway.wait_for("server_credentials_rejected", setting=one, option="password_file")
                        assert told(front, one) == NOT_SERVING
                    load.go_on()
                    assert before & connections(admin), "a wrong password has taken the connections away"
                    before = connections(admin)
                    admin.execute_command("ACL", "SETUSER", name, f">{NEW}")
                    files.put(password=f"{NEW}\n".encode())
                    for one in SERVERS:
                        front.gateway.wait_for("server_credentials_loaded", setting=one, option="password_file")
                        assert told(front, one) == SERVING
                    wait_until_replaced(admin, before)
                    admin.execute_command("ACL", "SETUSER", name, f"<{OLD}")
                    load.go_on()
                finally:
                    load.end()
                assert front.gateway.stop() == 0
    assert load.failures == []
    assert sent(upstream) == Counter(load.made)
    events = Counter(line["event"] for line in front.gateway.lines)
    assert not {"claim_store_not_usable", "cache_not_usable"} & events.keys()
