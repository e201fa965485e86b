"""A server that cannot be used: one line says which of its address, name, TLS, password, rights and so on is wrong."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
import redis
import structlog
from allocation_gateway.claims.connection import read_error
from allocation_gateway.claims.model import Begun, StoreUnavailableError
from allocation_gateway.groups.replication import Replication
from allocation_gateway.server_diagnosis import ServerProblem, diagnose
from allocation_gateway.settings import ConfigurationError, Secret, Settings, server_url
from allocation_gateway.telemetry.telemetry import Telemetry
from support.cache import free_port, running_cache, slow_path
from support.certificates import Authority
from support.claims import new_claim, open_claims
from support.cluster import running_cluster
from support.replica import Nothing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from allocation_gateway.claims.model import ClaimStore

PASSWORD: Final = "a-password-that-nobody-may-see"  # noqa: S105 - of a server that lives for one test
PART_OF_CLUSTER: Final = "10.0.0.1:7000 is part of a cluster"
SAFE: Final = ("--appendonly", "yes")


async def opened(url: str, **more: Any) -> Mapping[str, ClaimStore]:
    return await open_claims(Settings(store_url=Secret(url), **{"store_timeout": 5.0, **more}), ("ship",), Telemetry())


async def told(url: str, **more: Any) -> tuple[str, str]:
    """Opens a store that cannot be used yet. Returns the reason and the problem that are logged, once."""
    with structlog.testing.capture_logs() as lines:
        stores = await opened(url, **more)
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await stores["ship"].begin(new_claim())
        await stores["ship"].close()
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("claim_store_not_usable", "warning")
    assert PASSWORD not in f"{lines}"
    return line["reason"], line["problem"]


async def refused(url: str, **more: Any) -> str:
    """Opens a store that refuses to start. Returns what it says."""
    with pytest.raises(ConfigurationError) as raised:
        await opened(url, **more)
    assert PASSWORD not in f"{raised.value}"
    return str(raised.value).removeprefix("ALLOCATION_GATEWAY_STORE_URL: ")


@pytest.mark.asyncio
async def test_address_and_name_that_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    reason, problem = await told(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    assert (reason, problem) == ("address", f"nothing listens on 127.0.0.1:{port}")

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    reason, problem = await told(f"redis://:{PASSWORD}@no-such-host.invalid/0")
    assert (reason, problem) == ("name", "the name no-such-host.invalid cannot be resolved")


@pytest.mark.asyncio
async def test_something_else_that_listens_there() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reason, problem = await told(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    assert (reason, problem) == ("protocol", f"what answers at 127.0.0.1:{port} is not a Valkey or Redis server")


@pytest.mark.asyncio
async def test_something_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        reason, problem = await told(f"redis://127.0.0.1:{port}/0", store_timeout=0.2)
    assert (reason, problem) == ("timeout", f"127.0.0.1:{port} did not answer in time")


@contextmanager
def encrypted(folder: Path, *more: str, host: str = "", expired: bool = False) -> Iterator[tuple[int, Authority]]:
    """Runs a server that speaks TLS alone."""
    authority = Authority(folder)
    chain, key = authority.issue("server", host=host, expired=expired)
    files = ("--tls-cert-file", str(chain), "--tls-key-file", str(key), "--tls-ca-cert-file", str(authority.file))
    options = (*SAFE, "--dir", str(folder), *files, *(more or ("--tls-auth-clients", "no")))
    with running_cache(*options, tls=True) as server:
        yield server.port, authority


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
async def test_certificate_that_is_not_trusted(scheme: str, tmp_path: Path) -> None:
    with encrypted(tmp_path) as (port, authority):
        reason, problem = await told(f"{scheme}://:{PASSWORD}@127.0.0.1:{port}/0")
        assert reason == "tls"
        assert problem.startswith(f"the certificate of 127.0.0.1:{port} is not trusted: self-signed certificate in")
        assert "ssl_ca_certs" in problem
        stores = await opened(f"{scheme}://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}")
        assert isinstance(await stores["ship"].begin(new_claim()), Begun)
        await stores["ship"].close()


@pytest.mark.cache
@pytest.mark.asyncio
async def test_certificate_of_another_name_and_one_that_has_expired(tmp_path: Path) -> None:
    for name, expected in (("127.0.0.1", "is not one for 127.0.0.1"), ("localhost", "is not one for localhost")):
        with encrypted(tmp_path, host="another.example") as (port, authority):
            reason, problem = await told(f"rediss://{name}:{port}/0?ssl_ca_certs={authority.file}")
        assert (reason, expected in problem) == ("tls", True), problem
    with encrypted(tmp_path, expired=True) as (port, authority):
        reason, problem = await told(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}")
    assert (reason, "is not valid now: certificate has expired" in problem) == ("tls", True), problem


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "is_trusted"),
    [
        ("ssl_cert_reqs=none", True),
        ("ssl_ca_certs={file}&ssl_check_hostname=false&ssl_min_version=TLSv1.3", True),
        ("ssl_ca_certs={file}", False),
        ("ssl_check_hostname=false", False),
    ],
)
async def test_certificate_is_checked_as_the_url_says(options: str, is_trusted: bool, tmp_path: Path) -> None:
    with encrypted(tmp_path, host="another.example") as (port, authority):
        url = f"rediss://127.0.0.1:{port}/0?{options.format(file=authority.file)}"
        if not is_trusted:
            assert (await told(url))[0] == "tls"
            return
        stores = await opened(url)
        assert isinstance(await stores["ship"].begin(new_claim()), Begun)
        await stores["ship"].close()


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("user", ["", f"gateway:{PASSWORD}@", f":{PASSWORD}@"])
async def test_connection_is_made_as_the_url_says(protocol: int, user: str, tmp_path: Path) -> None:
    password = PASSWORD if user.startswith(":") else ""
    wanted = ("--requirepass", password) if password else ()
    with (
        running_cache(*SAFE, *wanted, "--dir", str(tmp_path)) as server,
        redis.Redis(port=server.port, password=password or None, decode_responses=True) as client,
    ):
        client.execute_command("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", "~*", "+@all")
        options = (
            f"protocol={protocol}&client_name=a%40b&socket_keepalive=true&socket_connect_timeout=4&socket_timeout=4"
        )
        stores = await opened(f"redis://{user}127.0.0.1:{server.port}/3?{options}")
        assert isinstance(await stores["ship"].begin(new_claim()), Begun)
        (found,) = [one for one in client.client_list() if one["name"] == "a@b"]
        assert (found["resp"], found["db"]) == (str(protocol), "3")
        assert found["user"] == ("gateway" if user.startswith("gateway") else "default")
        await stores["ship"].close()


@pytest.mark.cache
@pytest.mark.asyncio
async def test_server_that_wants_a_certificate_too(tmp_path: Path) -> None:
    with encrypted(tmp_path, "--tls-auth-clients", "yes") as (port, authority):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        reason, problem = await told(url)
        assert reason in {"tls", "connection"}
        assert "ssl_certfile" in problem
        chain, key = authority.issue("client")
        stores = await opened(f"{url}&ssl_certfile={chain}&ssl_keyfile={key}")
        assert isinstance(await stores["ship"].begin(new_claim()), Begun)
        await stores["ship"].close()


@pytest.mark.cache
@pytest.mark.asyncio
async def test_tls_on_one_side_alone(tmp_path: Path) -> None:
    with encrypted(tmp_path) as (port, _):
        reason, problem = await told(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    assert (reason, "a port for TLS needs rediss://" in problem) == ("connection", True), problem
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server:
        url = f"rediss://:{PASSWORD}@127.0.0.1:{server.port}/0"
        reason, problem = await told(url, store_timeout=0.5)
    # Such a server waits for more.
    assert (reason, "or does not speak TLS" in problem) == ("timeout", True), problem


@pytest.mark.cache
@pytest.mark.asyncio
@pytest.mark.parametrize("checks", ["require", "warn"])
async def test_database_that_does_not_exist(checks: str, tmp_path: Path) -> None:
    with running_cache(*SAFE, "--databases", "16", "--dir", str(tmp_path)) as server:
        said = await refused(f"redis://127.0.0.1:{server.port}/99", store_checks=checks)
        assert said == "the server has no database 99"
        reason, problem = await told(f"redis://127.0.0.1:{server.port}/99", store_checks="off")
        assert (reason, problem) == ("database", said)


@pytest.mark.cache
@pytest.mark.asyncio
async def test_password_that_is_wrong_or_missing(tmp_path: Path) -> None:
    with running_cache(*SAFE, "--requirepass", "right", "--dir", str(tmp_path)) as server:
        said = await refused(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0")
        assert said == "the server refuses the credentials of the URL: its user name or its password is wrong"
        said = await refused(f"redis://127.0.0.1:{server.port}/0")
        assert said == "the server refuses the credentials of the URL: it wants a password, and the URL has none"


@pytest.mark.cache
@pytest.mark.asyncio
async def test_password_file_that_is_emptied_or_taken_away(tmp_path: Path) -> None:
    """While the gateway runs: it is neither the address nor a certificate that is wrong."""
    file = tmp_path / "password"
    with running_cache(*SAFE, "--requirepass", PASSWORD, "--dir", str(tmp_path)) as server:
        url = f"redis://127.0.0.1:{server.port}/0?password_file={file}"
        file.write_text("")
        expected = ("credentials", f"the password file {file} cannot be used: {file} holds no password")
        assert await told(url, store_checks="off") == expected
        file.unlink()
        expected = ("credentials", f"the password file {file} cannot be used: No such file or directory")
        assert await told(url, store_checks="off") == expected


@pytest.mark.cache
@pytest.mark.asyncio
async def test_server_that_knows_no_auth_is_not_quoted_with_the_password(tmp_path: Path) -> None:
    with running_cache(*SAFE, "--rename-command", "AUTH", "HIDDEN", "--dir", str(tmp_path)) as server:
        reason, problem = await told(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0")
    assert (reason, problem) == ("answer", "the server answers: unknown command 'AUTH'")


@pytest.mark.cache
@pytest.mark.asyncio
async def test_user_that_lacks_rights(tmp_path: Path) -> None:
    all_but_scripts = ["~*", "&*", "+@all", "-evalsha", "-eval"]
    other_keys = ["~others:*", "&*", "+@all"]
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        users = {"noscript": all_but_scripts, "nokey": other_keys, "noinfo": ["~*", "+@all", "-info"]}
        for name, rights in users.items():
            client.execute_command("ACL", "SETUSER", name, "on", f">{PASSWORD}", *rights)
        url = f"redis://{{}}:{PASSWORD}@127.0.0.1:{server.port}/0"
        for name, lacking in (("noscript", "to run the 'evalsha' command"), ("nokey", "to access")):
            said = await refused(url.format(name))
            assert ("lacks rights" in said, lacking in said) == (True, True), said
            assert await told(url.format(name), store_checks="off") == ("rights", said)
        assert "needs +info; ALLOCATION_GATEWAY_STORE_CHECKS" in await refused(url.format("noinfo"))


@pytest.mark.cache
@pytest.mark.asyncio
async def test_replica_takes_no_writes(tmp_path: Path) -> None:
    for name in ("primary", "replica"):
        (tmp_path / name).mkdir()
    with (
        running_cache(*SAFE, "--dir", str(tmp_path / "primary")) as primary,
        running_cache(*SAFE, "--dir", str(tmp_path / "replica"), "--replicaof", f"127.0.0.1 {primary.port}") as server,
    ):
        said = await refused(f"redis://127.0.0.1:{server.port}/0")
        assert said.startswith(
            f"the server is a replica, which takes no writes: name the primary, 127.0.0.1:{primary.port}"
        )
        reason, problem = await told(f"redis://127.0.0.1:{server.port}/0", store_checks="off")
        assert (reason, "is a replica, which takes no writes" in problem) == ("role", True), problem
        assert await shared(f"redis://127.0.0.1:{server.port}/0") == "role"


@pytest.mark.cache
@pytest.mark.asyncio
async def test_server_that_is_full_or_cannot_write_to_its_disk(tmp_path: Path) -> None:
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, redis.Redis(port=server.port) as client:
        client.config_set("maxmemory", "1")
        reason, problem = await told(f"redis://127.0.0.1:{server.port}/0")
        assert (reason, "is full: it needs more maxmemory" in problem) == ("memory", True), problem
        client.config_set("maxmemory", "0")
        client.config_set("min-replicas-to-write", "1")
        reason, problem = await told(f"redis://127.0.0.1:{server.port}/0")
        assert (reason, "min-replicas-to-write" in problem) == ("persistence", True), problem


@pytest.mark.parametrize(
    ("answer", "of_cluster", "of_one_server"),
    [
        (
            "ASK 3999 10.0.0.2:7001",
            "slot 3999 is being moved to another node of the cluster: "
            "the step was redirected too often (ASK), last to 10.0.0.2:7001",
            PART_OF_CLUSTER,
        ),
        (
            "MOVED 3999 fd00::2:7001",
            "the nodes of the cluster disagree about which of them has slot 3999: "
            "the step was redirected too often (MOVED), last to [fd00::2]:7001",
            PART_OF_CLUSTER,
        ),
        (
            "MOVED 3999 :7001",
            "the nodes of the cluster disagree about which of them has slot 3999: "
            "the step was redirected too often (MOVED), last to 10.0.0.1:7001",
            PART_OF_CLUSTER,
        ),
        (
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "10.0.0.1:7000 is moving a slot to another node, and neither has all keys of the step (TRYAGAIN)",
            PART_OF_CLUSTER,
        ),
        (
            "CLUSTERDOWN Hash slot not served",
            "the cluster of 10.0.0.1:7000 is down: Hash slot not served",
            "the cluster of 10.0.0.1:7000 is down: Hash slot not served",
        ),
    ],
)
def test_answer_of_a_node_is_read_by_whether_the_url_is_one_of_a_cluster(
    answer: str, of_cluster: str, of_one_server: str
) -> None:
    """Whoever has named a cluster is not told to name one, but where its slots are to be looked at.

    Nor is whoever cannot name one.
    """
    error = read_error(answer)
    of_node = server_url.parse("redis+cluster://10.0.0.9:7000").at("10.0.0.1", 7000)
    look = "; look at the slots with CLUSTER NODES, or with redis-cli --cluster check 10.0.0.1:7000"
    assert diagnose(error, of_node) == ServerProblem("cluster", f"{of_cluster}{look}")
    of_server = Secret("redis://10.0.0.1:7000")
    name_cluster = "the URL of a cluster begins with redis+cluster:// or rediss+cluster://"
    assert diagnose(error, of_server) == ServerProblem("cluster", f"{of_one_server}; {name_cluster}")
    name_another = "a cluster can only be used for claims: name a server that is no part of one, or its Sentinels"
    without = diagnose(error, of_server, takes_clusters=False)
    assert without == ServerProblem("cluster", f"{of_one_server}; {name_another}")


def test_redirection_that_was_followed_is_not_what_is_wrong() -> None:
    """What has failed is what came of it."""
    of_node = server_url.parse("redis+cluster://10.0.0.9:7000").at("10.0.0.1", 7000)
    for answer in ("ASK 3999 10.0.0.2:7001", "MOVED 3999 10.0.0.2:7001", "TRYAGAIN Multiple keys"):
        error = TimeoutError()
        error.__context__ = read_error(answer)
        assert diagnose(error, of_node) == ServerProblem("timeout", "10.0.0.1:7000 did not answer in time")


async def shared(url: str) -> str:
    """Shares service groups by a server that cannot be used for it. Returns the reason that is logged."""
    reason, problem = await told_of_sharing(url)
    assert problem
    return reason


async def told_of_sharing(url: str) -> tuple[str, str]:
    """Does the same. Returns the reason and the problem."""
    from allocation_gateway.operations.model import Api

    ended = asyncio.Event()
    with structlog.testing.capture_logs() as lines:
        replication = Replication(
            Secret(url), namespace="groups", base_urls={Api.SHIP: "http://127.0.0.1"}, timeout=1.0, ttl=60.0
        )
        running = asyncio.create_task(replication.run(Nothing(), lambda usable: None if usable else ended.set()))
        await asyncio.wait_for(ended.wait(), 20.0)
        running.cancel()
        await asyncio.wait([running])
        await replication.close()
    (line,) = [line for line in lines if line["event"] == "cache_not_usable"]
    assert PASSWORD not in f"{lines}"
    assert "cache_usable" not in [line["event"] for line in lines]
    return line["reason"], line["problem"]


@pytest.mark.cache
@pytest.mark.asyncio
async def test_sharing_says_as_precisely_what_is_wrong(tmp_path: Path) -> None:
    with running_cache("--requirepass", "right") as server:
        assert await shared(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0") == "credentials"
        assert await shared(f"redis://:right@127.0.0.1:{server.port}/99") == "database"
        with redis.Redis(port=server.port, password="right") as client:  # noqa: S106 - of this server
            client.execute_command("ACL", "SETUSER", "poor", "on", f">{PASSWORD}", "~others:*", "&*", "+@all")
        assert await shared(f"redis://poor:{PASSWORD}@127.0.0.1:{server.port}/0") == "rights"
    with encrypted(tmp_path) as (port, _):
        assert await shared(f"rediss://:{PASSWORD}@127.0.0.1:{port}/0") == "tls"
    assert await shared(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0") == "address"


@pytest.mark.cache
@pytest.mark.asyncio
async def test_sharing_by_one_node_of_a_cluster_is_told_what_to_name_instead() -> None:
    """At once, and not only when something is to be shared: none of the nodes has all keys."""
    with running_cluster() as cluster:
        for node in cluster.nodes:
            assert await told_of_sharing(f"redis://127.0.0.1:{node.port}/0") == (
                "cluster",
                f"127.0.0.1:{node.port} is part of a cluster; a cluster can only be used for claims: "
                "name a server that is no part of one, or its Sentinels",
            )


@pytest.mark.cache
@pytest.mark.asyncio
async def test_each_reason_is_told_once_until_the_server_can_be_used(tmp_path: Path) -> None:
    with running_cache(*SAFE, "--dir", str(tmp_path)) as server, slow_path(server.port) as path:
        with structlog.testing.capture_logs() as lines:
            stores = await opened(f"redis://127.0.0.1:{path.port}/0", store_timeout=0.3)
            assert isinstance(await stores["ship"].begin(new_claim()), Begun)
            for _ in range(2):
                path.stop()
                for _ in range(2):
                    with pytest.raises(StoreUnavailableError):
                        await stores["ship"].begin(new_claim("other"))
                path.go_on()
                while True:
                    try:
                        await stores["ship"].begin(new_claim("other"))
                    except StoreUnavailableError:
                        continue
                    break
            await stores["ship"].close()
        assert [(line["event"], line.get("reason", "")) for line in lines] == [
            ("claim_store_usable", ""),
            ("claim_store_not_usable", "timeout"),
            ("claim_store_usable", ""),
            ("claim_store_not_usable", "timeout"),
            ("claim_store_usable", ""),
        ]
