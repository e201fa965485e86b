"""A primary with a replica, and Sentinels that watch over them: real servers, on free ports of the loopback."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import redis

from support.cache import CacheServer, free_port, program, running_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

SERVICE: Final = "claims"
# As long as servers need to find each other on a busy machine.
_START: Final = 60.0
_FAST_REPLICATION: Final = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


def wait_until(holds: Callable[[], object], what: str, bound: float = _START) -> None:
    """Looks again until something holds. A server that cannot be reached is asked again."""
    end = time.monotonic() + bound
    while True:
        try:
            if holds():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < end, what
        time.sleep(0.01)


@dataclass
class Replicated:
    """Two servers, the one of which copies the other.

    Attributes:
        primary: The one that takes writes.
        replica: The other.
    """

    primary: CacheServer
    replica: CacheServer
    _access: Mapping[str, Any]

    def wait_for_copy(self) -> None:
        """Waits until the replica follows, and has all that was written so far."""
        with client(self.primary, **self._access) as primary:
            wait_until(lambda: primary.info("replication").get("connected_slaves") == 1, "the replica does not come")
            wait_until(lambda: int(primary.wait(1, 1000)) == 1, "the replica does not follow")

    def swap(self, *, follow: bool = True) -> None:
        """Makes the replica the primary, and the primary a replica. Connections to either stay open."""
        self.wait_for_copy()
        former, self.primary, self.replica = self.primary, self.replica, self.primary
        with client(self.primary) as promoted, client(former) as demoted:
            # What is written to it from now on would be lost: it waits until writes are refused.
            demoted.client_pause(60_000, all=False)
            wait_until(lambda: int(demoted.wait(1, 1000)) == 1, "the replica does not follow")
            demoted.replicaof(self.primary.host, str(self.primary.port if follow else free_port()))
            promoted.replicaof("NO", "ONE")
            demoted.client_unpause()


def client(server: CacheServer, **more: Any) -> redis.Redis:
    """Returns a client of a server."""
    return redis.Redis(host=server.host, port=server.port, **more)


def access(password: str, authority: Path | None) -> dict[str, Any]:
    """Returns what a client needs of a server with a password, or one that speaks TLS."""
    tls = {"ssl": True, "ssl_ca_certs": str(authority)} if authority else {}
    return {**tls, "password": password or None}


@contextmanager
def replicated(
    *options: str,
    hosts: tuple[str, str] = ("127.0.0.1", "127.0.0.1"),
    port: int | None = None,
    password: str = "",
    authority: Path | None = None,
) -> Iterator[Replicated]:
    """Runs a primary and a replica. At different addresses, both listen on the same port.

    Args:
        options: Further options of both.
        hosts: The addresses of the two.
        port: Where the primary listens; a free port if none is given.
        password: The password that both want.
        authority: Who has signed the certificates of both, if they speak TLS.
    """
    port = port or free_port()
    other = port if hosts[0] != hosts[1] else free_port()
    # Each connects to the other from whichever address the system takes.
    one, two = ((*_FAST_REPLICATION, "--replica-announce-ip", host, *options) for host in hosts)
    with (
        running_cache(*one, host=hosts[0], port=port, tls=bool(authority)) as primary,
        running_cache(
            *two, "--replicaof", f"{hosts[0]} {port}", host=hosts[1], port=other, tls=bool(authority)
        ) as replica,
    ):
        pair = Replicated(primary, replica, access(password, authority))
        pair.wait_for_copy()
        yield pair


@dataclass
class Sentinels:
    """Sentinels that watch over a primary.

    Attributes:
        ports: Where they listen.
        hosts: At which addresses of the loopback.
    """

    ports: Sequence[int]
    _access: Mapping[str, Any]
    hosts: Sequence[str] = ("127.0.0.1",) * 3
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def url(self, *, scheme: str = "redis+sentinel", options: str = "") -> str:
        """Returns the URL of the primary."""
        named = ",".join(f"{host}:{port}" for host, port in zip(self.hosts, self.ports, strict=True))
        return f"{scheme}://{named}/{SERVICE}/0{options}"

    def clients(self) -> list[redis.Redis]:
        """Returns a client of each."""
        addresses = zip(self.hosts, self.ports, strict=True)
        return [redis.Redis(host, port, decode_responses=True, **self._access) for host, port in addresses]

    def fail_over(self) -> None:
        """Makes a replica the primary, as for maintenance: the one that there is need not be away."""
        self.clients()[0].sentinel_failover(SERVICE)

    def addresses(self) -> list[tuple[str, int]]:
        """Returns the address of the primary as each of them knows it."""
        return [(state["ip"], int(state["port"])) for state in self._states()]

    def replicas(self) -> list[int]:
        """Returns how many replicas each of them knows."""
        return [int(state["num-slaves"]) for state in self._states()]

    def primaries(self) -> list[int]:
        """Returns the port of the primary as each of them knows it."""
        return [int(state["port"]) for state in self._states()]

    def agree(self) -> bool:
        """Tells whether each knows the others, and that there is a replica to be promoted."""
        states = self._states()
        others = len(self.ports) - 1
        return all(state["num-other-sentinels"] == others and state["num-slaves"] >= 1 for state in states)

    def _states(self) -> list[dict[str, Any]]:
        states: list[Any] = [one.sentinel_master(SERVICE) for one in self.clients()]
        return states

    def change_password(self, password: str) -> None:
        """Has all of them want another password, of each other too, and ends all connections."""
        for one in self.clients():
            one.execute_command("SENTINEL", "CONFIG", "SET", "sentinel-pass", password)  # type: ignore[no-untyped-call]
            one.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")  # type: ignore[no-untyped-call]
            one.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
        self._access = {**self._access, "password": password}

    def kill(self, index: int) -> None:
        """Ends one of them at once."""
        self._processes[index].kill()
        self._processes[index].wait()


@contextmanager
def sentinels(
    pair: Replicated,
    directory: Path,
    *lines: str,
    hosts: Sequence[str] = ("127.0.0.1",) * 3,
    port: int | None = None,
    password: str = "",
    authority: Path | None = None,
) -> Iterator[Sentinels]:
    """Runs three Sentinels that replace a primary which is away for half a second.

    Args:
        pair: What they watch over.
        directory: Where their files are.
        lines: Further lines of their configuration.
        hosts: Their addresses.
        port: Where each listens; free ports if none is given.
        password: The password that they want.
        authority: Who has signed their certificates, if they speak TLS.
    """
    running = Sentinels([port or free_port() for _ in hosts], access(password, authority), hosts)
    with ExitStack() as stack:
        for host, own in zip(running.hosts, running.ports, strict=True):
            file = directory / f"sentinel-{host}-{own}.conf"
            ports = ("port 0", f"tls-port {own}") if authority else (f"port {own}",)
            file.write_text(_configuration(pair, directory, (*_at(host), *ports, *lines), password))
            process = subprocess.Popen([program(), str(file), "--sentinel"], stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            running._processes.append(process)
        wait_until(running.agree, "the Sentinels do not find each other")
        yield running


def _at(host: str) -> Sequence[str]:
    # It would take the address by which it reaches the primary for its own.
    return (f"bind {host}", f"sentinel announce-ip {host}")


def _configuration(pair: Replicated, directory: Path, lines: Sequence[str], password: str) -> str:
    return "\n".join(
        (
            f"dir {directory}",
            f"sentinel monitor {SERVICE} {pair.primary.host} {pair.primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 5000",
            *((f"requirepass {password}", f"sentinel sentinel-pass {password}") if password else ()),
            *lines,
            "",
        )
    )
